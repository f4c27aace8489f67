"""Which slices stand out beyond chance over all slices, and not only because of a slice that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.slices.clustered import least_ratio, ratio
from torchbce.explanation.slices.questions import SMALLEST, Excess, Hard, Question, surprise_of
from torchbce.explanation.slices.result import Slice, Slices
from torchbce.explanation.slices.table import SLOPE, SliceTable, Sums

FEWEST_CLUSTERS = 10  # in a slice, and outside it: fewer say little of what others are like
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
        """Return whether these are slices on two columns."""
        return bool((self.places[:, 1] != NONE).any())


def _joined(parts: Sequence[Candidates]) -> Candidates:
    """Concatenate candidates."""
    lanes = [part.sums.lanes for part in parts if part.sums.lanes is not None]
    sums = Sums(np.concatenate([part.sums.rows for part in parts]), np.concatenate(lanes) if lanes else None)
    return Candidates(np.concatenate([part.places for part in parts]), sums)


def chosen(
    table: SliceTable, *, top: int = 10, level: float = 0.05, left_out: Sequence[tuple[str, str]] = ()
) -> Slices:
    """Choose the slices of a table that stand out, in each list the `top` that carry most.

    A slice is found if its excess is above 0 at `level` after Bonferroni's correction (two-sided), and at least twice
    its root of the sum of squares, as it is not where a few items make it; if it differs as surely from the rest of all
    items and of both slices on one of its two columns; and, on one column, if it is still in excess without the slices
    found inside of it, and without what it shares with any found before. So calibrated predictions give any slice at
    all in at most `level` of tables.
    """
    looked_at, least, needed = _tests(table, level)
    tests = max(looked_at, 1)
    excess = Excess(math.log(2 * tests / level))
    found, hardest = (
        tuple(_slice(table, *one, tests, excess) for one in _listed(table, question, top, least))
        for question in (excess, Hard(excess))
    )
    clusters = table.clusters
    return Slices(
        found=found,
        hard=hardest,
        whole=_slice(table, (), table.whole, 1, Excess(math.log(2 / level))),
        looked_at=looked_at,
        columns=tuple(column.name for column in table.columns),
        left_out=tuple(left_out),
        level=level,
        clusters=None if clusters is None else len(clusters),
        clusters_shared=clusters is not None and clusters.shared,
        least_clusters=None if clusters is None else math.ceil(needed),
    )


def _tests(table: SliceTable, level: float) -> tuple[int, float, float]:
    """Return the number of slices looked at, the fewest clusters in or outside of one, and how many it needs.

    A slice of few clusters cannot have a chance that is small enough for its being one of many, whatever the answers:
    it is left out, and the others need not allow for it (Tarone 1990).
    """
    clusters = [_clusters(table, sums[_items(table, sums)]) for _, sums in _all(table)]
    clusters_of_slices = -np.sort(-np.concatenate(clusters))
    if table.clusters is None:
        return len(clusters_of_slices), 0.0, 0.0
    needed = np.maximum(least_ratio(np.log(2 * np.arange(1, len(clusters_of_slices) + 2) / level)), FEWEST_CLUSTERS)
    looked_at = int((clusters_of_slices > needed[:-1]).sum())
    last = max(looked_at - 1, 0)
    return looked_at, float(clusters_of_slices[last] if looked_at else math.inf), float(needed[last])


def _all(table: SliceTable) -> Iterator[tuple[np.ndarray, Sums]]:
    """Yield all slices, by the column of the first bin: the places of their bins, shape (..., 2), and their sums."""
    places = np.arange(len(table.ones.rows))
    yield np.stack([places, np.full_like(places, NONE)], -1), table.ones
    for column in range(len(table.columns) - 1):
        first, after = table.starts[column : column + 2]
        yield np.stack(np.meshgrid(places[first:after], places[after:], indexing="ij"), -1), table.pairs(column)


def _items(table: SliceTable, sums: Sums) -> np.ndarray:
    """Return whether a slice and its rest have enough items."""
    return np.asarray((sums.count >= SMALLEST) & (table.whole.count - sums.count >= SMALLEST))


def _clusters(table: SliceTable, sums: Sums) -> np.ndarray:
    """Return the effective number of clusters in a slice or outside it, whichever is less: by slope, not by answers."""
    if sums.lanes is None:
        return np.zeros(sums.rows.shape[:-1])
    inside = sums.lane(SLOPE)
    return np.asarray(np.minimum(ratio(inside), ratio(table.whole.lane(SLOPE) - inside)))


def _enough(table: SliceTable, sums: Sums, least: float) -> np.ndarray:
    """Return whether a slice is looked at."""
    return np.asarray(_items(table, sums) & (_clusters(table, sums) >= least))


def _listed(table: SliceTable, question: Question, top: int, least: float) -> list[tuple[Places, Sums]]:
    """List the slices to which the answer is yes, without those that others explain; what carries most first."""
    whole, parts = table.whole, []
    for places, sums in _all(table):
        enough = _enough(table, sums, least)
        part = Candidates(places[enough], sums[enough])
        part = part[question.holds(part.sums, whole)]
        part = part[question.differs(part.sums, whole)]
        for side in (0, 1) if part.on_two else ():
            part = part[question.differs(part.sums, table.ones[part.places[:, side]])]
        parts.append(part)
    ones, *pairs = parts
    candidates = _joined([ones[_more_than(table, question, ones, _joined(pairs))], *pairs] if pairs else [ones])
    listed: list[tuple[Places, Sums]] = []
    for i in np.argsort(-question.carries(candidates.sums, whole), kind="stable"):
        if len(listed) == top:
            break
        here: Places = tuple(int(place) for place in candidates.places[i] if place != NONE)
        if not any(_shares(table, question, here, candidates.sums[i], other) for other, _ in listed):
            listed.append((here, candidates.sums[i]))
    return listed


def _more_than(table: SliceTable, question: Question, ones: Candidates, pairs: Candidates) -> np.ndarray:
    """Return which slices on one column still stand out without the slices on two found inside of them.

    These are taken out one other column at a time: then they share no items.
    """
    stands = np.ones(len(ones.places), bool)
    for column in range(len(table.columns)):
        inside = table.ones - table.ones
        for side in (0, 1):
            others = np.searchsorted(table.starts, pairs.places[:, 1 - side], side="right") - 1
            here = pairs[others == column]
            inside.add_at(here.places[:, side], here.sums)
        stands &= question.holds(ones.sums - inside[ones.places[:, 0]], table.whole)
    return stands


def _shares(table: SliceTable, question: Question, places: Places, sums: Sums, other: Places) -> bool:
    """Return whether a slice on one column stands out only by what it shares with another such slice."""
    if len(places) > 1 or len(other) > 1:
        return False  # what three bins share is not known
    shared = table.pair(*other, *places)
    return shared is not None and not question.holds(sums - shared, table.whole)


def _slice(table: SliceTable, places: Places, sums: Sums, tests: int, excess: Excess) -> Slice:
    whole = table.whole
    rest, weight = whole - sums, float(sums.weight)
    low, high = excess.interval(sums)
    least, most = Hard(excess).interval(sums, whole)
    return Slice(
        conditions=tuple(table.words(place) for place in places),
        count=int(sums.count),
        weight_share=weight / float(whole.weight),
        loss_share=float(sums.loss / whole.loss) if whole.loss else math.nan,
        mean=float(sums.mean),
        expected=float(sums.expected),
        excess=float(sums.excess) / weight,
        excess_interval=(float(low) / weight, float(high) / weight),
        p_value=min(1.0, 2 * tests * math.exp(-float(surprise_of(sums)))),
        difference=float(sums.mean - rest.mean),
        difference_interval=(float(least), float(most)),
        clusters=None if sums.lanes is None else int(sums.clusters),
    )
