"""Asking the system for memory in pages of 2 MiB, which are handed out faster than 512 small ones."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

PAGE = 1 << 21
MADV_HUGEPAGE = 14


def ask_for(address: int, size: int) -> None:
    """Advice about the whole huge pages in a range; without effect where the system has none."""
    advise = _madvise()
    first, end = -(-address // PAGE) * PAGE, (address + size) // PAGE * PAGE
    if advise is not None and end > first:
        advise(first, end - first, MADV_HUGEPAGE)  # its answer does not matter: the memory is there either way


@functools.cache
def _madvise() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return advise
