"""Split rows in memory into those to learn from and those kept aside, so that nothing leaks between them.

Stratified folds: at random with the same share of ones in each part; rows of one group always together. With times,
the later rows are kept aside, as they are when a model is used; with both, no group is on both sides of a cutoff (see
`straddling`). All of it depends on the rows and the seed alone. Rows in blocks go by `parts.hash_split` instead, since
a fold with the same share of ones has to see all rows first.
"""

from __future__ import annotations

import itertools

import numpy as np

from torchbce.common.errors import InputError
from torchbce.table.columns.dataset import Dataset
from torchbce.table.splits.holdout import Split
from torchbce.table.splits.parts import cutoff
from torchbce.table.splits.straddling import groups_apart, none_apart, one_in


def folds(dataset: Dataset, count: int, seed: int) -> list[Split]:
    """Return `count` splits; each row is kept aside once. With times, each part is predicted from those before it."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = np.arange(len(dataset))
    if dataset.times is not None:
        apart = (_apart(dataset, split, count, seed, turn) for turn, split in enumerate(by_time(dataset, count)))
        return _usable(dataset, [(a, b) for a, b in apart if len(a) and len(b)])
    rarest = int(np.bincount(dataset.y, minlength=2).min())
    if dataset.groups is None:
        splitter = StratifiedKFold(max(2, min(count, rarest)), shuffle=True, random_state=seed)
        return _usable(dataset, list(splitter.split(rows, dataset.y)))
    groups = len(np.unique(dataset.groups))
    if groups < 2:
        raise InputError(f"{dataset.name}: all rows are of one group; at least 2 are needed to keep one aside")
    by_group = StratifiedGroupKFold(max(2, min(count, groups, rarest)), shuffle=True, random_state=seed)
    return _usable(dataset, list(by_group.split(rows, dataset.y, dataset.groups)))


def by_time(dataset: Dataset, count: int) -> list[Split]:
    """Return `count` parts of the rows in the order of their times, after a first part, each with all rows before."""
    assert dataset.times is not None
    order = np.argsort(dataset.times, kind="stable")
    ends = [_count_before(dataset.times[order], k / (count + 1)) for k in range(1, count + 2)]
    return [(order[:start], order[start:stop]) for start, stop in itertools.pairwise(ends)]


def last_or_random(dataset: Dataset, share: float, seed: int, turn: int = 0) -> Split:
    """Keep about that share of the rows aside: the latest, if there are times, with other groups in each turn."""
    if dataset.times is not None:
        order = np.argsort(dataset.times, kind="stable")
        end = _count_before(dataset.times[order], 1 - share)
        split = np.sort(order[:end]), np.sort(order[end:])
        return _usable(dataset, [_apart(dataset, split, one_in(share), seed, turn)])[0]
    return folds(dataset, max(2, round(1 / share)), seed)[0]


def member_splits(dataset: Dataset, count: int, members: int, seed: int) -> list[Split]:
    """Return a split for each member of an ensemble: the rows it learns from and those it is judged by."""
    if dataset.times is not None:
        return [last_or_random(dataset, 1 / count, seed, turn) for turn in range(members)]
    rows = np.arange(len(dataset))
    if np.bincount(dataset.y, minlength=2).min() < 2:  # there are none to keep aside
        return [(rows, rows)] * members
    splits = folds(dataset, count, seed)
    return [splits[i % len(splits)] for i in range(members)]


def later_and_apart(dataset: Dataset, others: Dataset) -> np.ndarray:
    """Return the rows of another table that are later than all of the dataset, with times, and of none of its groups.

    Raises:
        InputError: there is none.
    """
    usable = np.ones(len(others), bool)
    if dataset.times is not None and others.times is not None:
        usable &= others.times > dataset.times.max()
    if dataset.groups is not None and others.groups is not None:
        usable &= ~np.isin(others.groups, dataset.groups)
    if not usable.any():
        raise InputError(none_apart(str(others.name), str(dataset.name)))
    return np.flatnonzero(usable)


def _apart(dataset: Dataset, split: Split, turns: int, seed: int, turn: int = 0) -> Split:
    return split if dataset.groups is None else groups_apart(dataset.groups, split, turns, seed, turn)


def _count_before(ordered: np.ndarray, share: float) -> int:
    """Return how many rows are before the cutoff of a share; rows of one time stay together."""
    return int(np.searchsorted(ordered, cutoff(ordered, share), side="left"))


def _usable(dataset: Dataset, splits: list[Split]) -> list[Split]:
    """Return the splits, or raise where one of them cannot be learnt from or judged by."""
    counts = np.ones(len(dataset), bool) if dataset.weight is None else dataset.weight > 0
    for train, aside in splits:
        rows, others = int(counts[train].sum()), int(counts[aside].sum())
        ones = int(dataset.y[train][counts[train]].sum())
        if not others or not 0 < ones < rows:
            raise InputError(
                f"{dataset.name}: with these groups, times or weights, the {rows} rows to learn from hold {ones} of "
                f"the positive class and {others} rows are kept aside; both classes and some rows aside are needed"
            )
    if not splits and dataset.groups is not None:
        raise InputError(
            f"{dataset.name}: no border in time has rows of different groups before it and after it; leave --time or "
            "--group out"
        )
    if not splits:
        raise InputError(f"{dataset.name}: all rows have one time; rows cannot be ordered by it")
    return splits
