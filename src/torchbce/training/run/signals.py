"""Ctrl-C and SIGTERM, held back while something must not be cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def signals_held(*, hold: bool = True) -> Iterator[list[int]]:
    """They wait for the end of the block, and are seen in the list.

    Unless they are to be held, and in other threads than the first, they come as ever.
    """
    came: list[int] = []
    if not hold or threading.current_thread() is not threading.main_thread():
        yield came
        return
    held = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda n, _: came.append(n)) for number in held]
    try:
        yield came
    finally:
        for number, handler in zip(held, before, strict=True):
            signal.signal(number, handler)
        if came:
            signal.raise_signal(signal.Signals(came[0]))
