"""What the surest predictions say of wrong labels: an upper limit that needs no model.

Let rho_0 be the chance that an item that is truly 0 is labelled 1, the same for all such items. Then any set of items
that was chosen without their labels has a share of ones of at least rho_0, so the share among those that are surest to
be 0 bounds it (anchor points: Liu and Tao 2016, https://doi.org/10.1109/TPAMI.2015.2456899). The same holds of rho_1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.points import Array

# Of the items on one side of a half: few are surest, many tell more. The limit is the least of theirs, each taken at a
# level that allows for the choice (Bonferroni).
FRACTIONS = (0.05, 0.1, 0.2, 0.5)
LEVEL = 0.025


@dataclass(frozen=True)
class Tail:
    """Of the items surest to be of a class: the share of the other label, and its upper limit (97.5 %)."""

    share: float
    limit: float


def surest(logits: Array, weight: Array, other: Array) -> Tail:
    """The tail with the least limit among items below 0.

    Args:
        logits: calibrated, in rising order.
        weight: of the items at each; sums to the number of independent items that tell as much.
        other: the part of it that has label 1. For the items above 0, reverse all and change the sign of logits.
    """
    from scipy.special import betaincinv

    items, wrong = np.cumsum(weight), np.cumsum(other)
    side = float(weight[logits < 0].sum())
    found = [Tail(1.0, 1.0)]
    for fraction in FRACTIONS if side else ():
        # Equal logits stay together: whole points up to the fraction.
        last = min(int(np.searchsorted(items, fraction * side * (1 - 1e-12))), len(items) - 1)
        n, k = float(items[last]), float(np.clip(wrong[last], 0.0, items[last]))
        # Clopper and Pearson's limit, in terms of the incomplete beta function.
        limit = float(betaincinv(k + 1, n - k, 1 - LEVEL / len(FRACTIONS))) if n - k > 1e-9 else 1.0
        found.append(Tail(k / n, limit))
    return min(found, key=lambda tail: tail.limit)
