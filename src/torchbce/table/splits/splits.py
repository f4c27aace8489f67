"""Which rows are learnt from and which are kept aside, so that nothing leaks between them.

At random with the same share of ones in each part; rows of one group always together; with times, the later rows
are kept aside, as they are when a model is used; with both, no group is on both sides of a border in time (see
`straddling`). Depends on the examples and the seed alone.
"""

from __future__ import annotations

import itertools

import numpy as np

from torchbce.common.errors import InputError
from torchbce.table.columns.examples import Examples
from torchbce.table.splits.held import Split
from torchbce.table.splits.straddling import kept_aside, none_apart, one_in


def folds(examples: Examples, count: int, seed: int) -> list[Split]:
    """So many splits; each row is kept aside once. With times, each part is predicted from those before it."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = np.arange(len(examples))
    if examples.times is not None:
        apart = (_apart(examples, split, count, seed, turn) for turn, split in enumerate(by_time(examples, count)))
        return _usable(examples, [(a, b) for a, b in apart if len(a) and len(b)])
    rarest = int(np.bincount(examples.answers, minlength=2).min())
    if examples.groups is None:
        splitter = StratifiedKFold(max(2, min(count, rarest)), shuffle=True, random_state=seed)
        return _usable(examples, list(splitter.split(rows, examples.answers)))
    groups = len(np.unique(examples.groups))
    if groups < 2:
        raise InputError(f"{examples.name}: all rows are of one group; at least 2 are needed to keep one aside")
    by_group = StratifiedGroupKFold(max(2, min(count, groups, rarest)), shuffle=True, random_state=seed)
    return _usable(examples, list(by_group.split(rows, examples.answers, examples.groups)))


def by_time(examples: Examples, count: int) -> list[Split]:
    """So many parts of the rows in the order of their times, after a first one, each with all rows before it."""
    assert examples.times is not None
    order = np.argsort(examples.times, kind="stable")
    borders = [_border(examples.times[order], k / (count + 1)) for k in range(1, count + 2)]
    return [(order[:start], order[start:stop]) for start, stop in itertools.pairwise(borders)]


def last_or_random(examples: Examples, share: float, seed: int, turn: int = 0) -> Split:
    """About that share of the rows is kept aside: the latest, if there are times, with other groups in each turn."""
    if examples.times is not None:
        order = np.argsort(examples.times, kind="stable")
        border = _border(examples.times[order], 1 - share)
        split = np.sort(order[:border]), np.sort(order[border:])
        return _usable(examples, [_apart(examples, split, one_in(share), seed, turn)])[0]
    return folds(examples, max(2, round(1 / share)), seed)[0]


def member_splits(examples: Examples, count: int, members: int, seed: int) -> list[Split]:
    """One for each member of an ensemble: the rows it learns from and those it is judged by."""
    if examples.times is not None:
        return [last_or_random(examples, 1 / count, seed, turn) for turn in range(members)]
    rows = np.arange(len(examples))
    if np.bincount(examples.answers, minlength=2).min() < 2:  # there are none to keep aside
        return [(rows, rows)] * members
    found = folds(examples, count, seed)
    return [found[i % len(found)] for i in range(members)]


def later_and_apart(examples: Examples, others: Examples) -> np.ndarray:
    """The rows of another table that are later than all examples, with times, and of none of their groups.

    Raises:
        InputError: there is none.
    """
    kept = np.ones(len(others), bool)
    if examples.times is not None and others.times is not None:
        kept &= others.times > examples.times.max()
    if examples.groups is not None and others.groups is not None:
        kept &= ~np.isin(others.groups, examples.groups)
    if not kept.any():
        raise InputError(none_apart(others.name, examples.name))
    return np.flatnonzero(kept)


def _apart(examples: Examples, split: Split, turns: int, seed: int, turn: int = 0) -> Split:
    """The split without a group on both sides: one in so many of those that were is kept aside, others in each turn."""
    if examples.groups is None:
        return split
    train, aside = (examples.groups[rows] for rows in split)
    both = np.intersect1d(train, aside)
    judged_by = kept_aside(both, turns, seed, turn)
    learnt_from = np.setdiff1d(both, judged_by)
    return split[0][~np.isin(train, judged_by)], split[1][~np.isin(aside, learnt_from)]


def _border(times: np.ndarray, share: float) -> int:
    """Where a share of the ordered rows ends; rows of one time stay together."""
    if share >= 1:
        return len(times)
    return int(np.searchsorted(times, times[round(share * len(times))], side="left"))


def _usable(examples: Examples, found: list[Split]) -> list[Split]:
    counts = np.ones(len(examples), bool) if examples.weight is None else examples.weight > 0
    for train, aside in found:
        rows, others = int(counts[train].sum()), int(counts[aside].sum())
        ones = int(examples.answers[train][counts[train]].sum())
        if not others or not 0 < ones < rows:
            raise InputError(
                f"{examples.name}: with these groups, times or weights, the {rows} rows to learn from hold {ones} of "
                f"the positive class and {others} rows are kept aside; both classes and some rows aside are needed"
            )
    if not found and examples.groups is not None:
        raise InputError(
            f"{examples.name}: no border in time has rows of different groups before it and after it; leave --time or "
            "--group out"
        )
    if not found:
        raise InputError(f"{examples.name}: all rows have one time; rows cannot be ordered by it")
    return found
