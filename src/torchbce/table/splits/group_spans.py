"""From which time to which each group has rows: memory grows with the groups, 24 bytes each, and not with the rows."""

from __future__ import annotations

import numpy as np

FEWEST = 1 << 18  # that are added up at a time


class GroupSpans:
    """Collects the spans of groups, batch by batch."""

    def __init__(self) -> None:
        self._whole = np.zeros(0, np.uint64), np.zeros(0), np.zeros(0)
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._rows = 0

    def add(self, groups: np.ndarray, times: np.ndarray) -> None:
        """Add the group and the time of some rows."""
        some = _together(groups, times, times)
        self._waiting.append(some)
        self._rows += len(some[0])
        if self._rows > max(len(self._whole[0]), FEWEST):  # so that all of it takes n log n
            self.spans()

    def spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the groups in rising order, with the earliest and the latest time of each."""
        if self._waiting:
            parts = zip(self._whole, *self._waiting, strict=True)
            self._whole = _together(*(np.concatenate(part) for part in parts))
            self._waiting, self._rows = [], 0
        return self._whole


def _together(groups: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each group once."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    if not len(starts):
        return groups, first, last
    return ordered[starts], np.minimum.reduceat(first[order], starts), np.maximum.reduceat(last[order], starts)
