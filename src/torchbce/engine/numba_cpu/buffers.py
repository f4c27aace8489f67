"""Memory for results. Large blocks are new to the process, and their first use costs more than the work on them.

So large results that were freed are kept, up to `MOST` bytes, for the next ones: a training step's gradient lies where
the last step's lay. That and the larger pages were measured in training steps of 16 and of 80 million logits.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST = 1 << 22  # bytes; the allocator itself keeps smaller blocks
MOST = 1 << 28
ALIGNMENT = 64  # of torch's own tensors
PAGE = 1 << 21
MADV_HUGEPAGE = 14  # pages of 2 MiB are handed out faster than 512 small ones

Block = np.ndarray[Any, Any]
# Freed blocks by their id. Changed by single steps only: a block comes back in whichever thread frees the tensor.
_kept: dict[int, Block] = {}


def new(like: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor to fill, of the shape and strides of a dense one."""
    size = like.numel() * dtype.itemsize
    if size < LEAST:  # without dtype= where it can be, as it costs time
        return torch.empty_like(like) if dtype is like.dtype else torch.empty_like(like, dtype=dtype)
    if size > MOST:
        tensor = torch.empty_like(like, dtype=dtype)
        _ask_for_huge_pages(tensor.data_ptr(), size)
        return tensor
    block = _block(size + ALIGNMENT)
    start = -block.ctypes.data % ALIGNMENT
    lent = block[start : start + size]
    weakref.finalize(lent, _take_back, block).atexit = False
    storage = torch.frombuffer(lent, dtype=torch.uint8).untyped_storage()
    return torch.empty(0, dtype=dtype).set_(storage, 0, like.size(), like.stride())


def _block(size: int) -> Block:
    for key, block in list(_kept.items()):
        if size <= block.size <= 2 * size and _kept.pop(key, None) is not None:
            return block
    block = np.empty(size, np.uint8)
    _ask_for_huge_pages(block.ctypes.data, size)
    return block


def _take_back(block: Block) -> None:
    _kept[id(block)] = block
    kept = list(_kept.items())
    excess = sum(block.size for _, block in kept) - MOST
    for key, old in kept:  # the oldest first
        if excess <= 0:
            break
        _kept.pop(key, None)
        excess -= old.size


def _ask_for_huge_pages(address: int, size: int) -> None:
    """Of the whole huge pages in a range; without effect where the system has none."""
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
