"""Check the numbers of a cache against what their columns allow, before they reach the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from torchbce.perceptron.rows import Limits, OutOfRange, Rows
from torchbce.table.columns.columns import FittedColumn, inputs_of, levels_of, number_count
from torchbce.table.network.bins import bin_counts
from torchbce.table.packed.records import Arrays, Layout

FINITE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
LAST_ROW = 2**53


class OutOfBounds(Exception):
    """A cache holds a number that packing does not write; `row` is its position among the rows that were checked."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Bounds:
    """Limits of each column; `cut`, `plain` and `coded` are the columns' names in the order of the arrays."""

    limits: Limits
    cut: tuple[str, ...]
    plain: tuple[str, ...]
    coded: tuple[str, ...]

    @classmethod
    def of(cls, columns: list[FittedColumn], edges: list[np.ndarray]) -> Bounds:
        """Return the bounds of rows encoded by `columns`; `edges`: of every number, or none."""
        numbers = number_count(columns)
        names = [""] * (numbers + len(levels_of(columns)))
        for name, positions in inputs_of(columns).items():
            for position in positions:
                names[position] = name
        pieces = bin_counts(edges, numbers)
        cut = tuple(name for name, count in zip(names[:numbers], pieces, strict=True) if count)
        plain = tuple(name for name, count in zip(names[:numbers], pieces, strict=True) if not count)
        limits = Limits(tuple(count for count in pieces if count), len(plain), tuple(levels_of(columns)))
        return cls(limits, cut, plain, tuple(names[numbers:]))

    def layout(self, *, weighted: bool) -> Layout:
        """Return the layout of the rows in their files."""
        return Layout(cut=len(self.cut), plain=len(self.plain), coded=len(self.coded), weighted=weighted)

    def rows(self, arrays: Arrays) -> Rows:
        """Return the rows in these arrays, without a copy.

        Raises:
            OutOfBounds: a number is out of its column's bounds.
        """
        self._require_between("fraction", arrays["fractions"], 0.0, 1.0, self.cut)
        self._require_between("number", arrays["numbers"], *FINITE, self.plain)
        self._require_between("target", arrays["target"], 0.0, 1.0)
        if not ((arrays["target"] == 0) | (arrays["target"] == 1)).all():
            row = int(((arrays["target"] != 0) & (arrays["target"] != 1)).argmax())
            raise OutOfBounds(f"the target is {arrays['target'][row]}; it is 0 or 1", row)
        if "weight" in arrays:
            self._require_between("weight", arrays["weight"], 0.0, FINITE[1])
        self._require_between("row number", arrays["rows"], 1, LAST_ROW)
        parts = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "rows"}
        try:
            return Rows(**parts, limits=self.limits)
        except OutOfRange as error:
            what, names = ("code", self.coded) if error.part == "codes" else ("piece", self.cut)
            message = f"column {names[error.column]!r} holds the {what} {error.value}; its last is {error.count - 1}"
            raise OutOfBounds(message, error.row) from error

    @staticmethod
    def _require_between(
        what: str, values: np.ndarray, least: float, most: float, names: tuple[str, ...] | None = None
    ) -> None:
        if not values.size or (values.min() >= least and values.max() <= most):  # NaN is neither
            return
        wrong = ~((values >= least) & (values <= most))
        position = np.argwhere(wrong)[0].tolist()
        of = f"column {names[position[1]]!r} holds" if names is not None else "there is"
        raise OutOfBounds(
            f"{of} the {what} {values[tuple(position)]}; it is between {least:g} and {most:g}", position[0]
        )
