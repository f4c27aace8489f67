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


def item_lines(record: ExplanationRecord) -> list[str]:
    """Return a line for each item, and their total where all are shown."""
    items = record.items
    everything = len(items) == record.count
    most = "the item that costs most:" if len(items) == 1 else f"the {len(items)} items that cost most:"
    lines = [] if everything else [most]
    if not items:
        return [f"{record.count:,} items"]
    weighted = record.weight_sum is not None
    formulas = [f"{item.weight:g} * {item.formula}" if weighted else item.formula for item in items]
    width = max(map(len, formulas))
    places = [shown(item.place or item.row) for item in items]
    rows = max(4, *map(len, places))
    names = [shown(item.source) for item in items]
    sources = max(map(len, names))
    head = f"{'item' if everything else 'row':>{rows + 1}}  target"
    lines.append(
        (f"{'source':<{sources}}  " if sources else "") + head + "     logit" * record.from_logits + "  output"
    )
    for item, name, place, text in zip(items, names, places, formulas, strict=True):
        source = f"{name:<{sources}}  " if sources else ""
        logit = f"  {item.logit:8.4g}" if item.logit is not None else ""
        output = probability_text(item.probability)
        cost = f"{text:<{width}} = {loss_text(item.loss):>5}"
        lines.append(f"{source}{place:>{rows + 1}}  {item.target:>6g}{logit}  {output:>6}  {cost}")
    if everything and record.count > 1:
        edge = len(lines[-1])
        lines += [("-" * 8).rjust(edge), f"total BCE = {loss_text(record.total):>5}".rjust(edge), ""]
        lines.append(f"mean BCE = {record.total:.4f} / {record.count} = {record.mean:.4f}")
    return lines


def verdict(record: ExplanationRecord) -> str:
    """Return what to conclude, in a sentence or two."""
    if not math.isfinite(record.mean):
        return "The loss is infinite: an item was given probability 0 for what happened."
    if not record.baseline > 0:
        return f"Every target is {record.base_rate:g}: nothing can be said of the model."
    d2, interval = record.d2, record.intervals.get("d2", NOTHING)
    size = around(abs(100 * d2), Interval(*sorted(100 * bound * (1 if d2 >= 0 else -1) for bound in interval)), ".3g")
    if interval.low <= 0 <= interval.high:
        worth = f"No better than always answering {100 * record.baseline_answer:.3g} %, as far as can be told."
    elif d2 >= 0:
        worth = f"{size} % of what always answering {100 * record.baseline_answer:.3g} % costs is saved."
    else:
        worth = f"Worse than always answering {100 * record.baseline_answer:.3g} %, by {size} %."
    calibration = record.miscalibrated
    if calibration is None or record.calibration is None:
        return worth
    if record.calibration.separated:
        worth = (
            f"The classes are told apart almost without error (AUC {record.auc:.4f}): make sure first that nothing "
            "that the model is given holds the answer."
        )
        if not calibration.is_off:
            return worth
    return f"{worth} Calibration: {calibration.finding}."


def thin(record: ExplanationRecord) -> str:
    """Return why the interval of the mean reaches far; nothing where it does not."""
    if record.errors is None or math.isnan(record.intervals["mean"].low):
        return ""
    if record.errors_among is None:
        few = f"the truth of {record.errors:.3g} of {counted(record.count, 'item')} was given at most 1/2"
    else:
        surest = counted(round(record.errors_among), "item")
        few = f"of the {surest} that are surest {record.errors:.3g} went the other way"
    return (
        f"{few}, too few to tell what others cost: the interval reaches up to what those cost that may not have been "
        "seen among so many"
    )


def with_error(record: ExplanationRecord, sign: str = "+-") -> str:
    """Return the mean and its standard error, or its interval where errors are too few for one."""
    if thin(record) and record.errors_among is None:
        return f"{record.mean:.6f} ({between(record.intervals['mean'], '.6f')}, 95 %)"
    return f"{record.mean:.6f} {sign} {record.standard_error:.6f}"


