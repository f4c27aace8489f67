"""How an explanation reads: the article's table, a sentence for each fact, numbers with the digits that matter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchbce.common.markdown import escaped
from torchbce.common.text import around, between, counted, loss_text, percent, probability_text
from torchbce.common.visible import MESSAGE, shown
from torchbce.explanation.statistics.entropy import percent_below
from torchbce.explanation.statistics.intervals import NOTHING, Interval

if TYPE_CHECKING:
    from torchbce.explanation.data.record import ExplanationRecord
    from torchbce.explanation.statistics.decomposition import Decomposition

GROUPS_SHOWN = 10


def item_lines(found: ExplanationRecord) -> list[str]:
    """Return a line for each item, and their total where all are shown."""
    items = found.items
    everything = len(items) == found.count
    most = "the item that costs most:" if len(items) == 1 else f"the {len(items)} items that cost most:"
    lines = [] if everything else [most]
    if not items:
        return [f"{found.count:,} items"]
    weighted = found.weight_sum is not None
    formulas = [f"{item.weight:g} * {item.formula}" if weighted else item.formula for item in items]
    width = max(map(len, formulas))
    places = [shown(item.place or item.row) for item in items]
    rows = max(4, *map(len, places))
    names = [shown(item.source) for item in items]
    sources = max(map(len, names))
    head = f"{'item' if everything else 'row':>{rows + 1}}  target"
    lines.append((f"{'source':<{sources}}  " if sources else "") + head + "     logit" * found.from_logits + "  output")
    for item, name, place, text in zip(items, names, places, formulas, strict=True):
        source = f"{name:<{sources}}  " if sources else ""
        logit = f"  {item.logit:8.4g}" if item.logit is not None else ""
        output = probability_text(item.probability)
        cost = f"{text:<{width}} = {loss_text(item.loss):>5}"
        lines.append(f"{source}{place:>{rows + 1}}  {item.target:>6g}{logit}  {output:>6}  {cost}")
    if everything and found.count > 1:
        edge = len(lines[-1])
        lines += [("-" * 8).rjust(edge), f"total BCE = {loss_text(found.total):>5}".rjust(edge), ""]
        lines.append(f"mean BCE = {found.total:.4f} / {found.count} = {found.mean:.4f}")
    return lines


def verdict(found: ExplanationRecord) -> str:
    """Return what to conclude, in a sentence or two."""
    if not math.isfinite(found.mean):
        return "The loss is infinite: an item was given probability 0 for what happened."
    if not found.baseline > 0:
        return f"Every target is {found.base_rate:g}: nothing can be said of the model."
    d2, interval = found.d2, found.intervals.get("d2", NOTHING)
    size = around(abs(100 * d2), Interval(*sorted(100 * bound * (1 if d2 >= 0 else -1) for bound in interval)), ".3g")
    if interval.low <= 0 <= interval.high:
        worth = f"No better than always answering {100 * found.baseline_answer:.3g} %, as far as can be told."
    elif d2 >= 0:
        worth = f"{size} % of what always answering {100 * found.baseline_answer:.3g} % costs is saved."
    else:
        worth = f"Worse than always answering {100 * found.baseline_answer:.3g} %, by {size} %."
    told = found.miscalibrated
    if told is None or found.calibration is None:
        return worth
    if found.calibration.separated:
        worth = (
            f"The classes are told apart almost without error (AUC {found.auc:.4f}): make sure first that nothing that "
            "the model is given holds the answer."
        )
        if not told.is_off:
            return worth
    return f"{worth} Calibration: {told.finding}."


def thin(found: ExplanationRecord) -> str:
    """Return why the interval of the mean reaches far; nothing where it does not."""
    if found.errors is None or math.isnan(found.intervals["mean"].low):
        return ""
    if found.errors_among is None:
        few = f"the truth of {found.errors:.3g} of {counted(found.count, 'item')} was given at most 1/2"
    else:
        few = (
            f"of the {counted(round(found.errors_among), 'item')} that are surest {found.errors:.3g} went the other way"
        )
    return (
        f"{few}, too few to tell what others cost: the interval reaches up to what those cost that may not have been "
        "seen among so many"
    )


def with_error(found: ExplanationRecord, sign: str = "+-") -> str:
    """Return the mean and its standard error, or its interval where errors are too few for one."""
    if thin(found) and found.errors_among is None:
        return f"{found.mean:.6f} ({between(found.intervals['mean'], '.6f')}, 95 %)"
    return f"{found.mean:.6f} {sign} {found.standard_error:.6f}"


def ledger_line(found: ExplanationRecord) -> str:
    """Return the ledger in one line."""
    lines = found.ledger.lines
    terms = [f"{'-' if line.bits < 0 else '+'} {abs(line.bits):.4f} {line.name}" for line in lines]
    return f"{' '.join(terms).removeprefix('+ ')} = {found.ledger.bits:.4f} bits per item"


def facts(found: ExplanationRecord) -> list[tuple[str, str]]:
    """Return a name and a sentence for each known figure."""
    by_weight = "" if found.weight_sum is None else ", by weight"
    error = "" if math.isnan(found.standard_error) or thin(found) else f" +- {found.standard_error:.4f}"
    pairs = [
        (
            "the mean",
            f"{found.mean:.6f} nats per item ({found.bits:.6f} bits){error}; reduction='mean' prints this",
        ),
        (
            "the total",
            f"{found.total:.6f} nats over {counted(found.count, 'item')}; reduction='sum' prints this",
        ),
    ]
    pairs.append(("interval", _interval(found)))
    pairs += [("no interval", text) for text in _withheld(found)]
    if found.weight_sum is not None:
        pairs.append(
            (
                "weights",
                f"sum to {found.weight_sum:.6g}; torch's mean divides by the items, not by them; divided by them it is "
                f"{found.weighted_mean:.6f}, and without weights {found.plain_mean:.6f}",
            )
        )
    pairs.append(
        (
            "typical",
            f"what happened was given the probability {found.typical_probability:.4f} (geometric mean{by_weight})",
        )
    )
    pairs.append(("baseline", _baseline(found)))
    if found.decomposition is not None:
        pairs.append(("worth", _worth(found, found.decomposition)))
    if found.baseline > 0 and math.isfinite(found.mean):
        pairs.append(("ledger", ledger_line(found)))
    if found.miscalibrated is not None:
        pairs.append(("calibration", str(found.miscalibrated)))
    if found.floor is not None:
        pairs.append(
            (
                "floor",
                f"soft targets cost at least {found.floor:.6f}; {found.excess:.6f} is above it",
            )
        )
    if found.clamped:
        pairs.append(
            (
                "clamped",
                f"{counted(found.clamped, 'item')} gave probability 0 to what happened; torch takes log(0) for -100, "
                f"so this costs {found.clamped_cost:.6g} nats and not infinity: {100 * found.clamped_share:.1f} % of "
                "the total",
            )
        )
    if found.saturated:
        pairs.append(
            (
                "saturated",
                f"{counted(found.saturated, 'item')} so far out that in {found.dtype} the probability is exactly 0 or "
                "1: no gradient comes through a sigmoid there",
            )
        )
    if found.count >= 1000:
        pairs.append(("worst 1 %", f"of the items carries {100 * found.worst_share:.1f} % of the loss"))
    other = found.elsewhere
    if other is not None and max(abs(other.keras - found.mean), abs(other.sklearn - found.mean)) > 5e-7:
        pairs.append(
            (
                "elsewhere",
                f"{_keras(found)}, scikit-learn {other.sklearn:.6f} (clips probabilities to "
                f"{other.sklearn_epsilon:.1e} from 0 and 1)",
            )
        )
    pairs += [(f"group {n}", text) for n, text in enumerate(_groups(found), 1)]
    return pairs


def _worth(found: ExplanationRecord, parts: Decomposition) -> str:
    """Return separation and miscalibration as shares of the base rate's entropy."""
    percent_of = 100 / parts.uncertainty
    separation = around(parts.discrimination, parts.discrimination_interval, ".1f", percent_of)
    lost = around(parts.miscalibration, parts.miscalibration_interval, ".1f", percent_of)
    auc = around(found.auc, found.intervals["auc"], ".4f")
    return f"separation earns {separation} % of the baseline, miscalibration loses {lost} %; AUC {auc}"


