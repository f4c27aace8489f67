"""What items may add to a mean loss of whose kind none was seen, where it rests on a handful of items.

Near separation almost every item costs almost nothing, and the mean is made by the few that the model is wrong about.
Fewer than five of these say nothing of the next: where one item of 2,000 is wrong, intervals from the items' spread
hold 30 times of 100 at 500 items. But of a kind that comes with a probability above -log(0.025) / n = 3.7 / n, one is
seen among n items 97.5 times of 100 (the rule of three, Hanley and Lippman-Hand 1983, for 95 % on both sides). Each of
them may cost what the model would have lost had the other answer been true. So the interval reaches up to the mean seen
plus 3.7 / n times the mean of that, which held 97 times of 100 or more in simulations (`tests/test_unseen.py`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torchbce.explanation.sketch.points import FARTHEST, Points
from torchbce.explanation.statistics.intervals import FEWEST_OF_A_CLASS, LEVEL, losses_at


class Unseen(NamedTuple):
    """Items that the truth was given at most 1/2 for; and how much a mean may lie above that of the items seen."""

    errors: float
    reach: float


ENOUGH = Unseen(math.inf, 0.0)  # the items that were seen tell what the others cost


def unseen(points: Points, count: float, independent: float) -> Unseen:
    """Of items of known classes. count: how many, or items of equal weight that tell as much; independent: how many of
    these, or clusters of them, are independent.
    """
    weight, positive = points.total_weight, points.total_positive
    total = weight.sum()
    wrong = np.where(points.logits >= 0, weight - positive, 0.0) + np.where(points.logits <= 0, positive, 0.0)
    errors = count * float(wrong.sum() / total)
    if errors >= FEWEST_OF_A_CLASS:
        return ENOUGH
    zeros, ones = losses_at(points.logits)
    cost = np.where(np.abs(points.logits) >= FARTHEST, math.inf, np.maximum(zeros, ones))
    return Unseen(errors, -math.log((1 - LEVEL) / 2) / independent * float(weight @ cost / total))
