"""Which rows are learnt from and which are kept aside, so that nothing leaks between them.

At random with the same share of ones in each part; rows of one group always together; with times, the later rows
are kept aside, as they are when a model is used. Depends on the examples and the seed alone.
"""

from __future__ import annotations

import itertools

import numpy as np

from torchbce.common.errors import InputError
from torchbce.training.ensemble.data import Split
from torchbce.training.examples import Examples


def folds(examples: Examples, count: int, seed: int) -> list[Split]:
    """So many splits; each row is kept aside once. With times, each part is predicted from those before it."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = np.arange(len(examples))
    if examples.times is not None:
        order = np.argsort(examples.times, kind="stable")
        borders = [_border(examples.times[order], k / (count + 1)) for k in range(1, count + 2)]
        found = [(order[:start], order[start:stop]) for start, stop in itertools.pairwise(borders)]
        return _usable(examples, [(a, b) for a, b in found if len(a) and len(b)])
    rarest = int(np.bincount(examples.answers, minlength=2).min())
    if examples.groups is None:
        splitter = StratifiedKFold(max(2, min(count, rarest)), shuffle=True, random_state=seed)
        return _usable(examples, list(splitter.split(rows, examples.answers)))
    groups = len(np.unique(examples.groups))
    if groups < 2:
        raise InputError(f"{examples.name}: all rows are of one group; at least 2 are needed to keep one aside")
    by_group = StratifiedGroupKFold(max(2, min(count, groups, rarest)), shuffle=True, random_state=seed)
    return _usable(examples, list(by_group.split(rows, examples.answers, examples.groups)))


def last_or_random(examples: Examples, share: float, seed: int) -> Split:
    """About that share of the rows is kept aside: the latest, if there are times."""
    if examples.times is not None:
        order = np.argsort(examples.times, kind="stable")
        border = _border(examples.times[order], 1 - share)
        return _usable(examples, [(np.sort(order[:border]), np.sort(order[border:]))])[0]
    return folds(examples, max(2, round(1 / share)), seed)[0]


def member_splits(examples: Examples, count: int, members: int, seed: int) -> list[Split]:
    """One for each member of an ensemble: the rows it learns from and those it is judged by."""
    if examples.times is not None:
        return [last_or_random(examples, 1 / count, seed)] * members
    rows = np.arange(len(examples))
    if np.bincount(examples.answers, minlength=2).min() < 2:  # there are none to keep aside
        return [(rows, rows)] * members
    found = folds(examples, count, seed)
    return [found[i % len(found)] for i in range(members)]


def _border(times: np.ndarray, share: float) -> int:
    """Where a share of the ordered rows ends; rows of one time stay together."""
    if share >= 1:
        return len(times)
    return int(np.searchsorted(times, times[round(share * len(times))], side="left"))


def _usable(examples: Examples, found: list[Split]) -> list[Split]:
    for train, aside in found:
        ones = int(examples.answers[train].sum())
        if not len(aside) or not 0 < ones < len(train):
            raise InputError(
                f"{examples.name}: with these groups or times, the {len(train)} rows to learn from hold {ones} of the "
                f"positive class and {len(aside)} rows are kept aside; both classes and some rows aside are needed"
            )
    if not found:
        raise InputError(f"{examples.name}: all rows have one time; rows cannot be ordered by it")
    return found
