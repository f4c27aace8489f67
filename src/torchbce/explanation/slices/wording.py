"""How slices read: a short table of those that stand out, one of the hard ones, and what the numbers allow for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchbce.common.visible import shown
from torchbce.explanation.render.text import counted, percent

if TYPE_CHECKING:
    from torchbce.explanation.slices.result import Slice, Slices

HEAD = ("slice", "items", "of the loss", "mean", "expected", "excess", "p", "against the rest")


def lines(found: Slices) -> list[str]:
    """The whole text."""
    among = f"among {counted(found.looked_at, 'slice')} of {counted(len(found.columns), 'column')}"
    stands = "stands" if len(found.found) == 1 else "stand"
    if found.found:
        text = [f"{counted(len(found.found), 'slice')} {stands} out {among}: more loss than the probabilities promise"]
        text += ["", *_table(found.found), ""]
        text.append("expected: the entropy of the slice's own probabilities; excess: what the mean is above it.")
        text.append(
            f"Intervals and p-values allow for all {counted(found.looked_at, 'slice')} (Bonferroni, "
            f"{percent(1 - found.level)}) and take items for independent."
        )
    else:
        text = [
            f"none stands out {among}: nowhere is the loss above what the probabilities promise, more than elsewhere"
        ]
    if found.hard:
        text += ["", "hard by nature: the loss is high, and the probabilities say so"]
        text += ["", *_table(found.hard)]
    whole = found.whole
    low, high = whole.excess_interval
    text += [
        "",
        f"all {counted(whole.count, 'item')}: mean {whole.mean:.4f}, expected {whole.expected:.4f}, excess "
        f"{whole.excess:+.4f} ({low:+.4f} to {high:+.4f}), p = {whole.p_value:.2g}",
    ]
    text += [f"left out: {shown(name)} ({why})" for name, why in found.left_out]
    return text


def _table(slices: tuple[Slice, ...]) -> list[str]:
    rows = [HEAD, *map(_cells, slices)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = widths
    return [
        f" {row[0]:<{first}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], others, strict=True))
        for row in rows
    ]


def _cells(one: Slice) -> tuple[str, ...]:
    return (
        one.name,
        f"{one.count:,}",
        percent(one.loss_share),
        f"{one.mean:.4f}",
        f"{one.expected:.4f}",
        "{:+.4f} ({:+.4f} to {:+.4f})".format(one.excess, *one.excess_interval),
        f"{one.p_value:.2g}",
        "{:+.4f} ({:+.4f} to {:+.4f})".format(one.difference, *one.difference_interval),
    )
