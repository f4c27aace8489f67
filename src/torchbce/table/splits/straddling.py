"""Groups with rows on both sides of a border in time: each counts on one side, and its other rows are left out.

Which side is drawn, as it is for groups without times. To drop all of them from one side would leave nothing to learn
from, or nothing to test on, where every group has early and late rows, as most patients and customers have.
"""

from __future__ import annotations

import numpy as np

from torchbce.common.splitmix import hashed, key_of

SHARE = 0.2  # of the groups on both sides, those that are kept aside, at least
OF_GROUPS = 4  # what a key is for


def one_in(share: float) -> int:
    """One in how many of them is kept aside, where that share of the rows is."""
    return max(2, round(1 / max(share, SHARE)))


def kept_aside(groups: np.ndarray, turns: int, seed: int, turn: int = 0) -> np.ndarray:
    """Of the numbers of groups one in so many, at least one; others in each turn."""
    ordered = groups[np.argsort(hashed(groups, key_of(seed, OF_GROUPS)), kind="stable")]
    return ordered[turn % max(len(ordered), 1) :: turns]


def left_out(count: int) -> list[str]:
    """What is said of so many rows."""
    return [
        f"{count:,} rows are left out: their groups are on both sides of a border in time, and each counts on one side"
    ] * (count > 0)


def left_out_of_folds(count: int) -> list[str]:
    """What is said of so many rows that are in no fold."""
    return [
        f"{count:,} rows are not predicted: their groups are on both sides of a border in time, and each counts on one "
        "side; no model learns from a group that it predicts"
    ] * (count > 0)


def left_out_of_test(count: int, name: str) -> list[str]:
    """What is said of so many rows of another table."""
    return [
        f"{count:,} rows of {name} are left out: they are no later than the rows to learn from (--time), or of a group "
        "that these have (--group)"
    ] * (count > 0)


def none_apart(others: str, examples: str) -> str:
    """What is said of another table that has no row to test on."""
    return (
        f"{others}: no row is left to test on: with --time only those count that are later than all of {examples}, "
        "with --group only those of groups that it does not have; name another table (--test), or leave the option out"
    )
