"""Arrays in the zip archive that `numpy.savez_compressed` makes, unpacked only to the sizes that it can have.

Zeros are packed a thousandfold, so the archive's own list of sizes is read first. zipfile unpacks no member beyond the
size that is listed and compares its checksum; that an array's header asks for just that much is compared here.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import IO

import numpy as np
from numpy.lib import format as npy

MOST = 1 << 31  # bytes unpacked: five million clusters with long names take half
ALWAYS = 1 << 26  # bytes that are no reason to look further
RATIO = 200  # names that repeat, as numpy has texts, are packed to a seventieth


def unpacked_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays by their names.

    Raises:
        ValueError: they would take too much memory, or are not what the archive says.
        zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        allowed = max(ALWAYS, min(MOST, RATIO * len(content)))
        size = sum(member.file_size for member in members)
        if size > allowed:
            raise ValueError(f"its {len(content):,} bytes would be unpacked to {size:,}; at most {allowed:,} can be")
        return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        header = _header_bytes(file)
    if header != member.file_size:
        raise ValueError(f"{member.filename} says that it has {header:,} bytes, and has {member.file_size:,}")
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def _header_bytes(file: IO[bytes]) -> int:
    """Return how many bytes an array and its header take, as the header says."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return file.tell() + math.prod(shape) * dtype.itemsize
