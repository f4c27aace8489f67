"""What the command's exit status says, and the one place that turns errors into messages."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torchbce.errors import InputError, OutputError, RunFolderError


class ExitCode(enum.IntEnum):
    """The exit statuses of `torchbce`."""

    OK = 0
    BUG = 1  # a traceback: please report it
    USAGE = 2  # an option that does not exist or has a wrong value
    INPUT = 3  # a table that cannot be used
    OUTPUT = 4  # results that cannot be written
    RUN_FOLDER = 5  # a run folder that is damaged or is none
    CHECK_FAILED = 6  # `torchbce check` found what cannot be in working code
    INTERRUPTED = 130  # Ctrl-C


@contextmanager
def reported() -> Iterator[None]:
    """One clear message on standard error and an exit status, instead of a traceback, for everything foreseen."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("interrupted; nothing was written", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except RunFolderError as error:
        _leave(str(error), ExitCode.RUN_FOLDER)
    except InputError as error:
        _leave(str(error), ExitCode.INPUT)
    except OutputError as error:
        _leave(str(error), ExitCode.OUTPUT)


def _leave(message: str, code: ExitCode) -> None:
    print(f"torchbce: {message}", file=sys.stderr)
    sys.exit(code)