def labels_text(found: ExplanationRecord) -> str:
    """Return a table with a line for each label; empty where there is one."""
    if not found.labels:
        return ""
    names = list(map(shown, found.labels))
    width = max(5, *map(len, names))
    lines = [f"{'label':<{width}}  base rate  mean loss, 95 %               saved (D2)     AUC  calibration"]
    for name, one in zip(names, found.labels.values(), strict=True):
        mean = around(one.mean, one.intervals["mean"], ".4f")
        told = "-" if one.miscalibrated is None else one.miscalibrated.finding
        lines.append(
            f"{name:<{width}}  {percent(one.base_rate):>9}  {mean:<27}  {100 * one.d2:8.1f} %  {one.auc:6.4f}  {told}"
        )
    return "\n".join(lines)


def _interval(found: ExplanationRecord) -> str:
    """Return the interval of the mean, or why there is none."""
    interval, sizes = found.intervals["mean"], found.cluster_sizes
    if math.isnan(interval.low):
        return f"none: {found.withheld.get('mean', 'one item does not say how far others differ')}"
    text = f"95 % {between(interval, '.6f')}" + (f"; {thin(found)}" if thin(found) else "")
    if sizes is None:
        return f"{text}, taking items for independent; name what they belong to (patients, images) with cluster"
    if sizes.are_few:
        return f"{text}; {sizes.summary()}"
    return f"{text}, as {counted(sizes.number, 'cluster')} of items differ"


