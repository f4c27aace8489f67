"""What the command prints: text that a terminal shows and does not obey, in any encoding, while somebody reads it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from torchbce.common.errors import OutputError
from torchbce.common.visible import MESSAGE, shown, visible

LAYOUT = "\n\t"  # the control characters that lay out a text of several lines


class Closed(io.TextIOBase):
    """Stand for a standard output that was closed before the command began."""

    def write(self, text: str) -> int:
        """Raise, as a closed descriptor does."""
        raise OSError(errno.EBADF, "it was closed before the command began")


def prepare() -> None:
    """Make the standard streams safe to write to: none is closed, and no character is an error."""
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


def require_stdout() -> None:
    """Raise before the work if its results could not be printed."""
    if isinstance(sys.stdout, Closed):
        raise OutputError("standard output is closed, and the results go there; open it, as with > FILE")


def warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Format a warning, of a library too, as `warnings.formatwarning` does."""
    return f"torchbce: {category.__name__}: {shown(message, MESSAGE)}\n"


def print_out(text: object = "") -> None:
    """Print to standard output."""
    print(visible(str(text), LAYOUT))


def print_err(text: object) -> None:
    """Print a line to standard error, if it can still be written: a terminal may be gone."""
    with contextlib.suppress(OSError):
        print(_line(text), file=sys.stderr)


def _line(text: object) -> str:
    return shown(text, 2 * MESSAGE)


class Output:
    """Lines on standard output, for as long as somebody reads them: the work goes on without."""

    is_null = False

    def __init__(self) -> None:
        self.error: OSError | None = None  # why nothing can be written any more

    def print(self, text: object = "") -> None:
        """Print a line and flush it."""
        if self.error is not None:
            return
        try:
            print(_line(text))
            sys.stdout.flush()
        except OSError as error:
            self.error = error
            discard_stdout()  # or Python complains at its exit


class NullOutput(Output):
    """Discard the lines: of several processes only the first prints."""

    is_null = True

    def print(self, text: object = "") -> None:
        """Discard the line."""


def discard_stdout() -> None:
    """Discard whatever is printed from now on."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # a stream without a file
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
