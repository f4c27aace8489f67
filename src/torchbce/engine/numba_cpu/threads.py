"""Running one compiled pass on as many threads as `torch.get_num_threads()` says.

Every thread calls the same function with the same arguments, and each call takes pieces of work until there is none. So
it does not matter who they are: where torch has brought GNU's OpenMP they are its threads, which torch's own
operations use and which still spin for the next one after each (a second pool would wait for them to give way); else,
and after a fork, which those do not survive, they are a small pool of Python's, without the GIL while they work.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_forked = False


def _start_anew() -> None:
    global _pool, _lock, _forked
    _pool, _lock, _forked = None, threading.Lock(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def run_together(function: Callable[[bytes], None], arguments: bytes, pieces: int, keep_alive: object) -> None:
    """Calls `function(arguments)` in several threads at once; `keep_alive` must not be freed meanwhile."""
    count = min(torch.get_num_threads(), pieces)
    parallel = None if _forked else openmp()
    if count <= 1:
        function(arguments)
    elif parallel is not None:
        parallel(ctypes.cast(function, ctypes.c_void_p), arguments, count, 0)  # type: ignore[arg-type]
    else:
        _with_helpers(function, arguments, count - 1, keep_alive)


def _with_helpers(function: Callable[[bytes], None], arguments: bytes, helpers: int, keep_alive: object) -> None:
    # Emptied at the end: a thread of the pool may hold its task a moment longer than its result is awaited, and tensors
    # that live that long are copied by autograd, which would otherwise take them over.
    references = [keep_alive]

    def helper() -> None:
        held = references[:]
        if held:
            function(arguments)

    futures: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # no thread starts while the interpreter shuts down; the caller does it all
        futures += [_threads().submit(helper) for _ in range(helpers)]
    try:
        function(arguments)
    finally:
        for future in futures:
            if not future.cancel():
                future.result()
        references.clear()


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(32, os.cpu_count() or 1), thread_name_prefix="torchbce")
        return _pool


@functools.cache
def openmp() -> Any:
    """`GOMP_parallel(function, argument, threads, flags)` of the library that torch runs on, if it is GNU's."""
    for file in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        with contextlib.suppress(OSError, AttributeError):
            parallel = ctypes.CDLL(str(file)).GOMP_parallel
            parallel.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
            parallel.restype = None
            return parallel
    return None
