"""Tables from CSV and Parquet files, read whole, and the errors that name file, row and column.

Row 1 is the first row below the header, here and everywhere else in torchbce.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl

from torchbce.errors import InputError, OutputError

MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?"]  # what counts as a missing value in a CSV file
CSV = "csv"
DELIMITERS = [",", ";", "\t", "|"]


def read_table(path: Path) -> pl.DataFrame:
    """The table in a CSV, Parquet or Arrow file, with at least one row; raises `InputError` for anything else."""
    kind = what_it_is(path, str(path))
    table = _read_csv(path) if kind == CSV else _read_binary(path, kind)
    if not table.height:
        raise InputError(f"{path} has a header and no rows")
    return table


def what_it_is(path: Path, name: str) -> str:
    """The format of a file, by its first bytes: "csv", "parquet" or "arrow"."""
    if not path.exists():
        raise InputError(f"{name}: no such file{_neighbours(path)}")
    if path.is_dir():
        raise InputError(f"{name} is a folder; name a CSV or Parquet file in it")
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{name} is empty; expected a header line and rows")
    if head[:4] == b"PAR1":
        return "parquet"
    if head == b"ARROW1":
        return "arrow"
    if head[:2] == b"\x1f\x8b":
        raise InputError(f"{name} is compressed by gzip; unpack it, or write: gzip -dc {name} | torchbce explain - ...")
    if head[:2] == b"PK":
        raise InputError(f"{name} is a zip archive, no table; what explain --save wrote is read by explain --merge")
    if path.suffix.lower() in {".parquet", ".pq"}:
        raise InputError(f"{name} is not a Parquet file: it does not begin with the bytes PAR1")
    return CSV


def require_columns(table: pl.DataFrame, names: list[str], path: Path, what: str) -> None:
    """Every named column is there; the error lists those that are."""
    missing_columns([name for name in names if name not in table.columns], table.columns, str(path), what)


def missing_columns(missing: list[str], columns: list[str], name: str, what: str) -> None:
    """Raise for columns that are not there, if there are any such."""
    if missing:
        wanted = ", ".join(map(repr, missing))
        have = ", ".join(map(repr, columns[:40])) + (", ..." if len(columns) > 40 else "")
        raise InputError(f"{name}: no column {wanted} ({what}); the columns are {have}")


def write_table(table: pl.DataFrame, path: Path) -> None:
    """CSV, or Parquet where the name ends so; the file appears whole or not at all."""
    _write(path, table.write_parquet if path.suffix.lower() in {".parquet", ".pq"} else table.write_csv)


def write_bytes(path: Path, content: bytes) -> None:
    """The file appears whole or not at all."""
    _write(path, lambda draft: draft.write_bytes(content))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    try:
        write(draft)
        draft.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OutputError(f"{path} cannot be written: {first_line(error)}") from error
    finally:
        draft.unlink(missing_ok=True)


def _read_binary(path: Path, kind: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(path) if kind == "parquet" else pl.read_ipc(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is a damaged or truncated {kind.title()} file: {first_line(error)}") from error


def _read_csv(path: Path) -> pl.DataFrame:
    delimiter = check_header(path, str(path))
    try:
        table = pl.read_csv(
            path,
            separator=delimiter,
            null_values=MISSING,
            infer_schema_length=None,  # look at every row before choosing a column's type
            try_parse_dates=True,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        check_rows(path, delimiter, str(path))
        raise InputError(f"{path} cannot be read as CSV: {first_line(error)}") from error
    table = table.rename({name: name.strip() for name in table.columns if name != name.strip()})
    table = table.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
    # polars fills a short row with missing values; only a file whose last column has some can hold one.
    if table.height and table[:, -1].null_count():
        check_rows(path, delimiter, str(path))
    return table


def check_header(path: Path, file_name: str) -> str:
    """The delimiter, once the header is known to name every column, each once."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            first = file.readline()
        except UnicodeDecodeError as error:
            raise _not_utf8(path, file_name, error) from error
    if first.endswith("\r"):
        raise InputError(
            f"{file_name}: its lines end with a bare carriage return; convert it, for example with: tr '\\r' '\\n'"
        )
    if "\0" in first:
        raise InputError(f"{file_name} is not a CSV file: its first line holds a zero byte; expected CSV or Parquet")
    delimiter = max(DELIMITERS, key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    for position, name in enumerate(names, 1):
        if not name:
            raise InputError(f"{file_name}: column {position} has no name in the header; give it one")
        if name in names[: position - 1]:
            first_position = names.index(name) + 1
            raise InputError(
                f"{file_name}: columns {first_position} and {position} are both named {name!r}; rename one"
            )
    return delimiter


def check_rows(path: Path, delimiter: str, name: str) -> None:
    """Raise for the first row that is not UTF-8 or has another number of fields than the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            expected = len(next(rows))
            number = 0
            for fields in rows:
                if not fields:
                    continue  # a blank line
                number += 1
                if len(fields) != expected:
                    raise InputError(
                        f"{name}: row {number} (line {rows.line_num}) has {len(fields)} fields, the header has "
                        f"{expected}; a field that contains {delimiter!r} must be written in double quotes, and "
                        "every quote closed"
                    )
    except UnicodeDecodeError as error:
        raise _not_utf8(path, name, error) from error
    except csv.Error as error:
        raise InputError(f"{name}: row {number + 1} cannot be read as CSV: {error}") from error


def _not_utf8(path: Path, name: str, error: UnicodeDecodeError) -> InputError:
    data = path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as whole:
        error = whole
    line = data.count(b"\n", 0, error.start) + 1
    likely = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
    return InputError(
        f"{name} is not UTF-8: line {line} holds the byte 0x{data[error.start]:02x}; "
        f"convert it, for example with: iconv -f {likely} -t utf-8 {path.name} > utf8.csv"
    )


def _neighbours(path: Path) -> str:
    """Files with a similar name, for a mistyped one."""
    import difflib

    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
