"""Lanes: the sums of a slice are kept apart for each cluster; beyond a bound clusters share a lane at random."""

from __future__ import annotations

import zlib

import numpy as np

from torchbce.explanation.sketch.items import Codes


class Lanes:
    """A lane for each of the first clusters, and one of these, by its name, for each further cluster.

    Clusters that share a lane are one larger cluster, which is as independent of all others.

    Args:
        most: how many lanes there may be.
    """

    def __init__(self, most: int) -> None:
        self.most, self.shared = most, False
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def of(self, clusters: Codes) -> np.ndarray:
        """Return the lane of each item, by its cluster's number and the clusters' names."""
        codes, names = clusters
        lanes = np.zeros(len(names), np.int32)
        used, first = np.unique(codes, return_index=True)
        for code in used[np.argsort(first)]:
            lanes[code] = self._lane(names[code])
        return np.asarray(lanes[codes])

    def _lane(self, name: str) -> int:
        lane = self._places.get(name)
        if lane is None and len(self) < self.most:
            lane = self._places[name] = len(self)
        if lane is None:
            self.shared = True
            lane = zlib.crc32(name.encode("utf-8", "surrogatepass")) % self.most
        return lane
