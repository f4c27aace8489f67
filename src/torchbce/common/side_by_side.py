"""Waiting for threads, so that Ctrl-C ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from torchbce.common.signals import look

LOOK = 0.1  # seconds between looks at how far the work is
Result = TypeVar("Result")


def results(
    futures: list[Future[Result]], stop: threading.Event, on_look: Callable[[], object] | None = None
) -> list[Result]:
    """Wait for futures and return their results; set `stop` at the end, also when a signal ends the wait.

    on_look: called now and then; it may set `stop` too.
    """
    try:
        while wait(futures, timeout=LOOK).not_done:
            look()
            if on_look:
                on_look()
    finally:
        stop.set()
    return [future.result() for future in futures]
