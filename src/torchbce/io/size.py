"""Decide whether a table fits in memory."""

from __future__ import annotations

import os
from pathlib import Path

from torchbce.common.errors import InputError
from torchbce.io.arrow_batches import largest_batch
from torchbce.io.compressed import is_compressed
from torchbce.io.files import file_format
from torchbce.io.scan import expand_names, scan_table
from torchbce.io.shards import open_shards
from torchbce.io.signatures import ARROW, CSV, kind_of
from torchbce.io.source import STDIN, Format, SourceFile, open_source
from torchbce.io.windows import row_bytes

# Bytes that training takes for each cell of a table: 28 without trees (benchmarks/large.py), and more than twice that
# with them. Reading and cleaning hold a text of 20 bytes four times.
CELL_BYTES = 80
TEXT_COPIES = 4
MEMORY_SHARE = 0.5  # of the machine's memory, which a run takes without --memory
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
UNKNOWN_MEMORY = 8 << 30  # where the system does not say


def fits_in_memory(names: list[str], limit: float | None, format: Format | None = None) -> bool:
    """Return whether training on these tables in memory takes less than `limit` bytes; None: half of the machine's.

    Each name may be a pattern or a folder. Counted are the rows that files say they have and what they unpack to.

    Raises:
        InputError: they do not fit, and one cannot be read in parts that do.
    """
    limit = machine_bytes() * MEMORY_SHARE if limit is None else limit
    if any(name == STDIN or (Path(name).exists() and not _is_lasting(Path(name))) for name in names):
        return True  # what can be read only once is not looked at first
    if all(Path(name).is_file() for name in names):
        plain = all(_is_plain(Path(name)) for name in names)
        if plain and 100 * sum(Path(name).stat().st_size for name in names) < limit:
            return True  # not worth a look: numbers are not written so tightly
    cells = texts = 0
    for name in names:
        with open_shards([name], format) as shards:
            cells += shards.rows * len(shards.columns)
    if cells * CELL_BYTES < limit:
        for name in names:
            with open_shards([name], format) as shards:
                texts += shards.text_bytes()
        if texts * TEXT_COPIES < limit:
            return True
    for name in names:
        for file in expand_names([name]):
            with open_source(file, format) as source:
                _require_parts(source, limit)
    return False


def _require_parts(source: SourceFile, limit: float) -> None:
    """Refuse an Arrow file with a record batch above the limit, as each is decoded as a whole."""
    if file_format(source) != ARROW:
        return
    rows, width = largest_batch(source), row_bytes(scan_table(source).collect_schema())
    if rows * width > limit:
        raise InputError(
            f"{source.name}: its largest record batch has {rows:,} rows, which take {rows * width:,} bytes at once, "
            f"and {limit:,.0f} are allowed (--memory); write it with smaller batches, such as polars' "
            "write_ipc(file, record_batch_size=65536), or as Parquet"
        )


def _is_lasting(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _is_plain(path: Path) -> bool:
    """Return whether a file is a CSV file that is not compressed; one that cannot be read is refused elsewhere."""
    return os.access(path, os.R_OK) and not is_compressed(path) and kind_of(path, str(path)) == CSV


def machine_bytes() -> int:
    """Return the memory of this machine, or what its container may use of it."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        size = UNKNOWN_MEMORY
    for path in map(Path, CONTAINER_LIMITS):
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():
            size = min(size, int(text))
    return size
