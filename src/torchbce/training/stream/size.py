"""Whether a table fits in memory."""

from __future__ import annotations

import os
from pathlib import Path

from torchbce.training.table.opened import STDIN, Format
from torchbce.training.table.shards import shards_of

# That training in memory takes for each number or text of a table: 28 without trees (benchmarks/large.py), and trees
# take more than as much again.
BYTES = 80
SHARE = 0.5  # of the machine's memory, that a run takes unless it is told
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
UNKNOWN = 8 << 30  # where the system does not say


def fits(names: list[str], limit: float | None, format: Format | None = None) -> bool:
    """Whether training on these files in memory takes less than so many bytes; None: a share of the machine's."""
    limit = machine_bytes() * SHARE if limit is None else limit
    if any(name == STDIN or (Path(name).exists() and not _is_lasting(Path(name))) for name in names):
        return True  # what can be read only once is not looked at first
    if all(Path(name).is_file() for name in names):
        on_disk = sum(Path(name).stat().st_size for name in names)
        if 100 * on_disk < limit:  # not worth a look: no format packs numbers so tightly
            return True
    with shards_of(names, format) as shards:
        return shards.rows * len(shards.columns) * BYTES < limit


def _is_lasting(path: Path) -> bool:
    return path.is_file() or path.is_dir()


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
