"""Whether a table fits in memory."""

from __future__ import annotations

import os
from pathlib import Path

from torchbce.common.errors import InputError
from torchbce.io.arrow_batches import largest_batch
from torchbce.io.files import ARROW, CSV, what_it_is
from torchbce.io.opened import STDIN, Format, Source, is_compressed, opened
from torchbce.io.scan import files_of, scanned
from torchbce.io.shards import shards_of
from torchbce.io.windows import row_bytes

# That training in memory takes for each number or text of a table: 28 without trees (benchmarks/large.py), and trees
# take more than as much again. So they hold a text of 20 bytes four times, as reading and cleaning do.
BYTES = 80
TEXTS = 4
SHARE = 0.5  # of the machine's memory, that a run takes unless it is told
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
UNKNOWN = 8 << 30  # where the system does not say


def fits(names: list[str], limit: float | None, format: Format | None = None) -> bool:
    """Whether training on these tables in memory takes less than so many bytes; None: a share of the machine's.

    Each name may be a pattern or a folder. Counted are the rows that files say they have and what they unpack to.

    Raises:
        InputError: they do not fit, and one cannot be read in parts that do.
    """
    limit = machine_bytes() * SHARE if limit is None else limit
    if any(name == STDIN or (Path(name).exists() and not _is_lasting(Path(name))) for name in names):
        return True  # what can be read only once is not looked at first
    if all(Path(name).is_file() for name in names):
        plain = all(_is_plain(Path(name)) for name in names)
        if plain and 100 * sum(Path(name).stat().st_size for name in names) < limit:
            return True  # not worth a look: numbers are not written so tightly
    cells = texts = 0
    for name in names:
        with shards_of([name], format) as shards:
            cells += shards.rows * len(shards.columns)
    if cells * BYTES < limit:
        for name in names:
            with shards_of([name], format) as shards:
                texts += shards.text_bytes()
        if texts * TEXTS < limit:
            return True
    for name in names:
        for file in files_of([name]):
            with opened(file, format) as source:
                _require_parts(source, limit)
    return False


def _require_parts(source: Source, limit: float) -> None:
    """A record batch of an Arrow file is decoded as a whole."""
    if what_it_is(source) != ARROW:
        return
    rows, width = largest_batch(source), row_bytes(scanned(source).collect_schema())
    if rows * width > limit:
        raise InputError(
            f"{source.name}: its largest record batch has {rows:,} rows, which take {rows * width:,} bytes at once, "
            f"and {limit:,.0f} are allowed (--memory); write it with smaller batches, such as polars' "
            "write_ipc(file, record_batch_size=65536), or as Parquet"
        )


def _is_lasting(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _is_plain(path: Path) -> bool:
    """Neither compressed, nor of a format that packs values; a file that cannot be read is refused by what opens it."""
    return os.access(path, os.R_OK) and not is_compressed(path) and what_it_is(Source(path, str(path))) == CSV


def machine_bytes() -> int:
    """Memory of this machine, or what its container may use of it."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        whole = UNKNOWN
    for path in map(Path, LIMITS):
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():
            whole = min(whole, int(text))
    return whole
