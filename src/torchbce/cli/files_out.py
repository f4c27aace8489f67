"""Files that commands make: none of those that they read, and a clear message where one cannot be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer

from torchbce.common.errors import OutputError
from torchbce.common.writing import is_same_file


def check_not_read(made: Mapping[str, Path | None], read: list[str]) -> None:
    """No option names one of the files that are read."""
    for flag, path in made.items():
        if path is not None and any(is_same_file(path, Path(name)) for name in read):
            raise typer.BadParameter(f"{flag} {path} is one of the files that are read; name another")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """While this file is written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