def _withheld(found: ExplanationRecord) -> list[str]:
    """Return which other figures have no interval, and why."""
    reasons = dict.fromkeys(why for name, why in found.withheld.items() if name != "mean" and found.baseline > 0)
    return [
        f"of {', '.join(name for name, other in found.withheld.items() if other == why and name != 'mean')}: {why}"
        for why in reasons
        if why != found.withheld.get("mean")
    ]


def _keras(found: ExplanationRecord) -> str:
    assert found.elsewhere is not None
    how = "does not clip logits" if found.from_logits else "works in float32, where it clips to 1e-07 from 0 and 1"
    return f"Keras prints {found.elsewhere.keras:.6f} (it {how})"


def _baseline(found: ExplanationRecord) -> str:
    if not found.baseline > 0:
        return f"no baseline (one class only): every target is {found.base_rate:g}, so nothing can be said of the model"
    this = "this" if found.weight_sum is None else f"{found.weighted_mean:.6f}, the mean by weight,"
    return (
        f"always answering {100 * found.baseline_answer:.4g} % costs {found.baseline:.6f}: {this} is "
        f"{percent_below(found.weighted_mean, found.baseline)} (normalised entropy {found.normalized_entropy:.4f}; "
        f"D2 {around(found.d2, found.intervals.get('d2', NOTHING), '.4f')})"
    )


def _groups(found: ExplanationRecord) -> list[str]:
    mean = "mean" if found.weight_sum is None else "mean by weight"
    lines = [
        f"{shown(group.name)}: {group.percent:.1f} % of the loss from {100 * group.count / found.count:.1f} % of the "
        f"items; {mean} {around(group.mean, group.interval, '.6f')}, {percent_below(group.mean, group.baseline)}"
        f"{' (too few of one class, or too few clusters, for an interval)' * math.isnan(group.interval.low)}"
        for group in found.groups[:GROUPS_SHOWN]
    ]
    if len(found.groups) > GROUPS_SHOWN:
        lines.append(f"and {len(found.groups) - GROUPS_SHOWN:,} more groups, in to_dict()")
    return lines


def markdown(found: ExplanationRecord) -> str:
    """Return the facts and the items as Markdown tables."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {escaped(text, MESSAGE)} |" for name, text in facts(found)]
    lines += ["", "| row | target | probability | loss | nats |", "| ---: | ---: | ---: | --- | ---: |"]
    for item in found.items:
        cells = (item.name, f"{item.target:g}", probability_text(item.probability), item.formula, loss_text(item.loss))
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    return "\n".join(lines)
