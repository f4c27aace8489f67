"""The exit statuses of the command, and the one place that turns errors into messages."""

from __future__ import annotations

import enum
import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torchbce.cli.shared import output
from torchbce.common.errors import BuildError, InputError, OutputError, RunFolderError
from torchbce.common.signals import Terminated, signals_watched


class ExitCode(enum.IntEnum):
    """The exit statuses of `torchbce`."""

    OK = 0
    BUG = 1  # a traceback: please report it
    USAGE = 2  # an option that does not exist or has a wrong value
    INPUT = 3  # a table that cannot be used
    OUTPUT = 4  # results that cannot be written
    RUN_FOLDER = 5  # a damaged run folder, or a folder that is not one
    CHECK_FAILED = 6  # `torchbce check` found what cannot be in working code
    BUILD = 7  # `torchbce build` has no compiler, or it fails
    INTERRUPTED = 130  # Ctrl-C
    PIPE = 141  # nobody reads the output any more, as after `| head`
    TERMINATED = 143  # SIGTERM, or SIGHUP


@contextmanager
def reported(*, prints: bool = True) -> Iterator[None]:
    """Turn every error that is foreseen into one message on standard error and an exit status.

    prints: the results go to standard output, so the block does not begin without it.
    """
    output.prepare()
    try:
        if prints:
            output.require_stdout()
        with signals_watched():
            yield
            sys.stdout.flush()
    except KeyboardInterrupt as stopped:
        _exit(f"interrupted; {_left_behind(stopped)}", ExitCode.INTERRUPTED)
    except Terminated as stopped:
        _exit(f"terminated; {_left_behind(stopped)}", ExitCode.TERMINATED)
    except BrokenPipeError:
        output.discard_stdout()
        sys.exit(ExitCode.PIPE)
    except RunFolderError as error:
        _exit(str(error), ExitCode.RUN_FOLDER)
    except InputError as error:
        _exit(str(error), ExitCode.INPUT)
    except BuildError as error:
        _exit(str(error), ExitCode.BUILD)
    except OutputError as error:
        _exit(str(error), ExitCode.OUTPUT)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            raise
        output.discard_stdout()
        _exit(f"the output cannot be written: {error.strerror}", ExitCode.OUTPUT)


def _left_behind(stopped: BaseException) -> str:
    """Return what an interrupted command says that it left on disk."""
    return str(stopped) or "nothing was written"


def _exit(message: str, code: ExitCode) -> None:
    for line in f"torchbce: {message}".splitlines():  # a compiler's has several
        output.print_err(line)
    sys.exit(code)
