"""Print what reading decided about a file: its header, its separator, and what of it is none of the table."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from torchbce.cli.shared.output import print_err

READING = "torchbce.io"  # the logger of the rooms that read


class _Lines(logging.Handler):
    """Print each record once, as files are opened several times; of several processes the first prints."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record that is new."""
        from torchbce.common.processes import is_first

        message = record.getMessage()
        if message not in self._printed and is_first():
            print_err(f"torchbce: {message}")
        self._printed.add(message)


@contextlib.contextmanager
def decisions_printed() -> Iterator[None]:
    """Print on standard error what is decided in the block."""
    logger, handler = logging.getLogger(READING), _Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
