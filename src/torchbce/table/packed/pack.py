"""Write the rows of a table to the files of a cache: encoded once, read many times."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from torchbce.common.errors import OutputError
from torchbce.io.shards import TableBatch
from torchbce.table.packed.cache import ELSEWHERE
from torchbce.table.packed.encoded_rows import Encoded
from torchbce.table.packed.part_file import Part, PartFile
from torchbce.table.packed.pieces import Pieces
from torchbce.table.packed.records import Arrays, Layout
from torchbce.table.splits.parts import NAMES

MOST_AHEAD = 4  # batches in memory at the same time, besides the one that is written


class Packer:
    """Write the files of all parts; use it in a `with` block."""

    def __init__(self, draft: Path, folder: Path, pieces: Pieces, layout: Layout, expected: list[int]) -> None:
        self._draft, self._folder, self._pieces, self._layout = draft, folder, pieces, layout
        self._needed = sum(layout.file_bytes(rows) for rows in expected)
        self._stack = contextlib.ExitStack()
        self._ahead = min(os.cpu_count() or 1, MOST_AHEAD)
        self._threads = self._stack.enter_context(ThreadPoolExecutor(self._ahead, "pack"))
        self._files: dict[str, PartFile] = {}

    def __enter__(self) -> Packer:
        free = shutil.disk_usage(self._draft).free
        if free < self._needed:
            self._stack.close()
            raise self._too_small(free)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()
        self._stack.close()

    def add(
        self, batches: Iterator[TableBatch], encode: Callable[[TableBatch], Encoded], on_rows: Callable[[int], object]
    ) -> int:
        """Write all rows of a table to their parts, in order; several batches are encoded at the same time.

        Returns:
            The number of rows, including those of no part.

        Raises:
            OutputError: the disk is full; the message says how many bytes are needed.
        """
        waiting: deque[tuple[int, Future[dict[str, Arrays]]]] = deque()
        total = 0

        def take() -> int:
            rows, encoded = waiting.popleft()
            for name, arrays in encoded.result().items():
                self._write(name, arrays)
            on_rows(rows)
            return rows

        for batch in batches:
            waiting.append((len(batch), self._threads.submit(lambda rows: self._by_part(encode(rows)), batch)))
            if len(waiting) > self._ahead:
                total += take()
        while waiting:
            total += take()
        return total

    def finish(self) -> dict[str, Part]:
        """Close the files and return their descriptions by the part's name."""
        with self._room():
            return {name: self._files[name].finish() for name in NAMES if name in self._files}

    def _by_part(self, batch: Encoded) -> dict[str, Arrays]:
        """Return the arrays of each part, as its file has them."""
        by_part = {}
        for part, name in enumerate(NAMES):
            rows = np.flatnonzero(batch.parts == part)
            if not len(rows):
                continue
            numbers = batch.numbers[rows]
            bins, fractions = self._pieces.encode(numbers)
            arrays: Arrays = {
                "bins": bins,
                "fractions": fractions,
                "numbers": numbers[:, self._pieces.plain],
                "codes": batch.codes[rows],
                "target": batch.target[rows],
                "rows": batch.rows[rows],
            }
            if batch.weight is not None:
                arrays["weight"] = batch.weight[rows]
            by_part[name] = arrays
        return by_part

    def _write(self, name: str, arrays: Arrays) -> None:
        with self._room():
            if name not in self._files:
                self._files[name] = PartFile(self._draft / f"{name}.records", self._layout)
            self._files[name].add(arrays)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._too_small(shutil.disk_usage(self._draft).free) from error

    def _too_small(self, free: int) -> OutputError:
        return OutputError(
            f"{self._folder} needs about {self._needed:,} bytes, and {free:,} are free there; nothing was kept: "
            f"make room, or {ELSEWHERE}"
        )
