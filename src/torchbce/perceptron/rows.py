"""Encoded rows, as compiled code reads them: every bin and code is checked to lie within the tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchbce.jit.dense import require_dense

ROW_BLOCK = 64  # rows compared together: a processor compares many numbers at a time


class Limits(NamedTuple):
    """Numbers of bins of each binned column, of numeric columns, and of levels of each categorical column."""

    bins: tuple[int, ...] = ()
    numeric: int = 0
    levels: tuple[int, ...] = ()

    def contain(self, others: Limits) -> bool:
        """Return whether rows within the other limits are within these."""
        return (
            (len(others.bins), others.numeric, len(others.levels)) == (len(self.bins), self.numeric, len(self.levels))
            and all(few <= many for few, many in zip(others.bins, self.bins, strict=True))
            and all(few <= many for few, many in zip(others.levels, self.levels, strict=True))
        )


class OutOfRange(ValueError):
    """A bin or a code beyond its table, with its row and column from 0, and the size of the table."""

    def __init__(self, part: str, row: int, column: int, value: int, count: int) -> None:
        super().__init__(f"{part}[{row}, {column}] is {value}; there are {count}, from 0")
        self.part, self.row, self.column, self.value, self.count = part, row, column, value, count


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows: bins (N, C) uint16, fractions (N, C), numbers (N, P), codes (N, Q) int32, target (N,), weight (N,).

    Raises:
        OutOfRange: a bin or a code beyond the limits.
        ValueError: another shape, other elements or other strides.
    """

    bins: Tensor
    fractions: Tensor
    numbers: Tensor
    codes: Tensor
    target: Tensor
    limits: Limits
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        # `encode` and its gradient rely on it: a bin is an index into `table`, a code is one into `embeddings`.
        count, (bins, numeric, levels) = len(self.target), self.limits
        float32 = torch.float32
        require_dense("bins", self.bins, torch.uint16, (count, len(bins)))
        require_dense("fractions", self.fractions, float32, (count, len(bins)))
        require_dense("numbers", self.numbers, float32, (count, numeric))
        require_dense("codes", self.codes, torch.int32, (count, len(levels)))
        require_dense("target", self.target, float32, (count,))
        if self.weight is not None:
            require_dense("weight", self.weight, float32, (count,))
        _require_below("bins", self.bins.numpy(), bins)
        _require_below("codes", self.codes.numpy(), levels)

    def __len__(self) -> int:
        return len(self.target)


def rows_of_numbers(numbers: Tensor, target: Tensor) -> Rows:
    """Make rows of numeric columns alone."""
    count = len(target)
    codes = torch.zeros(count, 0, dtype=torch.int32)
    bins = torch.zeros(count, 0, dtype=torch.uint16)
    return Rows(bins, torch.zeros(count, 0), numbers, codes, target, limits=Limits(numeric=numbers.shape[1]))


def no_rows(limits: Limits) -> Rows:
    """Make no rows, for a network of these limits."""
    bins, codes = torch.zeros(0, len(limits.bins)), torch.zeros(0, len(limits.levels), dtype=torch.int32)
    return Rows(bins.to(torch.uint16), bins, torch.zeros(0, limits.numeric), codes, torch.zeros(0), limits=limits)


def _require_below(part: str, values: np.ndarray, counts: tuple[int, ...]) -> None:
    if not values.size:
        return
    unsigned = values.view(f"u{values.itemsize}")  # a number below 0 becomes larger than any count
    if (largest_of_columns(unsigned) < np.array(counts)).all():
        return
    row, column = np.argwhere(unsigned >= np.array(counts))[0].tolist()
    raise OutOfRange(part, row, column, int(values[row, column]), counts[column])


def largest_of_columns(values: np.ndarray) -> np.ndarray:
    """Return the maximum of each column of a table (N > 0, C)."""
    rows, columns = values.shape
    whole = rows // ROW_BLOCK * ROW_BLOCK
    parts = [values[whole:]]
    if whole:
        parts.append(values[:whole].reshape(-1, ROW_BLOCK * columns).max(0).reshape(ROW_BLOCK, columns))
    largest: np.ndarray = np.concatenate(parts).max(0)
    return largest
