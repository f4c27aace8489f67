"""Encoded rows, as compiled code reads them: none can be made that lead it out of the tables it looks them up in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TOGETHER = 64  # rows that are compared as one: a processor compares many numbers at a time


class Limits(NamedTuple):
    """How many pieces each cut number has, how many plain numbers a row has, how many codes each coded column has."""

    pieces: tuple[int, ...] = ()
    plain: int = 0
    levels: tuple[int, ...] = ()

    def hold(self, others: Limits) -> bool:
        """Whether rows within the other limits are within these."""
        return (
            (len(others.pieces), others.plain, len(others.levels)) == (len(self.pieces), self.plain, len(self.levels))
            and all(few <= many for few, many in zip(others.pieces, self.pieces, strict=True))
            and all(few <= many for few, many in zip(others.levels, self.levels, strict=True))
        )


class OutOfRange(ValueError):
    """A bin or a code that leads nowhere: where it stands, counted from 0, and how many there are."""

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
        # What `encode` and its way back rely on: a bin is a place in `table`, a code is one in `embeddings`.
        count, (pieces, plain, levels) = len(self.target), self.limits
        float32 = torch.float32
        require_dense("bins", self.bins, torch.uint16, (count, len(pieces)))
        require_dense("fractions", self.fractions, float32, (count, len(pieces)))
        require_dense("numbers", self.numbers, float32, (count, plain))
        require_dense("codes", self.codes, torch.int32, (count, len(levels)))
        require_dense("target", self.target, float32, (count,))
        if self.weight is not None:
            require_dense("weight", self.weight, float32, (count,))
        _require_below("bins", self.bins.numpy(), pieces)
        _require_below("codes", self.codes.numpy(), levels)

    def __len__(self) -> int:
        return len(self.target)


def rows_of_numbers(numbers: Tensor, target: Tensor) -> Rows:
    """Rows of plain numbers alone."""
    count = len(target)
    codes = torch.zeros(count, 0, dtype=torch.int32)
    bins = torch.zeros(count, 0, dtype=torch.uint16)
    return Rows(bins, torch.zeros(count, 0), numbers, codes, target, limits=Limits(plain=numbers.shape[1]))


def no_rows(limits: Limits) -> Rows:
    """None, for a network of these limits."""
    bins, codes = torch.zeros(0, len(limits.pieces)), torch.zeros(0, len(limits.levels), dtype=torch.int32)
    return Rows(bins.to(torch.uint16), bins, torch.zeros(0, limits.plain), codes, torch.zeros(0), limits=limits)


def require_dense(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Raise unless memory is what compiled code takes it for."""
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous() or not tensor.is_cpu:
        raise ValueError(
            f"{name} is {tensor.dtype} {tuple(tensor.shape)}, strides {tensor.stride()}, on {tensor.device}; expected "
            f"{dtype} {shape}, row after row on the CPU"
        )


def _require_below(part: str, values: np.ndarray, counts: tuple[int, ...]) -> None:
    if not values.size:
        return
    unsigned = values.view(f"u{values.itemsize}")  # what is below 0 becomes larger than any count
    if (largest_of_columns(unsigned) < np.array(counts)).all():
        return
    row, column = np.argwhere(unsigned >= np.array(counts))[0].tolist()
    raise OutOfRange(part, row, column, int(values[row, column]), counts[column])


def largest_of_columns(values: np.ndarray) -> np.ndarray:
    """The maximum of each column of a table (N > 0, C)."""
    rows, columns = values.shape
    whole = rows // TOGETHER * TOGETHER
    parts = [values[whole:]]
    if whole:
        parts.append(values[:whole].reshape(-1, TOGETHER * columns).max(0).reshape(TOGETHER, columns))
    found: np.ndarray = np.concatenate(parts).max(0)
    return found
