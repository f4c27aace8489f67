"""Assign groups with rows on both sides of a cutoff in time to one side; their other rows are left out.

The rule stands here once, for a split of rows in memory and for parts that are known of each group alone. Which side
is drawn, as it is for groups without times. To drop all of them from one side would leave nothing to learn from, or
nothing to test on, where every group has early and late rows, as most patients and customers have.
"""

from __future__ import annotations

import numpy as np

from torchbce.common.splitmix import hashed, key_of
from torchbce.table.splits.holdout import Split
from torchbce.table.splits.parts import TEST, TRAIN, VALID, SplitFractions

SHARE = 0.2  # of the groups on both sides, those that are kept aside, at least
OF_GROUPS = 4  # purpose of a hash key


def one_in(share: float) -> int:
    """Return n, where one in n of these groups is kept aside beside that share of the rows."""
    return max(2, round(1 / max(share, SHARE)))


def kept_aside(groups: np.ndarray, turns: int, seed: int, turn: int = 0) -> np.ndarray:
    """Draw one in `turns` of the groups, at least one; others in each turn."""
    ordered = groups[np.argsort(hashed(groups, key_of(seed, OF_GROUPS)), kind="stable")]
    return ordered[turn % max(len(ordered), 1) :: turns]


def groups_apart(groups: np.ndarray, split: Split, turns: int, seed: int, turn: int = 0) -> Split:
    """Return a split of rows with no group on both sides; `groups`: of all rows."""
    train, aside = (groups[rows] for rows in split)
    straddling = np.intersect1d(train, aside)
    judged_by = kept_aside(straddling, turns, seed, turn)
    learnt_from = np.setdiff1d(straddling, judged_by)
    return split[0][~np.isin(train, judged_by)], split[1][~np.isin(aside, learnt_from)]


def group_parts(
    groups: np.ndarray, first: np.ndarray, last: np.ndarray, fractions: SplitFractions, seed: int
) -> np.ndarray:
    """Return the part of each group, by the parts of its earliest and latest rows: one of these or between."""
    parts = np.full(len(groups), TRAIN, np.uint8)
    for part, share in ((TEST, fractions.test), (VALID, fractions.valid)):
        reaches = (last >= part) & (parts == TRAIN)
        straddling = groups[reaches & (first < part)]
        parts[reaches & ((first >= part) | np.isin(groups, kept_aside(straddling, one_in(share), seed)))] = part
    return parts


def left_out(count: int) -> list[str]:
    """Return the message on `count` rows that are left out."""
    return [
        f"{count:,} rows are left out: their groups are on both sides of a border in time, and each counts on one side"
    ] * (count > 0)


def left_out_of_folds(count: int) -> list[str]:
    """Return the message on `count` rows that are in no fold."""
    return [
        f"{count:,} rows are not predicted: their groups are on both sides of a border in time, and each counts on one "
        "side; no model learns from a group that it predicts"
    ] * (count > 0)


def left_out_of_test(count: int, name: str) -> list[str]:
    """Return the message on `count` rows of another table that are left out."""
    return [
        f"{count:,} rows of {name} are left out: they are no later than the rows to learn from (--time), or of a group "
        "that these have (--group)"
    ] * (count > 0)


def none_apart(others: str, examples: str) -> str:
    """Return the message on another table that has no row to test on."""
    return (
        f"{others}: no row is left to test on: with --time only those count that are later than all of {examples}, "
        "with --group only those of groups that it does not have; name another table (--test), or leave the option out"
    )
