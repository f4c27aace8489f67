"""Which slices stand out beyond chance over all slices, and not only because of a slice that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from torchbce.explanation.slices.evidence import interval, split_gain, surprise
from torchbce.explanation.slices.result import Slice, Slices
from torchbce.explanation.slices.table import SliceTable, Sums

SMALLEST = 50  # items in a slice, and outside it
FEWEST = 4  # items that could make the excess alone: one that was called impossible is no slice
HARDER = 1.5  # times the mean loss of the rest: a longer list of slices that cost a little more tells nothing
NONE = -1  # the place of the second bin of a slice on one column

Places = tuple[int, ...]  # of one bin or two, among the bins of all columns


@dataclass(frozen=True)
class Candidates:
    """Slices, each by the places of its two bins, shape (slices, 2), and with its sums."""

    places: np.ndarray
    sums: Sums

    def __getitem__(self, which: np.ndarray) -> Candidates:
        return Candidates(self.places[which], self.sums[which])

    @property
    def on_two(self) -> bool:
        """Whether these are slices on two columns."""
        return bool((self.places[:, 1] != NONE).any())


def _joined(parts: Sequence[Candidates]) -> Candidates:
    """Several lots as one."""
    places, rows = (np.concatenate(arrays) for arrays in zip(*((p.places, p.sums.rows) for p in parts), strict=True))
    return Candidates(places, Sums(rows))


class Question(Protocol):
    """What is asked of a slice; of many at a time."""

    def holds(self, part: Sums, whole: Sums) -> np.ndarray:
        """Whether the slice stands out by itself."""

    def differs(self, part: Sums, parent: Sums) -> np.ndarray:
        """Whether it stands out from the rest of a slice that holds it."""

    def carries(self, part: Sums, whole: Sums) -> np.ndarray:
        """What it carries in total, in nats, by which slices are ranked."""


@dataclass(frozen=True)
class Excess:
    """Is there more loss than the probabilities expect? `drop` is -log of the chance that a slice may take."""

    drop: float

    def holds(self, part: Sums, whole: Sums) -> np.ndarray:
        """By the bound on the chance of so much excess, which must not be the work of a few items."""
        some = (part.count >= SMALLEST) & (part.excess > 0) & (part.excess**2 >= FEWEST * part.excess_squared)
        return np.asarray(some & (surprise(part.excess, part.spread) > self.drop))

    def differs(self, part: Sums, parent: Sums) -> np.ndarray:
        """By the likelihood ratio of two factors of the logits, in the slice and in the parent's rest, to one."""
        more = split_gain(part.excess, part.spread, parent.excess, parent.spread, parent.excess_variance)
        return np.asarray(more > self.drop)

    def carries(self, part: Sums, whole: Sums) -> np.ndarray:
        """The lower end of the total excess."""
        return interval(part.excess, part.spread, self.drop)[0]


@dataclass(frozen=True)
class Hard:
    """Is the loss much higher than elsewhere, as the probabilities expect? By Welch's test at `chance`, two-sided."""

    excess: Excess
    chance: float

    def holds(self, part: Sums, whole: Sums) -> np.ndarray:
        """Harder than the rest, and no more so than expected."""
        return np.asarray(self.differs(part, whole) & ~self.excess.holds(part, whole))

    def differs(self, part: Sums, parent: Sums) -> np.ndarray:
        """Significantly and by half: both the loss and what is expected of it."""
        rest = parent - part
        enough = np.minimum(part.count, rest.count) >= SMALLEST
        large = (part.mean >= HARDER * rest.mean) & (part.expected >= HARDER * rest.expected)
        return np.asarray(enough & large & (_difference(part, rest, self.chance)[0] > 0))

    def carries(self, part: Sums, whole: Sums) -> np.ndarray:
        """The loss above that of as many items of the rest."""
        return np.asarray((part.mean - (whole - part).mean) * part.weight)


def chosen(
    table: SliceTable, *, top: int = 10, level: float = 0.05, left_out: Sequence[tuple[str, str]] = ()
) -> Slices:
    """The slices of a table that stand out, in each list the `top` that carry most.

    A slice is found if its excess is above 0 at `level` after Bonferroni's correction (two-sided), and at least twice
    its root of the sum of squares, as it is not where a few items make it; if it differs as surely from the rest of all
    items and of both slices on one of its two columns; and, on one column, if it is still in excess without the slices
    found inside of it, and without what it shares with any found before. So calibrated predictions give any slice at
    all in at most `level` of tables.
    """
    looked_at = sum(int(_enough(table, sums).sum()) for _, sums in _all(table))
    tests = max(looked_at, 1)
    excess = Excess(math.log(2 * tests / level))
    hard = Hard(excess, level / tests)
    found, hardest = (
        tuple(_slice(table, *one, tests, level) for one in _listed(table, question, top)) for question in (excess, hard)
    )
    return Slices(
        found=found,
        hard=hardest,
        whole=_slice(table, (), table.whole, 1, level),
        looked_at=looked_at,
        columns=tuple(column.name for column in table.columns),
        left_out=tuple(left_out),
        level=level,
    )


