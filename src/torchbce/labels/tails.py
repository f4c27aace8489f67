"""What the surest predictions say of wrong labels: an upper limit that needs no model.

Let rho_0 be the chance that an item that is truly 0 is labelled 1, the same for all such items. Then any set of items
that was chosen without their labels has a share of ones of at least rho_0, so the share among those that are surest to
be 0 bounds it (anchor points: Liu and Tao 2016, https://doi.org/10.1109/TPAMI.2015.2456899). The same holds of rho_1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# Of the items on one side of a half: few are surest, many tell more. The limit is the least of theirs, each taken at a
# level that allows for the choice (Bonferroni).
FRACTIONS = (0.05, 0.1, 0.2, 0.5)
LEVEL = 0.025


@dataclass(frozen=True)
class Tail:
    """The share of the other label among the items surest to be of a class, and its upper limit (97.5 %).

    The share is Jeffreys' estimate: none seen among few does not mean that there are none.
    """

    share: float
    limit: float


@dataclass(frozen=True)
class Labelled:
    """The weight of items with one label at each logit, and the squares of their weights."""

    weight: Array
    square: Array

    @property
    def usual(self) -> float:
        """Return the typical weight of an item with the label."""
        return float(self.square.sum() / self.weight.sum())

    def backwards(self) -> Labelled:
        return Labelled(self.weight[::-1], self.square[::-1])


def surest(logits: Array, own: Labelled, other: Labelled) -> Tail:
    """Return the tail with the least limit among items below 0.

    Items of unequal weight tell as much as (sum w)^2 / sum w^2 of equal weight (Kish), of each label for itself: where
    one label was sampled more thinly than the other, few items of it stand for many.

    Args:
        logits: calibrated, in rising order.
        own: the items at each that have label 0.
        other: those that have label 1. For the items above 0, reverse all and change the sign of logits.
    """
    from scipy.special import betaincinv

    items, side = np.cumsum(own.weight + other.weight), float((own.weight + other.weight)[logits < 0].sum())
    sums = [np.cumsum(values) for values in (own.weight, own.square, other.weight, other.square)]
    tails = [Tail(1.0, 1.0)]
    for fraction in FRACTIONS if side else ():
        # Equal logits stay together: whole points up to the fraction.
        last = min(int(np.searchsorted(items, fraction * side * (1 - 1e-12))), len(items) - 1)
        right, right_square, wrong, wrong_square = (float(total[last]) for total in sums)
        # Clopper and Pearson's limit, in terms of the incomplete beta function: with one more wrong one than was seen.
        one_more, its_square = wrong + other.usual, wrong_square + other.usual**2
        heavy = right_square / right if right > 0 else own.usual
        seen, limit = right / heavy, 1.0
        if seen > 1e-9:
            odd = float(betaincinv(one_more**2 / its_square, seen, 1 - LEVEL / len(FRACTIONS)))
            above, below = odd * its_square / one_more, (1 - odd) * heavy
            limit = above / (above + below)
        half = wrong + other.usual / 2
        tails.append(Tail(half / (half + right + own.usual / 2), limit))
    return min(tails, key=lambda tail: tail.limit)
