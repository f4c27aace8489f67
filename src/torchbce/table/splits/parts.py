"""Assign each row of a table to a part, row by row, so that nothing is held in memory.

By the hash of the seed and the row's number, or of its group's text, or, with times, by two cutoffs: the latest rows
are the test's, the latest of the others are those to choose an epoch by. With both, see `straddling`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.common.splitmix import hashed, key_of
from torchbce.table.splits.holdout import Holdout

TRAIN, VALID, TEST = 0, 1, 2
DROPPED = 3  # in none of them
NAMES = ("train", "valid", "test")
TEST_SHARE, VALID_SHARE = 0.2, 0.1
# Rows enough: more of them would make an estimate no more exact than what it is compared with.
TEST_ROWS, VALID_ROWS = 1_000_000, 500_000
OF_PARTS, OF_SAMPLE, OF_TIMES = 1, 2, 3  # purposes of a hash key
ALL = 1 << 64


@dataclass(frozen=True)
class SplitFractions:
    """The fraction of all rows to test on, and of the others those to choose an epoch by."""

    test: float
    valid: float

    @classmethod
    def of(cls, holdout: Holdout, rows: int) -> SplitFractions:
        """Return the user's fractions, or those that suit the number of rows, which may be an estimate."""
        if holdout.file is not None:
            test = 0.0
        else:
            test = min(TEST_SHARE, TEST_ROWS / max(rows, 1)) if holdout.share is None else holdout.share
        rest = max(rows * (1 - test), 1)
        return cls(test, min(VALID_SHARE, VALID_ROWS / rest))


@dataclass(frozen=True)
class TimeCutoffs:
    """Times from which on rows are the test's (infinite: none), and those to choose an epoch by."""

    test: float
    valid: float

    def parts(self, times: np.ndarray) -> np.ndarray:
        """Return the part of each row; rows of one time are together."""
        return (times >= self.valid).astype(np.uint8) + (times >= self.test)

    @classmethod
    def of(cls, times: np.ndarray, fractions: SplitFractions) -> TimeCutoffs:
        """Return the cutoffs by a sample of the times, each of which is one of these.

        With n times in the sample, the share before a cutoff is wrong by more than e with a probability of at most
        2 exp(-2 n e^2) (Dvoretzky, Kiefer and Wolfowitz 1956, with Massart's constant, 1990): by 0.6 % of the rows
        once in a million tables with 200,000.
        """
        ordered = np.sort(times)
        test = cutoff(ordered, 1 - fractions.test)
        rest = ordered[ordered < test]
        return cls(test, cutoff(rest, 1 - fractions.valid) if len(rest) else test)


def cutoff(ordered: np.ndarray, share: float) -> float:
    """Return the time before which that share of the rows is; infinite for all of them."""
    return float("inf") if share >= 1 else float(ordered[min(round(share * len(ordered)), len(ordered) - 1)])


def hash_split(keys: np.ndarray, fractions: SplitFractions, seed: int) -> np.ndarray:
    """Return the part of each row; rows with one key are together."""
    chance = hashed(keys, key_of(seed, OF_PARTS))
    test = round(fractions.test * ALL)
    valid = test + round(fractions.valid * (ALL - test))
    parts = np.zeros(len(keys), np.uint8)
    for border, part in ((valid, VALID), (test, TEST)):
        parts[chance <= np.uint64(border - 1) if border else np.zeros(len(keys), bool)] = part
    return parts
