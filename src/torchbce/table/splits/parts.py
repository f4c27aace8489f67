"""Which part of a table a row belongs to, decided row by row: nothing is kept in memory.

By the hash of the seed and the row's number, or of its group's text, or, with times, by two borders: the latest rows
are the test's, the latest of the others are those to choose an epoch by. With both, a group that has rows on both sides
of a border belongs to one part, and its rows beyond are in none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.common.splitmix import hashed, key_of
from torchbce.table.splits.held import Held
from torchbce.table.splits.straddling import kept_aside, one_in

TRAIN, VALID, TEST = 0, 1, 2
DROPPED = 3  # in none of them
NAMES = ("train", "valid", "test")
TEST_SHARE, VALID_SHARE = 0.2, 0.1
# Rows enough: more of them would make an estimate no more exact than what it is compared with.
TEST_ROWS, VALID_ROWS = 1_000_000, 500_000
OF_PARTS, OF_SAMPLE, OF_TIMES = 1, 2, 3  # what a key is for
ALL = 1 << 64


@dataclass(frozen=True)
class Shares:
    """Of all rows, those to test on; of the others, those to choose an epoch by."""

    test: float
    valid: float

    @classmethod
    def of(cls, held: Held, rows: int) -> Shares:
        """As a user wants it, or by the number of rows, which may be an estimate."""
        if held.file is not None:
            test = 0.0
        else:
            test = min(TEST_SHARE, TEST_ROWS / max(rows, 1)) if held.share is None else held.share
        rest = max(rows * (1 - test), 1)
        return cls(test, min(VALID_SHARE, VALID_ROWS / rest))


@dataclass(frozen=True)
class Borders:
    """Times from which on rows are the test's (infinite: none), and those to choose an epoch by."""

    test: float
    valid: float

    def parts(self, times: np.ndarray) -> np.ndarray:
        """The part of each row; rows of one time are together."""
        return (times >= self.valid).astype(np.uint8) + (times >= self.test)

    @classmethod
    def of(cls, times: np.ndarray, shares: Shares) -> Borders:
        """From a sample of the times: each border is a time of the sample.

        With n times in the sample, the share before a border is wrong by more than e with a probability of at most
        2 exp(-2 n e^2) (Dvoretzky, Kiefer and Wolfowitz 1956, with Massart's constant, 1990): by 0.6 % of the rows
        once in a million tables with 200,000.
        """
        ordered = np.sort(times)
        test = _border(ordered, shares.test) if shares.test else float("inf")
        rest = ordered[ordered < test]
        return cls(test, _border(rest, shares.valid) if len(rest) else test)


def _border(ordered: np.ndarray, share: float) -> float:
    return float(ordered[min(round((1 - share) * len(ordered)), len(ordered) - 1)])


def by_chance(keys: np.ndarray, shares: Shares, seed: int) -> np.ndarray:
    """The part of each row; rows with one key are together."""
    chance = hashed(keys, key_of(seed, OF_PARTS))
    test = round(shares.test * ALL)
    valid = test + round(shares.valid * (ALL - test))
    parts = np.zeros(len(keys), np.uint8)
    for border, part in ((valid, VALID), (test, TEST)):
        parts[chance <= np.uint64(border - 1) if border else np.zeros(len(keys), bool)] = part
    return parts


def of_straddling(groups: np.ndarray, first: np.ndarray, last: np.ndarray, shares: Shares, seed: int) -> np.ndarray:
    """The part of each group, by its number and the parts of its earliest and latest rows: one of these or between."""
    found = np.full(len(groups), TRAIN, np.uint8)
    for part, share in ((TEST, shares.test), (VALID, shares.valid)):
        reaches = (last >= part) & (found == TRAIN)
        both = groups[reaches & (first < part)]
        found[reaches & ((first >= part) | np.isin(groups, kept_aside(both, one_in(share), seed)))] = part
    return found
