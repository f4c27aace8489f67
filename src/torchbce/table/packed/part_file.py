"""Write the rows of a part, block by block."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from torchbce.table.packed.records import BLOCK, Arrays, Layout, padding

PRIVATE = 0o600  # a cache's files are read by nobody else, and a cache that others could write is not used


class Part(BaseModel):
    """Description of a part's file; without weights in the file each row counts 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    file: str = Field(pattern=r"^[a-z]+\.records$", max_length=40)
    rows: int = Field(ge=1, le=2**53)
    ones: int = Field(ge=0)
    weight: float = Field(ge=0)
    weight_of_ones: float = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _fits(self) -> Part:
        if self.ones > self.rows or self.weight_of_ones > self.weight * (1 + 1e-9):
            raise ValueError("more rows of the positive class than rows")
        return self


class PartFile:
    """A file of records that is open for writing."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), PRIVATE)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._digest = hashlib.sha256()
        self._block, self._filled = layout.arrays(BLOCK), 0
        self._rows = self._ones = 0
        self._weight = self._weight_of_ones = 0.0

    def add(self, arrays: Arrays) -> None:
        """Append rows.

        Raises:
            OSError: they cannot be written.
        """
        target, weight = arrays["target"], arrays.get("weight")
        self._rows += len(target)
        ones = int(target.sum(dtype=np.float64))
        self._ones += ones
        self._weight += len(target) if weight is None else float(weight.sum(dtype=np.float64))
        self._weight_of_ones += ones if weight is None else float((weight * target).sum(dtype=np.float64))
        taken = 0
        while taken < len(target):
            count = min(BLOCK - self._filled, len(target) - taken)
            for name, memory in self._block.items():
                memory[self._filled : self._filled + count] = arrays[name][taken : taken + count]
            self._filled, taken = self._filled + count, taken + count
            if self._filled == BLOCK:
                self._flush()

    def _flush(self) -> None:
        for memory in self._block.values():
            self._write(memoryview(memory[: self._filled].reshape(-1).view(np.uint8).data))
            self._write(memoryview(bytes(padding(memory[: self._filled].nbytes))))
        self._filled = 0

    def _write(self, content: memoryview) -> None:
        self._digest.update(content)
        while len(content):
            content = content[self._file.write(content) :]

    def finish(self) -> Part:
        """Flush the file to the disk, close it and return its description."""
        if self._filled:
            self._flush()
        os.fsync(self._file.fileno())
        self.close()
        return Part(
            file=self._path.name,
            rows=self._rows,
            ones=self._ones,
            weight=self._weight,
            weight_of_ones=self._weight_of_ones,
            sha256=self._digest.hexdigest(),
        )

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()
