"""How a comparison reads: the verdict first, then a sentence for each thing that is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchbce.common.markdown import escaped
from torchbce.common.text import around, counted, percent, probability_text
from torchbce.common.visible import MESSAGE, shown

if TYPE_CHECKING:
    from torchbce.comparison.record import ChangedItem, ComparisonRecord, Slot

SHOWN = 10
ITEMS_SHOWN = 3
LEAST_SHARE = 0.02  # of a difference, that a part is worth a word


def verdict(record: ComparisonRecord) -> str:
    """Return what to conclude, in one sentence."""
    a, b = map(shown, record.names)
    low, high = record.interval
    if not math.isfinite(record.difference):
        return "The losses cannot be compared: one of them is infinite."
    if record.difference == 0 and low == high == 0:
        return f"{a} and {b} give every item the same loss."
    lower = "lower" if record.difference < 0 else "higher"
    if record.p_value is None:
        return (
            f"These items do not show whether {a} or {b} is better: {record.evidence.reason}. The BCE of {b} is "
            f"{lower} by {_short(abs(record.difference))} nats per item on them."
        )
    if low <= 0 <= high:
        return (
            f"These items do not show whether {a} or {b} is better: the BCE of {b} is {lower} by "
            f"{_size(record.difference, low, high)}, and luck can give as much{_how_many_more(record)}."
            f"{_against_each_other(record)}"
        )
    return f"{b} is {_direction(record.difference)} by {_size(record.difference, low, high)}{_why(record)}."


def _direction(difference: float) -> str:
    return "better" if difference < 0 else "worse"


def _size(difference: float, low: float, high: float) -> str:
    """Return a difference without its sign, which the sentence says."""
    if difference < 0:
        low, high = -high, -low
    size = f"{_short(abs(difference))} nats per item"
    return size if math.isnan(low) else f"{size} ({_short(low)} to {_short(high)})"


def _short(nats: float) -> str:
    """Return nats with two digits, or with all before the point."""
    return f"{nats:.0f}" if abs(nats) >= 10 else f"{nats:.2g}"


def _why(record: ComparisonRecord) -> str:
    """Return which part the difference is, where that is known."""
    if record.parts is None:
        return ""
    separation, calibration = record.parts.separation, record.parts.calibration
    least = LEAST_SHARE * abs(record.difference)
    certain = [part.is_certain and abs(part.nats) > least for part in (separation, calibration)]
    signs = [part.nats * record.difference > 0 for part in (separation, calibration)]
    with_it = [known and sign for known, sign in zip(certain, signs, strict=True)]
    against = [known and not sign for known, sign in zip(certain, signs, strict=True)]
    if all(with_it):
        return ": both its ranking and its calibration"
    for which, other, name, rest in ((0, 1, "ranking", "calibration"), (1, 0, "calibration", "ranking")):
        if with_it[which]:
            return f": its {name}, {f'though its {rest} goes the other way' if against[other] else f'not its {rest}'}"
    return "; whether by its ranking or its calibration cannot be told"


def _against_each_other(record: ComparisonRecord) -> str:
    """Return that one part outweighs the other, where it does, which a recalibration would end."""
    parts = record.parts
    if parts is None or not (parts.separation.is_certain and parts.calibration.is_certain):
        return ""
    if parts.separation.nats * parts.calibration.nats > 0:
        return ""
    first, second = ("better", "worse") if parts.separation.nats < 0 else ("worse", "better")
    return f" But {shown(record.names[1])} ranks {first} and is calibrated {second}: recalibrate both, then compare."


def _how_many_more(record: ComparisonRecord) -> str:
    more = record.more_items
    return f"; {_rounded(more)} more items like these would decide it" if math.isfinite(more) and more else ""


def _rounded(count: float) -> str:
    """Round up to two significant digits."""
    size = 10 ** max(0, math.floor(math.log10(max(count, 1))) - 1)
    return f"{math.ceil(count / size) * size:,}"


def facts(record: ComparisonRecord) -> list[tuple[str, str]]:
    """Return a name and a sentence for each known figure."""
    a, b = map(shown, record.names)
    p = "no p" if record.p_value is None else p_text(record.p_value)
    by = "paired by item" if record.clusters is None else f"by {counted(record.clusters, 'cluster')} of items"
    pairs = [
        (
            "difference",
            f"{b} - {a}: {around(record.difference, record.interval, '+.6f')} nats per item "
            f"({record.bits:+.6f} bits), 95 %, {p}, {by}",
        ),
        (
            "means",
            f"{a} {record.means[0]:.6f}, {b} {record.means[1]:.6f} over {counted(record.count, 'item')}"
            f"{', by weight' if record.weight_sum is not None else ''}; base rate {percent(record.base_rate)}",
        ),
    ]
    if record.evidence.reason:
        pairs.append(("p-value", f"none: {record.evidence.reason}"))
    if record.parts is not None:
        for name, part in (("separation", record.parts.separation), ("calibration", record.parts.calibration)):
            share = f"; {100 * part.nats / record.difference:.0f} % of the difference" if record.difference else ""
            pairs.append((name, f"{around(part.nats, part.interval, '+.6f')} nats per item{share}"))
        auc = around(record.parts.auc.nats, record.parts.auc.interval, "+.4f")
        pairs.append(("AUC", f"{a} {record.aucs[0]:.4f}, {b} {record.aucs[1]:.4f}: {auc}"))
    pairs.append(("items", f"{100 * record.better:.1f} % cost less with {b}, {100 * record.worse:.1f} % more"))
    more = record.more_items
    if math.isfinite(more) and more:
        pairs.append(("to decide", f"{_rounded(more)} more items, for a difference of this size (4 times of 5)"))
    pairs += [("confidence", _slot(band, "sure of ")) for band in record.bands]
    pairs += [(f"group {n}", _slot(group)) for n, group in enumerate(record.groups[:SHOWN], 1)]
    if len(record.groups) > SHOWN:
        pairs.append(("groups", f"and {len(record.groups) - SHOWN:,} more, in to_dict()"))
    pairs += [("gained most", _item(item, record.key)) for item in record.gained[:ITEMS_SHOWN]]
    pairs += [("lost most", _item(item, record.key)) for item in record.lost[:ITEMS_SHOWN]]
    return pairs


def p_text(value: float) -> str:
    """Return the p-value, or that it is too small for a float."""
    return f"p = {value:.2g}" if value > 0 else "p < 1e-300"


def _slot(slot: Slot, prefix: str = "") -> str:
    none = " (too few, or too few clusters, for an interval)" if math.isnan(slot.interval.low) else ""
    share = "" if math.isnan(slot.share) else f", {100 * slot.share:.0f} % of the difference"
    return (
        f"{prefix}{shown(slot.name)}: {around(slot.difference, slot.interval, '+.6f')} nats per item over "
        f"{counted(slot.count, 'item')}{share}{none}"
    )


def _item(item: ChangedItem, key: str | None) -> str:
    name = f"row {item.row}" if item.key is None else f"{shown(key)} {shown(item.key)}"
    return (
        f"{shown(item.source)} {name}: target {item.target:g}, {probability_text(item.probability_a)} -> "
        f"{probability_text(item.probability_b)}, {item.change:+.4g} nats"
    ).strip()


def text(record: ComparisonRecord) -> str:
    """Return the verdict and the facts."""
    return "\n".join([verdict(record), "", *(f"{name:<11} {sentence}" for name, sentence in facts(record))])


def markdown(record: ComparisonRecord) -> str:
    """Return the verdict and the facts as Markdown."""
    rows = [f"| {name} | {escaped(sentence, MESSAGE)} |" for name, sentence in facts(record)]
    return "\n".join([f"**{escaped(verdict(record), MESSAGE)}**", "", "| | |", "| --- | --- |", *rows])
