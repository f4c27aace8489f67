"""Read whole tables from CSV, Parquet and Arrow files, with errors that name file, row and column.

Row 1 is the first row below the header, here and everywhere else in torchbce.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PanicException

from torchbce.common.errors import InputError, OutputError
from torchbce.common.writing import whole_file
from torchbce.io.csv_rows import QuoteError, scan_rows, split_fields
from torchbce.io.folder_keys import key_column, missing_keys
from torchbce.io.kinds import Kinds, simplified, typed
from torchbce.io.source import Format, SourceFile, open_source

CSV, PARQUET, ARROW = "csv", "parquet", "arrow"
MAX_LINE = 1 << 26  # characters of a header: a million columns with long names
DELIMITERS = [",", ";", "\t", "|"]
DECIMAL_NUMBER = re.compile(r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$|^-\d+$")
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
    with source.path.open("rb") as file:
        head = file.read(20)
    if not head:
        raise InputError(f"{source.name} is empty; expected a header line and rows")
    if head[:4] == b"PAR1":
        return PARQUET
    if head[:6] == b"ARROW1":
        return ARROW
    if head[:2] == b"PK":
        raise InputError(f"{source.name} is a zip archive, no table; unpack it")
    if head.startswith(b"torchbce sketch"):
        raise InputError(f"{source.name} is what explain --save wrote; it is read by explain --merge")
    if Path(source.name).suffix.lower() in {".parquet", ".pq"}:
        raise InputError(f"{source.name} is not a Parquet file: it does not begin with the bytes PAR1")
    return CSV


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
            return pl.read_parquet(source.path, glob=False)
        with source.path.open("rb") as file:
            return pl.read_ipc(file)


def _read_csv(source: SourceFile) -> pl.DataFrame:
    header = read_header(source)
    try:
        table = pl.read_csv(source.path, **header.options)
    except READ_ERRORS as error:
        check_rows(source, header, strictly=True)
        raise InputError(f"{source.name} cannot be read as CSV: {first_line(error)}") from error
    table = table.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
    # polars fills a short row with missing values; only a file whose last column has some can hold one.
    if table.height and table[:, -1].null_count():
        check_rows(source, header)
    return table


@dataclass(frozen=True)
class Header:
    """The start of a CSV file: its columns, what separates them, and how many lines stand before them."""

    names: list[str]
    delimiter: str
    skipped: int

    @property
    def options(self) -> dict[str, Any]:
        """Return polars' arguments by which the rows are read as texts."""
        return {
            "separator": self.delimiter,
            "skip_rows": self.skipped,
            "new_columns": self.names,
            "null_values": [""],
            "infer_schema": False,
            "glob": False,
        }


def read_header(source: SourceFile) -> Header:
    """Read the header of a CSV file.

    Raises:
        InputError: a column has no name or that of another, or this is no CSV file in UTF-8.
    """
    name, skipped = source.name, 0
    with source.path.open(encoding="utf-8-sig", newline="") as file:
        try:
            first = file.readline(MAX_LINE)
            delimiter = source.format.delimiter
            if first.lower().startswith("sep=") and len(first.strip()) == 5:  # what Excel writes and reads
                delimiter, skipped, first = delimiter or first[4], 1, file.readline(MAX_LINE)
            delimiter = delimiter or max(DELIMITERS, key=first.count)
            if first.endswith("\r"):
                raise InputError(
                    f"{name}: its lines end with a bare carriage return; convert it, for example with: tr '\\r' '\\n'"
                )
            if "\0" in first:
                raise InputError(f"{name} is not a CSV file: its first line holds a zero byte; expected CSV or Parquet")
            text = _header_text(chain([first], file), delimiter, name)
        except UnicodeDecodeError as error:
            raise _not_utf8(source, error) from error
        except QuoteError as error:
            raise InputError(f"{name}: {error}") from error
    names = [column.strip() for column in split_fields(text, delimiter)] if text else []
    numbers = [column for column in names if DECIMAL_NUMBER.match(column)]
    if numbers:
        raise InputError(
            f"{name}: its first line holds numbers such as {numbers[0]!r}, so it looks like a row and not like a "
            "header; put a line with the columns' names before it"
        )
    positions: dict[str, int] = {}
    for position, column in enumerate(names, 1):
        if not column:
            raise InputError(
                f"{name}: column {position} has no name in the header; give it one, or, if it is the index that pandas "
                "wrote, write the file with index=False"
            )
        first_position = positions.setdefault(column, position)
        if first_position < position:
            hint = "; or is the first line a row, and the header missing?" if column.isdigit() else ""
            raise InputError(
                f"{name}: columns {first_position} and {position} are both named {column!r}; rename one{hint}"
            )
    return Header(names, delimiter, skipped)


def _header_text(lines: Iterable[str], delimiter: str, name: str) -> str:
    """Return the first row, which may have several lines."""
    header: list[str] = []
    size = 0

    def header_lines() -> Iterator[str]:
        for line in lines:
            header.append(line)
            nonlocal size
            size += len(line)
            if size >= MAX_LINE:
                raise InputError(
                    f"{name}: its header has more than {MAX_LINE:,} characters; is its first double quote closed, and "
                    "is it a CSV file?"
                )
            yield line

    next(scan_rows(header_lines(), delimiter), None)
    return "".join(header).rstrip("\r\n")


def check_rows(source: SourceFile, header: Header, *, strictly: bool = False) -> None:
    """Raise for the first row that is not UTF-8 or has another number of fields than the header.

    strictly: also for a quote in a field that does not begin with one, which polars may or may not read.
    """
    delimiter, expected = header.delimiter, len(header.names)
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            for _ in range(header.skipped):
                file.readline()
            for row in scan_rows(file, delimiter, 1 + header.skipped):
                if row.fields != expected:
                    quoted = (
                        f", as a double quote in it is closed only in line {row.last}" if row.last > row.line else ""
                    )
                    raise InputError(
                        f"{source.name}: row {row.number} (line {row.line}) has {row.fields} fields{quoted}, the "
                        f"header has {expected}; a field that contains {delimiter!r} must be written in double quotes, "
                        "and every quote closed"
                    )
                if strictly and row.is_stray:
                    raise InputError(
                        f"{source.name}: row {row.number} (line {row.line}) has a double quote within a field that "
                        "does not begin with one; write it twice, and put the field in double quotes"
                    )
    except UnicodeDecodeError as error:
        raise _not_utf8(source, error) from error
    except QuoteError as error:
        raise InputError(f"{source.name}: {error}") from error


def _not_utf8(source: SourceFile, error: UnicodeDecodeError) -> InputError:
    """Return the error that names the first byte that is not UTF-8, and an encoding to try."""
    data = source.path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as first:  # whose position counts from the start of the file, not of a chunk
        error = first
    line = data.count(b"\n", 0, error.start) + 1
    likely = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
    return InputError(
        f"{source.name} is not UTF-8: line {line} holds the byte 0x{data[error.start]:02x}; pass its encoding, such as "
        f"--encoding {likely}"
    )


class PartName(str):
    """The name of a file, some rows of which are in a table: `first` is the number of the table's first row."""

    first = 1


def part_name(name: str, first: int) -> PartName:
    found = PartName(name)
    found.first = first
    return found


def row_number(name: str, position: int) -> int:
    """In its file, of a row in a table."""
    return position + getattr(name, "first", 1)


def column_of(table: pl.DataFrame, column: str, name: str) -> pl.Series:
    """Return a column as numbers, texts, dates or true/false."""
    return simplified(table[column], f"{name}: column {column!r}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().split("\n")[0]
