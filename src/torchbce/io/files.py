"""Read whole tables from CSV, Parquet and Arrow files, with errors that name file, row and column.

Row 1 is the first row below the header, here and everywhere else in torchbce.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars import selectors
from polars.exceptions import PanicException

from torchbce.common.errors import InputError, OutputError
from torchbce.common.writing import whole_file
from torchbce.io.csv_checks import check_rows
from torchbce.io.csv_header import Header, read_header
from torchbce.io.folder_keys import key_column, missing_keys
from torchbce.io.kinds import Kinds, simplified, typed
from torchbce.io.row_names import stored_row_names
from torchbce.io.signatures import CSV, PARQUET, REMEDIES, kind_of
from torchbce.io.source import Format, SourceFile, open_source

READ_ERRORS = (pl.exceptions.PolarsError, PanicException, OSError, ValueError, OverflowError)


@dataclass(frozen=True)
class Table:
    """A table in memory, and how its texts were read."""

    frame: pl.DataFrame
    name: str
    kinds: Kinds
    digest: str  # sha256 of the file's content


def read_table(name: str, format: Format | None = None, as_text: set[str] | None = None) -> Table:
    """Read the table in a file.

    as_text: columns of a CSV file that are left as they are written.

    Raises:
        InputError: it cannot be read, or has no rows.
    """
    with open_source(name, format) as source:
        raw, digest = read_raw(source)
        frame, kinds = typed(raw, source.name, source.format.decimal, as_text or set())
    if not frame.height:
        raise InputError(f"{source.name} has a header and no rows")
    return Table(frame, source.name, kinds, digest)


def read_raw(source: SourceFile) -> tuple[pl.DataFrame, str]:
    """Read a file's table with the columns of its folders' names, of a CSV file as texts; and the sha256 of it."""
    kind = file_format(source)
    with source.path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    table = _read_csv(source) if kind == CSV else _read_binary(source, kind)
    if source.keys:
        digest = hashlib.sha256(f"{digest} {source.keys}".encode()).hexdigest()
        keys = missing_keys(source.keys, table.columns)
        table = table.with_columns(key_column(key, value, table.height) for key, value in keys.items())
    return table, digest


def file_format(source: SourceFile) -> str:
    """Return "csv", "parquet" or "arrow", by a file's first bytes.

    Raises:
        InputError: it is empty, or none of these.
    """
    kind = kind_of(source.path, source.name)
    if kind in REMEDIES:
        what, remedy = REMEDIES[kind]
        raise InputError(f"{source.name} is {what}; {remedy}")
    if kind == CSV and Path(source.name).suffix.lower() in {".parquet", ".pq"}:
        raise InputError(f"{source.name} is not a Parquet file: it does not begin with the bytes PAR1")
    return kind


def require_columns(table: pl.DataFrame, names: list[str], name: str, what: str) -> None:
    """Raise for named columns that a table lacks; the error lists those that it has."""
    own = set(table.columns)
    refuse_missing_columns([column for column in names if column not in own], table.columns, name, what)


def refuse_missing_columns(missing: list[str], columns: list[str], name: str, what: str) -> None:
    """Raise for columns that are not there, if there are any; `what` says which options name them."""
    if missing:
        lacking = ", ".join(map(repr, missing))
        known = ", ".join(map(repr, columns[:40])) + (", ..." if len(columns) > 40 else "")
        raise InputError(f"{name}: no column {lacking} ({what}); the columns are {known}")


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write CSV, or Parquet where the name ends so; the file appears whole or not at all."""
    with _translate_write_errors(path), whole_file(path) as file:
        if path.suffix.lower() in {".parquet", ".pq"}:
            table.write_parquet(file)
        else:
            table.write_csv(file)


def write_batches(tables: Iterator[pl.DataFrame], path: Path) -> list[str]:
    """Write batches of one table, a CSV file while they come, and return the columns' names; see `write_table`."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        whole = pl.concat(list(tables), how="diagonal")
        write_table(whole, path)
        return whole.columns
    names: list[str] = []
    with _translate_write_errors(path), whole_file(path) as file:
        for i, table in enumerate(tables):
            names = table.columns
            table.write_csv(file, include_header=i == 0)
    return names


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all."""
    with _translate_write_errors(path), whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def _translate_write_errors(path: Path) -> Iterator[None]:
    """Turn the errors of writing a file into one message."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise OutputError(f"{path} cannot be written: {reason}") from error


@contextlib.contextmanager
def translate_read_errors(name: str, kind: str) -> Iterator[None]:
    """Turn whatever polars raises for a damaged file into one message."""
    try:
        yield
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(f"{name} is a damaged or truncated {kind.title()} file: {first_line(error)}") from error


def _read_binary(source: SourceFile, kind: str) -> pl.DataFrame:
    with translate_read_errors(source.name, kind):
        if kind == PARQUET:
            table = pl.read_parquet(source.path, glob=False)
        else:
            with source.path.open("rb") as file:
                table = pl.read_ipc(file)
    return table.drop(stored_row_names(table.columns, source))


def _read_csv(source: SourceFile) -> pl.DataFrame:
    header = read_header(source)
    try:
        table = pl.read_csv(source.path, **header.options)
    except READ_ERRORS as error:
        check_rows(source, header, strictly=True)
        raise InputError(f"{source.name} cannot be read as CSV: {first_line(error)}") from error
    table = table.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
    table = table.head(max(0, table.height - header.tail.rows))
    # polars fills a short row with missing values; only a file whose last column has some can hold one.
    if table.height and table[:, header.fewest - 1].null_count():
        check_rows(source, header)
    if header.empty:
        refuse_filled(table.select(header.unnamed_values).to_series(), header, 1, source.name)
    return table.select(selectors.by_name(header.columns))


def refuse_filled(values: pl.Series, header: Header, first: int, name: str) -> None:
    """Raise if a row, the first of which has the number `first`, holds something in a column without a name."""
    if values.null_count() < len(values):
        row = int(values.is_not_null().arg_max() or 0)
        raise InputError(
            f"{name}: row {first + row} holds {values[row]!r} in a column that has no name in the header, where the "
            f"rows before have nothing; give the column a name, or pass --as-is, by which it gets one, such as "
            f"{header.empty[0]!r}"
        )


@dataclass(frozen=True)
class FileRows:
    """Where the rows of a table stand, for messages: in which file, and the number of the first."""

    file: str
    first: int = 1

    def __str__(self) -> str:
        return f"{self.file}"

    def number(self, position: int) -> int:
        """Return the number in the file of a row of the table."""
        return self.first + position

    def row(self, position: int) -> str:
        """Return how a message names a row of the table: by its file and its number."""
        return f"{self.file}: row {self.number(position)}"


def column_of(table: pl.DataFrame, column: str, rows: FileRows) -> pl.Series:
    """Return a column as numbers, texts, dates or true/false."""
    return simplified(table[column], f"{rows}: column {column!r}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().split("\n")[0]
