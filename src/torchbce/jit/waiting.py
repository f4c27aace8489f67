"""A note that a call waits for a compilation, once, if it waits long."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

PATIENCE = 1.0  # seconds
NOTE = (
    "torchbce: the first call of a kind on this machine is being compiled; it is kept, so that later ones do not wait "
    "(`torchbce warmup` compiles beforehand)"
)
_said = threading.Event()


@contextlib.contextmanager
def said_if_long() -> Iterator[None]:
    """Log a note if the block takes more than a second: by default, a line on standard error."""
    if _said.is_set():
        yield
        return
    timer = threading.Timer(PATIENCE, _say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say() -> None:
    if not _said.is_set():
        _said.set()
        logging.getLogger("torchbce").warning(NOTE)