def ledger_line(record: ExplanationRecord) -> str:
    """Return the ledger in one line."""
    lines = record.ledger.lines
    terms = [f"{'-' if line.bits < 0 else '+'} {abs(line.bits):.4f} {line.name}" for line in lines]
    return f"{' '.join(terms).removeprefix('+ ')} = {record.ledger.bits:.4f} bits per item"


def facts(record: ExplanationRecord) -> list[tuple[str, str]]:
    """Return a name and a sentence for each known figure."""
    by_weight = "" if record.weight_sum is None else ", by weight"
    error = "" if math.isnan(record.standard_error) or thin(record) else f" +- {record.standard_error:.4f}"
    pairs = [
        (
            "the mean",
            f"{record.mean:.6f} nats per item ({record.bits:.6f} bits){error}; reduction='mean' prints this",
        ),
        (
            "the total",
            f"{record.total:.6f} nats over {counted(record.count, 'item')}; reduction='sum' prints this",
        ),
    ]
    pairs.append(("interval", _interval(record)))
    pairs += [("no interval", text) for text in _withheld(record)]
    if record.weight_sum is not None:
        pairs.append(
            (
                "weights",
                f"sum to {record.weight_sum:.6g}; torch's mean divides by the items, not by them; divided by them it "
                f"is {record.weighted_mean:.6f}, and without weights {record.plain_mean:.6f}",
            )
        )
    pairs.append(
        (
            "typical",
            f"what happened was given the probability {record.typical_probability:.4f} (geometric mean{by_weight})",
        )
    )
    pairs.append(("baseline", _baseline(record)))
    if record.decomposition is not None:
        pairs.append(("worth", _worth(record, record.decomposition)))
    if record.baseline > 0 and math.isfinite(record.mean):
        pairs.append(("ledger", ledger_line(record)))
    if record.miscalibrated is not None:
        pairs.append(("calibration", str(record.miscalibrated)))
    if record.floor is not None:
        pairs.append(
            (
                "floor",
                f"soft targets cost at least {record.floor:.6f}; {record.excess:.6f} is above it",
            )
        )
    if record.clamped:
        pairs.append(
            (
                "clamped",
                f"{counted(record.clamped, 'item')} gave probability 0 to what happened; torch takes log(0) for -100, "
                f"so this costs {record.clamped_cost:.6g} nats and not infinity: {100 * record.clamped_share:.1f} % of "
                "the total",
            )
        )
    if record.saturated:
        pairs.append(
            (
                "saturated",
                f"{counted(record.saturated, 'item')} so far out that in {record.dtype} the probability is exactly 0 "
                "or 1: no gradient comes through a sigmoid there",
            )
        )
    if record.count >= 1000:
        pairs.append(("worst 1 %", f"of the items carries {100 * record.worst_share:.1f} % of the loss"))
    other = record.elsewhere
    if other is not None and max(abs(other.keras - record.mean), abs(other.sklearn - record.mean)) > 5e-7:
        pairs.append(
            (
                "elsewhere",
                f"{_keras(record)}, scikit-learn {other.sklearn:.6f} (clips probabilities to "
                f"{other.sklearn_epsilon:.1e} from 0 and 1)",
            )
        )
    pairs += [(f"group {n}", text) for n, text in enumerate(_groups(record), 1)]
    return pairs


def _worth(record: ExplanationRecord, parts: Decomposition) -> str:
    """Return separation and miscalibration as shares of the base rate's entropy."""
    percent_of = 100 / parts.uncertainty
    separation = around(parts.discrimination, parts.discrimination_interval, ".1f", percent_of)
    lost = around(parts.miscalibration, parts.miscalibration_interval, ".1f", percent_of)
    auc = around(record.auc, record.intervals["auc"], ".4f")
    return f"separation earns {separation} % of the baseline, miscalibration loses {lost} %; AUC {auc}"


