"""What rare items, of which the sample holds too few, may add to a mean that rests on a handful of items.

Near separation almost every item costs almost nothing, and the mean is made by the few that the model is wrong about.
Fewer than five of these say nothing of the next: where one item of 2,000 is wrong, intervals from the items' spread
hold 30 times of 100 at 500 items. But of a kind that comes with a probability above -log(0.025) / n = 3.7 / n, one is
seen among n items 97.5 times of 100 (the rule of three, Hanley and Lippman-Hand 1983, for 95 % on both sides). Each of
them may cost what the model would have lost had the other answer been true. So the interval reaches up to the mean seen
plus 3.7 / n times the mean of that, which held 97 times of 100 or more in simulations
(`tests/explanation/test_unseen.py`).

The same holds of the surest items among others that err often: five hundred items that are told 1e-5 and come true one
time of a thousand are mostly all right in a sample, and then neither their mean nor their spread shows what they cost.
So each part of the items that is surer than one of `LEVELS` is looked at by itself. With `seen` errors there, up to
`due(seen)` may have been expected, the upper limit of a Poisson count (Garwood 1936); each costs what an error there
does on the average. Where five were seen, or where the spread of all items reaches farther, the spread is enough.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torchbce.explanation.sketch.points import FARTHEST, Array, Points
from torchbce.explanation.statistics.intervals import FEWEST_OF_A_CLASS, LEVEL, interval_of_mean, losses_at

CHANCE = (1 - LEVEL) / 2  # on each side
LEVELS = (5e-2, 5e-3, 5e-4, 5e-5, 5e-6)  # of the probability that a model gives to the other outcome
SURE = np.log1p(-np.array(LEVELS)) - np.log(LEVELS)  # the logits from which it gives so little
# Sums over the items of a level, each with what the other outcome would cost (`swing`): how many there are and how many
# had it, their swings and the squares of these, and the swings of those that had it.
COLUMNS = ("count", "seen", "swing", "squared", "lost")
FEWEST = 20  # of the surest items: of fewer even a probability of 1 in 6 could not be told from none
CLEARLY = 1.5  # times as far as the spread reaches; below that it holds often enough by itself
INFINITE = 1e-6 * FARTHEST  # no finite logit costs so much


class Unseen(NamedTuple):
    """Items that the truth was given at most 1/2 for; and how much a mean may lie above that of the items seen.

    among: how many of the surest items `errors` counts, where the reach is theirs; None where it is that of all.
    """

    errors: float
    reach: float
    among: float | None = None


ENOUGH = Unseen(math.inf, 0.0)  # the items that were seen tell what the others cost


def unseen(points: Points, count: float, independent: float, factor: float = 1.0) -> Unseen:
    """Return what unseen items of known classes may add to the mean.

    count: how many there are, or the effective number of weighted items; independent: how many of
    these, or clusters of them, are independent. factor: how many times the variance of the mean is that of independent
    items.
    """
    weight, positive = points.total_weight, points.total_positive
    total = weight.sum()
    wrong = np.where(points.logits >= 0, weight - positive, 0.0) + np.where(points.logits <= 0, positive, 0.0)
    errors = count * float(wrong.sum() / total)
    if errors >= FEWEST_OF_A_CLASS:
        return _of_the_surest(points, wrong * (count / total), count, factor)
    zeros, ones = losses_at(points.logits)
    cost = np.where(np.abs(points.logits) >= FARTHEST, math.inf, np.maximum(zeros, ones))
    return Unseen(errors, -math.log(CHANCE) / independent * float(weight @ cost / total))


def _of_the_surest(points: Points, wrong: Array, count: float, factor: float) -> Unseen:
    """Return where their errors may cost more than the spread of all items shows; `wrong` counts them at each point."""
    weight = points.total_weight
    items, swing = weight * (count / weight.sum()), np.abs(points.logits)
    levels = np.zeros((len(LEVELS), len(COLUMNS)))
    columns = (items, wrong, items * swing, items * swing**2, wrong * swing)
    add_levels(levels, np.zeros(len(swing), np.int64), swing, columns)
    gap = widest_gap(levels[1:], count, factor=factor, least=FEWEST)
    if not gap.reach > CLEARLY * _spread(points, count, factor):
        return ENOUGH
    return Unseen(gap.seen, gap.reach, gap.items)


def _spread(points: Points, count: float, factor: float) -> float:
    """Return how far above the mean loss its interval reaches by the spread of the items that were seen."""
    positive = points.total_positive
    share = np.stack([points.total_weight - positive, positive]) / points.total_weight.sum()
    loss = np.stack(losses_at(points.logits))
    mean = float((share * loss).sum())
    square, cube = (float((share * (loss - mean) ** power).sum()) for power in (2, 3))
    if not (square > 0 and count > 1):
        return 0.0
    error = math.sqrt(max(factor, 1.0) * square / (count - 1))
    return interval_of_mean(mean, error, cube / square**1.5 / math.sqrt(count), count).high - mean


class Gap(NamedTuple):
    """What rare outcomes may add to a mean of which too few were seen.

    reach: how much. items, seen: of so many items that could have had them, so many had. due: the most that may have
    been expected.
    """

    reach: float
    items: float
    seen: float
    due: float


NO_GAP = Gap(0.0, 0.0, 0.0, 0.0)


def add_levels(sums: Array, codes: Array, sureness: Array, columns: tuple[Array, ...]) -> None:
    """Add items to the levels in `sums`, one table of `LEVELS` by `COLUMNS` after the other, of the table `codes`.

    sureness: the size of an item's logit.
    """
    level = np.searchsorted(SURE, sureness, side="right") - 1
    sure = level >= 0
    if sure.any():
        cells = codes[sure] * len(LEVELS) + level[sure]
        rows = sums.reshape(-1, len(COLUMNS))
        for number, column in enumerate(columns):
            rows[:, number] += np.bincount(cells, column[sure], len(rows))


def widest_gap(levels: Array, total: float, *, chance: float = CHANCE, factor: float = 1.0, least: float = 0.0) -> Gap:
    """Return the widest gap of a table's levels, in a mean that is divided by `total`.

    chance: how often the reach may be too short. factor: how many times the variance of the mean is that of independent
    items; so many items then tell as much as one. least: how many items a level takes to be looked at.
    """
    factor = factor if factor > 1 else 1.0
    widest = NO_GAP
    for count, seen, swing, squared, lost in np.cumsum(levels[::-1], 0).tolist():
        size = squared / swing if swing > 0 else math.inf  # of most of what can be lost
        if not swing / size > least:
            continue
        had = min(seen, lost / size) / factor
        if had >= FEWEST_OF_A_CLASS:
            continue
        most = min(due(had, chance), swing / size / factor)
        reach = (most - had) * factor * size / total
        if reach > widest.reach:
            widest = Gap(reach if reach < INFINITE else math.inf, count, seen, most * factor)
    return widest


def due(seen: float, chance: float = CHANCE) -> float:
    """Return the largest expected count of which so few or fewer are seen with at least this chance."""
    from scipy.special import gammainccinv

    return float(gammainccinv(seen + 1, chance))
