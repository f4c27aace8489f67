"""Ctrl-C, SIGTERM and SIGHUP: asked for at any time, obeyed between two batches, when all is kept."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from torchbce.common.signals import stopping

TERMINATED = 128 + signal.SIGTERM  # the exit code of what SIGTERM ended


class Stop:
    """`asked` is the number of the signal that came, 0 before. A second one acts at once, as ever."""

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """For the block, in the main thread; elsewhere signals come as ever."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in stopping()}
        try:
            yield
        finally:
            self._give_back()

    def obey(self, message: str) -> NoReturn:
        """End as the signal would have ended the program.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM or SIGHUP, or where another process was asked.
        """
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(TERMINATED)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._give_back()

    def _give_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)
