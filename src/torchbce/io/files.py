"""Tables from CSV, Parquet and Arrow files, read whole, and the errors that name file, row and column.

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

import polars as pl
from polars.exceptions import PanicException

from torchbce.common.errors import InputError, OutputError
from torchbce.common.writing import whole_file
from torchbce.io.csv_rows import QuoteError, fields_of, rows_of
from torchbce.io.folder_keys import key_column, missing_keys
from torchbce.io.kinds import Kinds, simplified, typed
from torchbce.io.opened import Format, Source, opened

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
    """The table in a file, with at least one row; raises `InputError` for anything else.

    `as_text`: columns of a CSV file that are left as they are written.
    """
    with opened(name, format) as source:
        read, digest = read_raw(source)
        frame, kinds = typed(read, source.name, source.format.decimal, as_text or set())
    if not frame.height:
        raise InputError(f"{source.name} has a header and no rows")
    return Table(frame, source.name, kinds, digest)


def read_raw(source: Source) -> tuple[pl.DataFrame, str]:
    """A file's table, of a CSV file all texts, with what its folders hold; and the sha256 of its content."""
    kind = what_it_is(source)
    with source.path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    table = _read_csv(source) if kind == CSV else _read_binary(source, kind)
    if source.keys:
        digest = hashlib.sha256(f"{digest} {source.keys}".encode()).hexdigest()
        keys = missing_keys(source.keys, table.columns)
        table = table.with_columns(key_column(key, value, table.height) for key, value in keys.items())
    return table, digest


def what_it_is(source: Source) -> str:
    """The format of a file, by its first bytes: "csv", "parquet" or "arrow"."""
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
    """Every named column is there; the error lists those that are."""
    have = set(table.columns)
    missing_columns([column for column in names if column not in have], table.columns, name, what)


def missing_columns(missing: list[str], columns: list[str], name: str, what: str) -> None:
    """Raise for columns that are not there, if there are any such."""
    if missing:
        wanted = ", ".join(map(repr, missing))
        have = ", ".join(map(repr, columns[:40])) + (", ..." if len(columns) > 40 else "")
        raise InputError(f"{name}: no column {wanted} ({what}); the columns are {have}")


def write_table(table: pl.DataFrame, path: Path) -> None:
    """CSV, or Parquet where the name ends so; the file appears whole or not at all."""
    with _written(path), whole_file(path) as file:
        if path.suffix.lower() in {".parquet", ".pq"}:
            table.write_parquet(file)
        else:
            table.write_csv(file)


def write_batches(tables: Iterator[pl.DataFrame], path: Path) -> list[str]:
    """Tables below each other, as `write_table` writes one; a CSV file while they come. Returns the columns' names."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        whole = pl.concat(list(tables), how="diagonal")
        write_table(whole, path)
        return whole.columns
    names: list[str] = []
    with _written(path), whole_file(path) as file:
        for i, table in enumerate(tables):
            names = table.columns
            table.write_csv(file, include_header=i == 0)
    return names


def write_bytes(path: Path, content: bytes) -> None:
    """The file appears whole or not at all."""
    with _written(path), whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise OutputError(f"{path} cannot be written: {reason}") from error


@contextlib.contextmanager
def damaged(name: str, kind: str) -> Iterator[None]:
    """Whatever polars makes of a damaged file is one message."""
    try:
        yield
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(f"{name} is a damaged or truncated {kind.title()} file: {first_line(error)}") from error


def _read_binary(source: Source, kind: str) -> pl.DataFrame:
    with damaged(source.name, kind):
        if kind == PARQUET:
            return pl.read_parquet(source.path, glob=False)
        with source.path.open("rb") as file:
            return pl.read_ipc(file)


def _read_csv(source: Source) -> pl.DataFrame:
    header = read_header(source)
    try:
        table = pl.read_csv(
            source.path,
            separator=header.delimiter,
            skip_rows=header.skipped,
            new_columns=header.names,
            null_values=[""],
            infer_schema=False,
            glob=False,
        )
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
    """How a CSV file begins: its columns, what separates them, and lines before them."""

    names: list[str]
    delimiter: str
    skipped: int


def read_header(source: Source) -> Header:
    """The header, once it is known to name every column, each once."""
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
    names = [column.strip() for column in fields_of(text, delimiter)] if text else []
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
    """The first row, which may have several lines."""
    read: list[str] = []
    size = 0

    def heard() -> Iterator[str]:
        for line in lines:
            read.append(line)
            nonlocal size
            size += len(line)
            if size >= MAX_LINE:
                raise InputError(
                    f"{name}: its header has more than {MAX_LINE:,} characters; is its first double quote closed, and "
                    "is it a CSV file?"
                )
            yield line

    next(rows_of(heard(), delimiter), None)
    return "".join(read).rstrip("\r\n")


def check_rows(source: Source, header: Header, *, strictly: bool = False) -> None:
    """Raise for the first row that is not UTF-8 or has another number of fields than the header.

    `strictly`: also for a quote in a field that does not begin with one, which polars may or may not read.
    """
    delimiter, expected = header.delimiter, len(header.names)
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            for _ in range(header.skipped):
                file.readline()
            for row in rows_of(file, delimiter, 1 + header.skipped):
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


def _not_utf8(source: Source, error: UnicodeDecodeError) -> InputError:
    data = source.path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as whole:
        error = whole
    line = data.count(b"\n", 0, error.start) + 1
    likely = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
    return InputError(
        f"{source.name} is not UTF-8: line {line} holds the byte 0x{data[error.start]:02x}; pass its encoding, such as "
        f"--encoding {likely}"
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
    """Of an error's text."""
    return str(error).strip().split("\n")[0]