def labels_text(record: ExplanationRecord) -> str:
    """Return a table with a line for each label; empty where there is one."""
    if not record.labels:
        return ""
    names = list(map(shown, record.labels))
    width = max(5, *map(len, names))
    lines = [f"{'label':<{width}}  base rate  mean loss, 95 %               saved (D2)     AUC  calibration"]
    for name, label in zip(names, record.labels.values(), strict=True):
        mean = around(label.mean, label.intervals["mean"], ".4f")
        calibration = "-" if label.miscalibrated is None else label.miscalibrated.finding
        lines.append(
            f"{name:<{width}}  {percent(label.base_rate):>9}  {mean:<27}  {100 * label.d2:8.1f} %  {label.auc:6.4f}  "
            f"{calibration}"
        )
    return "\n".join(lines)


def _interval(record: ExplanationRecord) -> str:
    """Return the interval of the mean, or why there is none."""
    interval, sizes = record.intervals["mean"], record.cluster_sizes
    if math.isnan(interval.low):
        return f"none: {record.withheld.get('mean', 'label item does not say how far others differ')}"
    text = f"95 % {between(interval, '.6f')}" + (f"; {thin(record)}" if thin(record) else "")
    if sizes is None:
        return f"{text}, taking items for independent; name what they belong to (patients, images) with cluster"
    if sizes.are_few:
        return f"{text}; {sizes.summary()}"
    return f"{text}, as {counted(sizes.number, 'cluster')} of items differ"


def _withheld(record: ExplanationRecord) -> list[str]:
    """Return which other figures have no interval, and why."""
    reasons = dict.fromkeys(why for name, why in record.withheld.items() if name != "mean" and record.baseline > 0)
    return [
        f"of {', '.join(name for name, other in record.withheld.items() if other == why and name != 'mean')}: {why}"
        for why in reasons
        if why != record.withheld.get("mean")
    ]


def _keras(record: ExplanationRecord) -> str:
    assert record.elsewhere is not None
    how = "does not clip logits" if record.from_logits else "works in float32, where it clips to 1e-07 from 0 and 1"
    return f"Keras prints {record.elsewhere.keras:.6f} (it {how})"


def _baseline(record: ExplanationRecord) -> str:
    if not record.baseline > 0:
        return (
            f"no baseline (one class only): every target is {record.base_rate:g}, so nothing can be said of the model"
        )
    this = "this" if record.weight_sum is None else f"{record.weighted_mean:.6f}, the mean by weight,"
    return (
        f"always answering {100 * record.baseline_answer:.4g} % costs {record.baseline:.6f}: {this} is "
        f"{percent_below(record.weighted_mean, record.baseline)} (normalised entropy {record.normalized_entropy:.4f}; "
        f"D2 {around(record.d2, record.intervals.get('d2', NOTHING), '.4f')})"
    )


def _groups(record: ExplanationRecord) -> list[str]:
    mean = "mean" if record.weight_sum is None else "mean by weight"
    lines = [
        f"{shown(group.name)}: {group.percent:.1f} % of the loss from {100 * group.count / record.count:.1f} % of the "
        f"items; {mean} {around(group.mean, group.interval, '.6f')}, {percent_below(group.mean, group.baseline)}"
        f"{' (too few of label class, or too few clusters, for an interval)' * math.isnan(group.interval.low)}"
        for group in record.groups[:GROUPS_SHOWN]
    ]
    if len(record.groups) > GROUPS_SHOWN:
        lines.append(f"and {len(record.groups) - GROUPS_SHOWN:,} more groups, in to_dict()")
    return lines


def markdown(record: ExplanationRecord) -> str:
    """Return the facts and the items as Markdown tables."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name} | {escaped(text, MESSAGE)} |" for name, text in facts(record)]
    lines += ["", "| row | target | probability | loss | nats |", "| ---: | ---: | ---: | --- | ---: |"]
    for item in record.items:
        cells = (item.name, f"{item.target:g}", probability_text(item.probability), item.formula, loss_text(item.loss))
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    return "\n".join(lines)
