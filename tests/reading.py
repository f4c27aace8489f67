"""Read a file whole and in batches, which must give the same table or the same error, and keep what reading logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from torchbce import InputError
from torchbce.io.files import read_table
from torchbce.io.kinds import typed
from torchbce.io.scan import column_names, read_batches
from torchbce.io.source import Format, open_source


def read_both_ways(path: Path | str, **format) -> pl.DataFrame:
    """Return the table.

    Raises:
        InputError: both ways raise this one.
    """
    how = Format(**format)
    whole, batched = _outcome(_whole, str(path), how), _outcome(_in_batches, str(path), how)
    if isinstance(whole, InputError):
        assert str(batched) == str(whole)
        raise whole
    assert isinstance(batched, pl.DataFrame), batched
    assert batched.equals(whole), (batched, whole)
    return whole


def _outcome(read, path: str, how: Format) -> pl.DataFrame | InputError:
    try:
        return read(path, how)
    except InputError as error:
        return error


def _whole(path: str, how: Format) -> pl.DataFrame:
    return read_table(path, how).frame


def _in_batches(path: str, how: Format) -> pl.DataFrame:
    with open_source(path, how) as source:
        parts = [part for _, part in read_batches(source, column_names(source), "", rows=7)]
        if not sum(map(len, parts)):
            raise InputError(f"{source.name} has a header and no rows")
        return typed(pl.concat(parts), source.name, how.decimal, set())[0]


@contextmanager
def logged_lines() -> Iterator[list[str]]:
    """Yield the lines that reading logs, each once."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record):
            if record.getMessage() not in lines:
                lines.append(record.getMessage())

    logger, handler = logging.getLogger("torchbce.io"), Keep()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
