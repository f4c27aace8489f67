"""Work on threads of its own, that Ctrl-C ends."""

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
    """Of all of them; `stop` is set at the end, also where it comes early, or `on_look` sets it."""
    try:
        while wait(futures, timeout=LOOK).not_done:
            look()
            if on_look:
                on_look()
    finally:
        stop.set()
    return [future.result() for future in futures]
