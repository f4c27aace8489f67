"""Sums over the items of each name that occurs, such as a group or a cluster: they add up, and so they merge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


class KeyedSums:
    """A row of sums for each name.

    Args:
        width: how many sums a row has.
        most: how many names there may be.
        too_many: what to say beyond.
    """

    def __init__(self, width: int, most: int, too_many: str) -> None:
        self._most, self._too_many = most, too_many
        self._places: dict[str, int] = {}
        self._sums = np.zeros((16, width))

    def __len__(self) -> int:
        return len(self._places)

    @property
    def names(self) -> list[str]:
        """Return the names in the order in which they came."""
        return list(self._places)

    @property
    def sums(self) -> Array:
        """Return a row of sums for each name."""
        return self._sums[: len(self)]

    def places(self, names: list[str]) -> Array:
        """Return the row of each name; -1 where there is none."""
        return np.array([self._places.get(name, -1) for name in names], np.int64)

    def add_items(self, codes: Array, names: list[str], columns: Sequence[Array | None]) -> None:
        """Add the values of items, each of the name `names[code]`; None stands for ones."""
        counts = np.bincount(codes, minlength=len(names))
        sums = [counts if column is None else np.bincount(codes, column, len(names)) for column in columns]
        used = counts.nonzero()[0]
        self.add([names[code] for code in used], np.stack(sums, 1)[used])

    def add(self, names: list[str], sums: Array) -> None:
        """Add sums, a row for each of these names."""
        places = np.array([self._places.setdefault(name, len(self._places)) for name in names], np.int64)
        if len(self) > self._most:
            raise ValueError(self._too_many)
        if len(self) > len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros((2 * len(self), self._sums.shape[1]))])
        self._sums[places] += sums

    def merge(self, other: KeyedSums) -> None:
        """Add what others have seen under the same names, or more."""
        self.add(other.names, other.sums)
