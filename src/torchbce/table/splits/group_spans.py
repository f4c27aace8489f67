"""Collect the earliest and latest time of each group, in 24 bytes a group, however many rows there are."""

from __future__ import annotations

import numpy as np

FEWEST = 1 << 18  # rows that are merged at a time


class GroupSpans:
    """Collect the spans of groups, batch by batch."""

    def __init__(self) -> None:
        self._whole = np.zeros(0, np.uint64), np.zeros(0), np.zeros(0)
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._rows = 0

    def add(self, groups: np.ndarray, times: np.ndarray) -> None:
        """Add the groups and times of a batch."""
        spans = _together(groups, times, times)
        self._waiting.append(spans)
        self._rows += len(spans[0])
        if self._rows > max(len(self._whole[0]), FEWEST):  # so that the total time is n log n
            self.spans()

    def spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the groups in rising order, with the earliest and the latest time of each."""
        if self._waiting:
            parts = zip(self._whole, *self._waiting, strict=True)
            self._whole = _together(*(np.concatenate(part) for part in parts))
            self._waiting, self._rows = [], 0
        return self._whole


def _together(groups: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each group once, with its earliest and latest time."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    if not len(starts):
        return groups, first, last
    return ordered[starts], np.minimum.reduceat(first[order], starts), np.maximum.reduceat(last[order], starts)