def _all(table: SliceTable) -> Iterator[tuple[np.ndarray, Sums]]:
    """All slices, by the column of the first bin: the places of their bins, shape (..., 2), and their sums."""
    places = np.arange(len(table.ones.rows))
    yield np.stack([places, np.full_like(places, NONE)], -1), table.ones
    for column in range(len(table.columns) - 1):
        first, after = table.starts[column : column + 2]
        yield np.stack(np.meshgrid(places[first:after], places[after:], indexing="ij"), -1), table.pairs(column)


def _enough(table: SliceTable, sums: Sums) -> np.ndarray:
    return np.asarray((sums.count >= SMALLEST) & (table.whole.count - sums.count >= SMALLEST))


def _listed(table: SliceTable, question: Question, top: int) -> list[tuple[Places, Sums]]:
    """The slices to which the answer is yes, without those that others explain; what carries most first."""
    whole, kept = table.whole, []
    for places, sums in _all(table):
        enough = _enough(table, sums)
        part = Candidates(places[enough], sums[enough])
        part = part[question.holds(part.sums, whole)]
        part = part[question.differs(part.sums, whole)]
        for side in (0, 1) if part.on_two else ():
            part = part[question.differs(part.sums, table.ones[part.places[:, side]])]
        kept.append(part)
    ones, *pairs = kept
    found = _joined([ones[_more_than(table, question, ones, _joined(pairs))], *pairs] if pairs else [ones])
    listed: list[tuple[Places, Sums]] = []
    for i in np.argsort(-question.carries(found.sums, whole), kind="stable"):
        if len(listed) == top:
            break
        here: Places = tuple(int(place) for place in found.places[i] if place != NONE)
        if not any(_shares(table, question, here, found.sums[i], other) for other, _ in listed):
            listed.append((here, found.sums[i]))
    return listed


def _more_than(table: SliceTable, question: Question, ones: Candidates, pairs: Candidates) -> np.ndarray:
    """Which slices on one column still stand out without the slices on two found inside of them.

    These are taken out one other column at a time: then they share no items.
    """
    inside = np.zeros((len(table.ones.rows), len(table.columns), table.whole.rows.size))
    for side in (0, 1):
        others = np.searchsorted(table.starts, pairs.places[:, 1 - side], side="right") - 1
        np.add.at(inside, (pairs.places[:, side], others), pairs.sums.rows)
    rest = Sums(ones.sums.rows[:, None]) - Sums(inside[ones.places[:, 0]])
    return np.asarray(question.holds(rest, table.whole).all(-1))


def _shares(table: SliceTable, question: Question, places: Places, sums: Sums, other: Places) -> bool:
    """Whether a slice on one column stands out only by what it shares with another such slice."""
    if len(places) > 1 or len(other) > 1:
        return False  # what three bins share is not known
    shared = table.pair(*other, *places)
    return shared is not None and not question.holds(sums - shared, table.whole)


def _difference(part: Sums, rest: Sums, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Welch's interval of the difference of two means, which it leaves out with this probability, two-sided."""
    from scipy.special import stdtrit

    here, there = part.error_squared, rest.error_squared
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (here + there) ** 2 / (here**2 / (part.count - 1) + there**2 / (rest.count - 1))
        half = -stdtrit(freedom, chance / 2) * np.sqrt(here + there)
    difference = part.mean - rest.mean
    return difference - half, difference + half


def _slice(table: SliceTable, places: Places, sums: Sums, tests: int, level: float) -> Slice:
    whole = table.whole
    rest, weight = whole - sums, float(sums.weight)
    low, high = interval(sums.excess, sums.spread, math.log(2 * tests / level))
    least, most = _difference(sums, rest, level / tests)
    return Slice(
        conditions=tuple(table.words(place) for place in places),
        count=int(sums.count),
        weight_share=weight / float(whole.weight),
        loss_share=float(sums.loss / whole.loss) if whole.loss else math.nan,
        mean=float(sums.mean),
        expected=float(sums.expected),
        excess=float(sums.excess) / weight,
        excess_interval=(float(low) / weight, float(high) / weight),
        p_value=min(1.0, 2 * tests * math.exp(-float(surprise(sums.excess, sums.spread)))),
        difference=float(sums.mean - rest.mean),
        difference_interval=(float(least), float(most)),
    )
