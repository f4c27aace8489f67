"""Ctrl-C, SIGTERM and SIGHUP: noted at any time, obeyed between two batches, after a checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from torchbce.common.signals import stopping

EXIT_CODE = 128 + signal.SIGTERM  # of a program that SIGTERM ended


class StopSignal:
    """The signal that asks a run to stop. A second one acts at once, as without this class."""

    def __init__(self) -> None:
        self._number = 0  # of the signal that came
        self._handlers: dict[int, Any] = {}  # to be restored

    @property
    def came(self) -> bool:
        """Whether a signal has come."""
        return self._number > 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Note signals for the block, in the main thread; in others leave them as they are."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note) for number in stopping()}
        try:
            yield
        finally:
            self._restore_handlers()

    def obey(self, message: str) -> NoReturn:
        """End as the signal would have ended the program.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM or SIGHUP, or where the signal came to another process.
        """
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(EXIT_CODE)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            signal.signal(number, handler)
