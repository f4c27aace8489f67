"""What the command prints: text that a terminal shows and does not obey, in any encoding, while somebody reads it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from torchbce.common.visible import MESSAGE, shown, visible

LAYOUT = "\n\t"  # what a text of several lines is set out with


class Closed(io.TextIOBase):
    """In the place of a standard output that was closed before the command began."""

    def write(self, text: str) -> int:
        """Never."""
        raise OSError(errno.EBADF, "it was closed before the command began")


def prepare() -> None:
    """What an encoding has no characters for is written as escapes, in place of an error; nothing is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would get the number, and what is printed
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    sys.stdout = Closed() if sys.stdout is None else sys.stdout
    sys.stderr = open(os.devnull, "w") if sys.stderr is None else sys.stderr  # noqa: SIM115 - for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning, also of a library, in the place of `warnings.formatwarning`."""
    return f"torchbce: {category.__name__}: {shown(message, MESSAGE)}\n"


def say(text: object = "") -> None:
    """Print to standard output."""
    print(visible(str(text), LAYOUT))


def remark(text: object) -> None:
    """Print a line to standard error, if it can still be written: a terminal may be gone, and then nobody is told."""
    with contextlib.suppress(OSError):
        print(_line(text), file=sys.stderr)


def _line(text: object) -> str:
    return shown(text, 2 * MESSAGE)


class Listener:
    """Standard output for as long as somebody reads it: what fails is kept, and the work goes on."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self.speaks = True

    def say(self, text: object = "") -> None:
        """Print a line, and see to it that it has arrived."""
        if self.error is not None:
            return
        try:
            print(_line(text))
            sys.stdout.flush()
        except OSError as error:
            self.lost(error)

    def lost(self, error: OSError) -> None:
        """Nobody reads any more: Python must not complain at its exit either."""
        self.error = error
        silence()


class Silent(Listener):
    """For the processes of a run that do not speak: the first does."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = False

    def say(self, text: object = "") -> None:
        """Nothing."""


def silence() -> None:
    """Whatever is printed from now on goes nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # a stream without a file
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
