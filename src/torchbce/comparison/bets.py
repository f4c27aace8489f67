"""The outcomes that a difference hangs on, and whether the sample holds enough of them.

Where two models differ on an item they bet against each other: one gains a little if the outcome comes that it expects,
and loses the distance of the two logits with the other outcome. Of an outcome that comes one time of a thousand, a
sample of five hundred mostly holds none; then the surer model, right or wrong, gains on every item by nearly the same,
and no spread of the differences tells of what it may lose. So the bets of each model are counted by how sure it was
(`LEVELS`), with the outcomes that went against it: see `explanation.statistics.unseen`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from torchbce.common.text import counted
from torchbce.explanation.sketch.keyed_sums import Array, KeyedSums
from torchbce.explanation.statistics.intervals import Interval
from torchbce.explanation.statistics.unseen import CHANCE, COLUMNS, LEVELS, NO_GAP, SURE, Gap, add_levels, widest_gap

SHAPE = (2, len(LEVELS), len(COLUMNS))  # the bets of a, and those of b


class Gaps(NamedTuple):
    """What unseen outcomes may take off b - a, by the bets of a, and what they may add, by the bets of b."""

    below: Gap
    above: Gap

    def around(self, interval: Interval, mean: float) -> Interval:
        """Widen the interval as far as unseen outcomes may carry the mean."""
        return interval.holding(mean - self.below.reach).holding(mean + self.above.reach)

    def beyond(self, reach: float) -> Gaps:
        """Return the gaps that carry the mean farther than this."""
        return Gaps(*(gap if gap.reach > reach else NO_GAP for gap in self))

    def against(self, mean: float) -> Gap:
        """Return the gap that could turn the sign of the mean."""
        return self.above if mean < 0 else self.below

    def reason(self, mean: float) -> str:
        """Return why the sign of the mean cannot be told; empty where the outcomes that were seen can tell it."""
        gap = self.against(mean)
        if not gap.reach >= abs(mean):
            return ""
        items = counted(round(gap.items), "item")
        return (
            f"the difference hangs on outcomes too rare to be seen here: of {items} of which the model with the lower "
            f"BCE is surer {gap.seen:.3g} went against it, as many as {gap.due:.2g} may have been due, and that would "
            "turn the sign"
        )


NO_GAPS = Gaps(NO_GAP, NO_GAP)


class Bets(KeyedSums):
    """The bets of two models against each other, a row of sums for each name, such as a group."""

    def __init__(self, most: int, too_many: str) -> None:
        super().__init__(int(np.prod(SHAPE)), most, too_many)

    def add_bets(
        self, codes: Array, names: list[str], a: Tensor, b: Tensor, targets: Tensor, weights: Tensor | None
    ) -> None:
        """Add items with finite logits `a` and `b`, each of the name `names[code]`."""
        first, second, y = (column.numpy() for column in (a, b, targets))
        w = np.ones(len(y)) if weights is None else weights.numpy()
        sums = np.zeros((2, len(names), *SHAPE[1:]))
        for side, (mine, other) in enumerate(((first, second), (second, first))):
            add_bets(sums[side], codes, mine, other, y, w)
        used = np.flatnonzero(sums.any((0, 2, 3)))
        self.add([names[code] for code in used], sums[:, used].swapaxes(0, 1).reshape(len(used), self.sums.shape[1]))

    def gaps(self, name: str, weight: float, factor: float) -> Gaps:
        """Return the gaps of one name, in a mean that is divided by `weight`; see `widest_gap`."""
        (row,) = self.places([name])
        if row < 0:
            return NO_GAPS
        a, b = self.sums[row].reshape(SHAPE)
        return gaps(a, b, weight, factor=factor)


def add_bets(sums: Array, codes: Array, mine: Array, other: Array, targets: Array, weights: Array) -> None:
    """Add the bets of one model against another: of items where it is the surer one of what they expect."""
    swing = np.abs(mine - other)
    sure = (np.abs(mine) >= SURE[0]) & (mine * (mine - other) > 0) & (weights > 0)
    if not sure.any():
        return
    against = np.where(mine[sure] > 0, 1 - targets[sure], targets[sure])
    lost = weights[sure] * swing[sure]
    columns = (np.ones(len(lost)), against, lost, lost**2, lost * against)
    add_levels(sums, codes[sure], np.abs(mine[sure]), columns)


def gaps(a: Array, b: Array, weight: float, *, chance: float = CHANCE, factor: float = 1.0) -> Gaps:
    """Return the gaps, from the sums of the bets of each model."""
    return Gaps(*(widest_gap(bet, weight, chance=chance, factor=factor) for bet in (a, b)))
