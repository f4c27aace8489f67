"""Ctrl-C, SIGTERM and SIGHUP (a terminal that is gone): what comes is kept, and loops look whether it was obeyed.

The exception that a handler raises is lost where it hits the callback of a weak reference or a `__del__`: what was
asked for stays asked for, and `look` raises it again. What is ignored at the start, as SIGHUP is under nohup, stays so.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

ONE = 0.5  # seconds in which several are one: a terminal and torchrun both tell of a Ctrl-C


class Terminated(BaseException):
    """Raised where SIGTERM or SIGHUP came."""


@dataclass
class Came:
    """What has come. asked: the signal's number, 0 for none; when: it came; held: how many blocks defer it."""

    asked: int = 0
    when: float = 0.0
    held: int = 0
    active: bool = False

    def __bool__(self) -> bool:
        """Return whether one came."""
        return self.asked > 0


_watch = Came()


def stopping() -> list[int]:
    """Return the signals that end a program, without those that are ignored or that C code handles."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextlib.contextmanager
def signals_watched() -> Iterator[None]:
    """Let signals raise `KeyboardInterrupt` or `Terminated` in the block: at once, or in `look`."""
    if not _is_first_thread() or _watch.active:
        yield
        return
    _watch.asked, hook = 0, sys.unraisablehook
    before = [(number, signal.signal(number, _came)) for number in stopping()]
    _watch.active, sys.unraisablehook = True, lambda lost: None if _is_asked_for(lost.exc_type) else hook(lost)
    try:
        yield
    finally:
        _watch.active, sys.unraisablehook = False, hook
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_held(*, hold: bool = True) -> Iterator[Came]:
    """Defer a signal to the end of the block, whose value is true once one came; a second ends the block at once.

    Without `hold`, and in other threads than the first, signals come as ever.
    """
    if not hold or not _is_first_thread():
        yield Came()
        return
    alone = not _watch.active
    try:
        with signals_watched():
            _watch.held += 1
            try:
                yield _watch
            finally:
                _watch.held -= 1
    finally:
        if _watch.asked and not _watch.held:
            if not alone:
                raise _ending(_watch.asked)
            signal.raise_signal(signal.Signals(_watch.asked))  # whoever was to get them before gets them now


def look() -> None:
    """Raise what a signal has asked for, if nothing has come of it yet: long work calls this now and then."""
    if _watch.active and _watch.asked and not _watch.held and _is_first_thread():
        raise _ending(_watch.asked)


def _came(number: int, frame: FrameType | None) -> None:
    first = not _watch.asked
    if first:
        _watch.asked, _watch.when = number, time.monotonic()
    if _watch.held and (first or time.monotonic() - _watch.when < ONE):
        return
    raise _ending(number)


def _ending(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated()


def _is_asked_for(kind: type[BaseException]) -> bool:
    """Return whether what was lost is what `look` raises again."""
    return _watch.asked > 0 and issubclass(kind, KeyboardInterrupt | Terminated)


def _is_first_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
