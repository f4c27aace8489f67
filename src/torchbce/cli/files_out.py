"""Files that commands make: none of those that they read, and a clear message where one cannot be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer

from torchbce.common.errors import OutputError
from torchbce.common.processes import rank_and_size
from torchbce.common.writing import is_same_file, obstacle


def check_made(made: Mapping[str, Path | None], read: list[str]) -> None:
    """Before the work: the file that each option names is none of those that are read, and nothing is in its way.

    Raises:
        OutputError: it cannot be written.
    """
    for option, path in made.items():
        if path is None:
            continue
        if any(is_same_file(path, Path(name)) for name in read):
            raise typer.BadParameter(f"{option} {path} is one of the files that are read; name another")
        why = None if rank_and_size()[0] else obstacle(path)  # the first of several processes writes
        if why is not None:
            raise OutputError(f"{path} cannot be written: {why}; name another file with {option}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """While this file is written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
