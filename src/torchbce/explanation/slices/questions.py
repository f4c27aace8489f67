"""What is asked of slices: is their loss above what the probabilities expect, or is it merely high?

Where clusters are known, a slice must stand out among independent items and among independent clusters; so it does not
where few clusters make it, nor where clusters that vary little by chance do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from torchbce.explanation.slices import clustered
from torchbce.explanation.slices.evidence import interval, split_gain, surprise
from torchbce.explanation.slices.table import EXCESS, LOSS, SLOPE, WEIGHT, Sums

SMALLEST = 50  # items in a slice, and outside it
FEWEST = 4  # items that could make the excess alone: one that was called impossible is no slice
HARDER = 1.5  # times the mean loss of the rest: a longer list of slices that cost a little more tells nothing

Ends = tuple[np.ndarray, np.ndarray]


class Question(Protocol):
    """What is asked of a slice; of many at a time."""

    def holds(self, part: Sums, whole: Sums) -> np.ndarray:
        """Return whether the slice stands out by itself."""

    def differs(self, part: Sums, parent: Sums) -> np.ndarray:
        """Return whether it stands out from the rest of a slice that holds it."""

    def carries(self, part: Sums, whole: Sums) -> np.ndarray:
        """Return what the slice carries in total, in nats, by which slices are ranked."""


@dataclass(frozen=True)
class Excess:
    """Is there more loss than the probabilities expect? `drop` is -log of the chance that a slice may take."""

    drop: float

    def holds(self, part: Sums, whole: Sums) -> np.ndarray:
        """Bound the chance of so much excess, which must not be the work of a few items."""
        some = (part.count >= SMALLEST) & (part.excess > 0) & (part.excess**2 >= FEWEST * part.excess_squared)
        return np.asarray(some & (surprise_of(part) > self.drop))

    def differs(self, part: Sums, parent: Sums) -> np.ndarray:
        """Compare a factor of the logits for the slice and one for the parent's rest with one for both, by likelihood.

        With weights that differ between them it tells apart what has the same factor, so the factors must differ too.
        """
        more = split_gain(part.excess, part.spread, parent.excess, parent.spread, parent.excess_variance)
        differs = np.asarray(more > self.drop)
        if part.weighted:
            rest = parent - part
            with np.errstate(invalid="ignore", divide="ignore"):
                more = part.excess / part.slope - rest.excess / rest.slope
                squares = part.excess_squared / part.slope**2 + rest.excess_squared / rest.slope**2
                differs &= (more > 0) & (clustered.surprise(more**2 / squares) > self.drop)
        if part.lanes is not None:
            parts, _ = _contrast(part, parent, EXCESS, SLOPE)  # of the factors
            differs &= (parts.sum(-1) > 0) & (clustered.surprise(clustered.ratio(parts)) > self.drop)
        return differs

    def carries(self, part: Sums, whole: Sums) -> np.ndarray:
        """Return the lower end of the total excess."""
        return self.interval(part)[0]

    def interval(self, part: Sums) -> Ends:
        """Return the interval of the total excess."""
        low, high = interval(part.excess, part.spread, self.drop)
        if part.lanes is None:
            return low, high
        least, most = clustered.interval(part.lane(EXCESS), part.lane(SLOPE), self.drop)  # of the factor
        return np.minimum(low, least * part.slope), np.maximum(high, most * part.slope)


def surprise_of(part: Sums) -> np.ndarray:
    """Return -log of the bound on the chance of so much excess."""
    alone = surprise(part.excess, part.spread)
    return alone if part.lanes is None else np.minimum(alone, clustered.surprise(clustered.ratio(part.lane(EXCESS))))


@dataclass(frozen=True)
class Hard:
    """Is the loss much higher than elsewhere, as the probabilities expect? By Welch's test at the excess's chance."""

    excess: Excess

    def holds(self, part: Sums, whole: Sums) -> np.ndarray:
        """Return whether it is harder than the rest, and no more so than expected."""
        return np.asarray(self.differs(part, whole) & ~self.excess.holds(part, whole))

    def differs(self, part: Sums, parent: Sums) -> np.ndarray:
        """Return whether both the loss and its expectation are significantly higher, and by half."""
        rest = parent - part
        enough = np.minimum(part.effective_count, rest.effective_count) >= SMALLEST
        large = (part.mean >= HARDER * rest.mean) & (part.expected >= HARDER * rest.expected)
        return np.asarray(enough & large & (self.interval(part, parent)[0] > 0))

    def carries(self, part: Sums, whole: Sums) -> np.ndarray:
        """Return the loss above that of as many items of the rest."""
        return np.asarray((part.mean - (whole - part).mean) * part.weight)

    def interval(self, part: Sums, parent: Sums) -> Ends:
        """Return the interval of the mean loss less that of the parent's rest."""
        low, high = _welch(part, parent - part, self.excess.drop)
        if part.lanes is None:
            return low, high
        least, most = clustered.interval(*_contrast(part, parent, LOSS, WEIGHT), self.excess.drop)
        return np.minimum(low, least), np.maximum(high, most)


def _contrast(part: Sums, parent: Sums, what: int, size: int) -> Ends:
    """Return by cluster what adds up to the difference of two rates, of the slice and of the parent's rest, and sizes.

    Around the parent's rate, as it is where there is no difference; with the difference d times the sizes taken off, it
    is around two rates that differ by d.
    """
    inside, outside = part.lane(size), parent.lane(size) - part.lane(size)
    here, there = (sizes.sum(-1)[..., None] for sizes in (inside, outside))
    total, both = parent.lane(what), here + there
    rate = total.sum(-1)[..., None] / both
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = (part.lane(what) - rate * inside) / here - (total - part.lane(what) - rate * outside) / there
        sizes = (inside * there / here + outside * here / there) / both
    return parts, sizes


def _welch(part: Sums, rest: Sums, drop: float) -> Ends:
    """Return Welch's interval of the difference of two means; the chance beyond each end is exp(-drop)."""
    from scipy.special import stdtrit

    here, there = part.error_squared, rest.error_squared
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (here + there) ** 2 / (here**2 / (part.effective_count - 1) + there**2 / (rest.effective_count - 1))
        half = -stdtrit(freedom, np.exp(-drop)) * np.sqrt(here + there)
    difference = part.mean - rest.mean
    return difference - half, difference + half
