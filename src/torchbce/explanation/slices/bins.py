"""Bins of a column: quantile ranges of numbers, or the most frequent values; what is missing has a bin of its own."""

from __future__ import annotations

import numbers
from collections import Counter
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from torchbce.common.visible import shown

VALUES = 20  # so many of a category's values have a bin each
MOST_BINS = 250  # codes are uint8


@dataclass(frozen=True)
class Ranges:
    """Numbers: below the first edge, from each edge to the next, from the last edge on, missing."""

    name: str
    edges: tuple[float, ...]

    @property
    def size(self) -> int:
        """Return how many bins there are."""
        return len(self.edges) + 2

    def codes(self, column: np.ndarray) -> np.ndarray:
        """Return the number of each value's bin, uint8; the last is that of missing values."""
        values = _numbers(self.name, column)
        codes = np.searchsorted(np.array(self.edges), values, side="right").astype(np.uint8)
        codes[np.isnan(values)] = self.size - 1
        return codes

    def words(self, code: int) -> str:
        """Return the condition that a bin stands for."""
        if code == self.size - 1:
            return f"{self.name} missing"
        low = _number(self.edges[code - 1]) if code else ""
        high = _number(self.edges[code]) if code < len(self.edges) else ""
        if low and high:
            return f"{low} <= {self.name} < {high}"
        return f"{self.name} >= {low}" if low else f"{self.name} < {high}"


@dataclass(frozen=True)
class Values:
    """Single values, then all others, then missing ones."""

    name: str
    values: tuple[Any, ...]

    @property
    def size(self) -> int:
        """Return how many bins there are."""
        return len(self.values) + 2

    def codes(self, column: np.ndarray) -> np.ndarray:
        """Return the number of each value's bin, uint8; the last is that of missing values."""
        known = {value: code for code, value in enumerate(self.values)} | {None: self.size - 1}
        return np.fromiter(map(known.get, _keys(column), repeat(self.size - 2)), np.uint8, len(column))

    def words(self, code: int) -> str:
        """Return the condition that a bin stands for."""
        if code == self.size - 1:
            return f"{self.name} missing"
        if code == self.size - 2:
            return f"{self.name} = none of the {len(self.values)} most frequent values"
        value = self.values[code]
        if isinstance(value, float):
            return f"{self.name} = {_number(value)}"
        text = str(value)
        return f"{self.name} = {text if text == text.strip() and text else repr(text)}"


Bins = Ranges | Values


def choose_bins(name: str, column: np.ndarray, bins: int = 10) -> Bins | str:
    """Choose the bins of a column by a sample of it, or return in words why it is left out.

    Numbers with no more distinct values than `bins`, categories and booleans have a bin for each value, categories for
    the 20 most frequent. Other numbers are cut at quantiles.
    """
    if column.dtype.kind in "mM":
        return "a date; give it as a number or a category"
    keys = None
    if column.dtype.kind in "iuf" or _holds_numbers(column):
        values = _numbers(name, column)
        present = np.sort(values[~np.isnan(values)])
        distinct = present[np.flatnonzero(np.diff(present, prepend=np.nan) != 0)]
        if len(distinct) > bins:
            return Ranges(name, _edges(present, distinct, bins))
    keys = Counter(_keys(column))
    if len(keys) < 2:
        return "missing everywhere" if None in keys else "one value only"
    if len(keys) == len(column) and all(isinstance(key, str) for key in keys):
        return "every value is different"
    del keys[None]
    # The more frequent first, then by the name: the same bins whatever the order of the rows.
    ranked = sorted(keys.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return Values(name, tuple(key for key, _ in ranked[:VALUES]))


def _edges(present: np.ndarray, distinct: np.ndarray, bins: int) -> tuple[float, ...]:
    """Return where quantile bins begin, as short numbers. A value that fills a bin has one of its own."""
    starts = present[np.arange(1, bins) * len(present) // bins]
    positions, times = np.unique(np.searchsorted(distinct, starts), return_counts=True)
    positions = np.union1d(positions, np.minimum(positions[times > 1] + 1, len(distinct) - 1))
    return tuple(_short(float(distinct[i - 1]), float(distinct[i])) for i in positions if i > 0)


def _short(low: float, high: float) -> float:
    """Return the number of fewest digits above low and up to high, so that words say exactly what is meant."""
    for digits in range(1, 17):
        rounded = float(f"{high:.{digits}g}")
        if low < rounded <= high:
            return rounded
    return high


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _holds_numbers(column: np.ndarray) -> bool:
    """Return whether an array of objects holds numbers, and None where one is missing."""
    return column.dtype == object and all(
        value is None or (isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_))
        for value in column.tolist()
    )


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    try:
        return column.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"features: column {name!r} was of numbers and now has another value: {shown(error)}"
        ) from error


def _keys(column: np.ndarray) -> list[Any]:
    """Return values that can be looked up: numbers, booleans and words as they are, None for what is missing."""
    values = column.tolist()
    if column.dtype.kind == "f":
        for i in np.flatnonzero(np.isnan(column)):
            values[i] = None
    elif column.dtype == object:
        values = [
            value
            if value is None or isinstance(value, str | bool)
            else (None if value != value else float(value))
            if isinstance(value, numbers.Real)
            else str(value)
            for value in values
        ]
    return list(values)
