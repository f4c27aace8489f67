"""A few threads for compiled passes, which run without the GIL; as many as `torch.get_num_threads()` says.

Work is handed out in pieces of consecutive chunks; the caller works too. Nothing waits for another call, so any number
of Python threads may call at once. After a fork the child starts anew.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

PIECE = 16  # chunks; some 50 microseconds of work at least

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _start_anew() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def over(chunks: int, work: Callable[[int, int], None]) -> None:
    """Calls `work(first, last)` until every chunk in range(chunks) is done."""
    if chunks <= PIECE:
        work(0, chunks)
        return
    pieces = -(-chunks // PIECE)
    helpers = min(torch.get_num_threads(), pieces) - 1
    if helpers <= 0:
        for first in range(0, chunks, PIECE):  # in pieces, so that Ctrl-C is seen
            work(first, min(first + PIECE, chunks))
        return
    waiting = iter(range(0, chunks, PIECE))
    taking = threading.Lock()
    # Emptied at the end: a thread of the pool may hold its task a moment longer than its result is awaited, and tensors
    # that live that long are copied by autograd, which would otherwise take them over.
    tasks = [work]

    def worker() -> None:
        task = tasks[0] if tasks else None
        while task is not None and tasks:
            with taking:
                first = next(waiting, None)
            if first is None:
                return
            task(first, min(first + PIECE, chunks))

    futures: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # no thread starts while the interpreter shuts down; the caller does it all
        futures += [_threads().submit(worker) for _ in range(helpers)]
    try:
        worker()
    except BaseException:
        tasks.clear()  # after an interrupt, helpers finish their piece at most
        raise
    finally:
        for future in futures:
            if not future.cancel():
                future.result()
        tasks.clear()


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(32, os.cpu_count() or 1), thread_name_prefix="torchbce")
        return _pool
