"""How slices read: a short table of those that stand out, one of the hard ones, and what the numbers allow for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torchbce.common.text import counted, percent
from torchbce.common.visible import shown
from torchbce.explanation.slices.questions import SMALLEST

if TYPE_CHECKING:
    from torchbce.explanation.slices.result import Slice, Slices

HEAD = ("slice", "items", "clusters", "of the loss", "mean", "expected", "excess", "p", "against the rest")


def lines(slices: Slices) -> list[str]:
    """Return the lines of the text."""
    among = f"among {counted(slices.looked_at, 'slice')} of {counted(len(slices.columns), 'column')}"
    stands = "stands" if len(slices.found) == 1 else "stand"
    least = slices.least_clusters
    if least is not None and slices.columns and not slices.looked_at:
        text = [
            f"no slice can be told from chance: it needs {SMALLEST} items and {least} clusters, inside and outside, "
            f"counted as if all were of one size; there are {counted(slices.clusters or 0, 'cluster')}"
        ]
    elif slices.found:
        text = [f"{counted(len(slices.found), 'slice')} {stands} out {among}: more loss than the probabilities promise"]
        text += ["", *_table(slices.found), ""]
        text.append("expected: the entropy of the slice's own probabilities; excess: what the mean is above it.")
        text.append(
            f"Intervals and p-values allow for all {counted(slices.looked_at, 'slice')} (Bonferroni, "
            f"{percent(1 - slices.level)}) and take {_independent(slices)} for independent."
        )
    else:
        text = [
            f"none stands out {among}: nowhere is the loss above what the probabilities promise, more than elsewhere"
        ]
    if least is not None and slices.looked_at:
        text.append(
            f"Each slice has {least} clusters or more inside and outside, counted as if all were of one size; fewer "
            "cannot be told from chance."
        )
    if slices.hard:
        text += ["", "hard by nature: the loss is high, and the probabilities say so"]
        text += ["", *_table(slices.hard)]
    whole = slices.whole
    text += [
        "",
        f"all {counted(whole.count, 'item')}: mean {whole.mean:.4f}, expected {whole.expected:.4f}, excess "
        f"{_with_interval(whole.excess, whole.excess_interval)}, p = {whole.p_value:.2g}",
    ]
    text += [f"left out: {shown(name)} ({why})" for name, why in slices.left_out]
    return text


def _independent(slices: Slices) -> str:
    """Return what is taken for independent."""
    if slices.clusters is None:
        return "items"
    return f"{slices.clusters:,} lots of clusters" if slices.clusters_shared else "clusters"


def _table(slices: tuple[Slice, ...]) -> list[str]:
    rows = [HEAD, *map(_cells, slices)]
    if slices[0].clusters is None:
        rows = [(*row[:2], *row[3:]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = widths
    return [
        f" {row[0]:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], others, strict=True))
        for row in rows
    ]


def _cells(row: Slice) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.count:,}",
        f"{row.clusters or 0:,}",
        percent(row.loss_share),
        f"{row.mean:.4f}",
        f"{row.expected:.4f}",
        _with_interval(row.excess, row.excess_interval),
        f"{row.p_value:.2g}",
        _with_interval(row.difference, row.difference_interval),
    )


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    if math.isinf(low) or math.isinf(high):
        return f"{value:+.4f} (too few clusters)"
    return f"{value:+.4f} ({low:+.4f} to {high:+.4f})"
