"""Layout of a part's rows in its file: blocks, and in each block one array after the other.

A block holds the arrays that training in compiled code takes, little endian, each from a multiple of 8 bytes, so a
window is read straight into memory that is trained on. All blocks but the last are full.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

BLOCK = 8192  # rows
WINDOW = 1 << 28  # bytes of blocks that are in memory together
ALIGNED = 8  # bytes

Name = Literal["bins", "fractions", "numbers", "codes", "target", "weight", "rows"]
Arrays = dict[Name, np.ndarray]


class Layout(BaseModel):
    """Counts of binned numbers, plain numbers and codes of a row, and whether it has a weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cut: int = Field(ge=0, le=100_000)
    plain: int = Field(ge=0, le=100_000)
    coded: int = Field(ge=0, le=100_000)
    weighted: bool

    def arrays(self, rows: int) -> Arrays:
        """Allocate arrays for `rows` rows, in the order of the file."""
        made: Arrays = {
            "bins": np.empty((rows, self.cut), "<u2"),
            "fractions": np.empty((rows, self.cut), "<f4"),
            "numbers": np.empty((rows, self.plain), "<f4"),
            "codes": np.empty((rows, self.coded), "<i4"),
            "target": np.empty(rows, "<f4"),
        }
        if self.weighted:
            made["weight"] = np.empty(rows, "<f4")
        made["rows"] = np.empty(rows, "<i8")
        return made

    def block_bytes(self, rows: int) -> int:
        """Return the bytes of a block of `rows` rows."""
        sizes = 2 * self.cut, 4 * self.cut, 4 * self.plain, 4 * self.coded, 4, 4 * self.weighted, 8  # as in `arrays`
        return sum(rows * size + padding(rows * size) for size in sizes)

    def blocks_within(self, most: int) -> int:
        """Return how many blocks are read together: as many as a window holds, at most `most`."""
        return max(1, min(most, WINDOW // self.block_bytes(BLOCK)))

    def file_bytes(self, rows: int) -> int:
        """Return the bytes of a part of `rows` rows."""
        full, rest = divmod(rows, BLOCK)
        return full * self.block_bytes(BLOCK) + (self.block_bytes(rest) if rest else 0)


def padding(size: int) -> int:
    """Return the number of bytes up to the next multiple of 8."""
    return -size % ALIGNED
