"""Read the header of a CSV file: its columns, and what of the file is none of the table."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import polars as pl

from torchbce.common.errors import InputError
from torchbce.common.text import counted
from torchbce.io.csv_encoding import not_utf8
from torchbce.io.csv_rows import QuoteError, scan_rows
from torchbce.io.csv_sample import DELIMITERS, Sample, find_header
from torchbce.io.csv_tail import Tail, find_tail
from torchbce.io.row_names import ROW_NAMES
from torchbce.io.source import SourceFile

LOG = logging.getLogger(__name__)
MAX_LINE = 1 << 26  # characters of a header: a million columns with long names
SAMPLE_ROWS, SAMPLE_CHARACTERS = 100, 1 << 18  # below the first line, by which the table is known
DECIMAL_NUMBER = re.compile(r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$|^-\d+$")
UNNAMED = "Unnamed: {}"  # pandas' name of a column without one, by its place from 0
SEPARATORS = {"\t": "tab", " ": "space"}


@dataclass(frozen=True)
class Header:
    """The start and the end of a CSV file around its rows.

    names: of all fields, those without a name included. line: of the header, from 1. first: the line of the first row.
    fewest: fields of a row. is_exact: whether the header has as many fields as polars finds in a row. row_names, empty:
    columns that are none of the table, and of these those that are to be empty.
    """

    names: list[str]
    delimiter: str
    line: int
    first: int
    fewest: int
    is_exact: bool
    row_names: list[str]
    empty: list[str]
    tail: Tail
    na: tuple[str, ...] = ()

    @property
    def skipped(self) -> int:
        """Return how many lines stand before the header."""
        return self.line - 1

    @property
    def columns(self) -> list[str]:
        """Return the names of the table's columns."""
        left_out = {*self.row_names, *self.empty}
        return [name for name in self.names if name not in left_out]

    @property
    def unnamed_values(self) -> pl.Expr:
        """Return what a row holds in columns that are to be empty: the first text, or null."""
        positions = {name: position for position, name in enumerate(self.names)}
        return pl.coalesce([pl.nth(positions[name]) for name in self.empty])

    @property
    def options(self) -> dict[str, Any]:
        """Return polars' arguments by which the rows are read as texts."""
        return {
            "separator": self.delimiter,
            "has_header": self.is_exact,
            "skip_lines": self.skipped if self.is_exact else self.first - 1,
            "new_columns": self.names,
            "null_values": ["", *self.na],
            "infer_schema": False,
            "glob": False,
        }


def read_header(source: SourceFile) -> Header:
    """Read the header of a CSV file, and log what was decided about it.

    Raises:
        InputError: a column has no name or that of another, or this is no CSV file in UTF-8.
    """
    name, format = source.name, source.format
    sample, states_separator = _sample_of(source)
    fields, lacks_first = sample.header.fields, sample.lacks_first_name
    names = [""] * lacks_first + fields + [""] * (sample.fields - len(fields) - lacks_first)
    if names[0] or not any(row.fields[0] for row in sample.rows):
        _refuse_numbers(names, name)  # else these are the names of a table with row names, such as R's
    nameless = {i for i, column in enumerate(names) if not column}
    names = _named(names)
    _refuse_repeats(names, name)
    keep = set(names) if format.as_is else set(format.named)
    row_names, empty = _left_out(names, nameless, sample, keep, name)
    header = Header(
        names=names,
        delimiter=sample.delimiter,
        line=sample.header.line,
        first=sample.rows[0].line if sample.rows else sample.header.end + 1,
        fewest=max(1, sample.header.width) + lacks_first,
        is_exact=len(fields) == len(names),
        row_names=row_names,
        empty=empty,
        tail=Tail() if format.as_is else find_tail(source.path, sample),
        na=format.na,
    )
    if not header.columns:
        raise InputError(f"{name}: its only column has no name in the header; give it one, or pass --as-is")
    _log_decisions(header, source, states_separator=states_separator)
    return header


def _sample_of(source: SourceFile) -> tuple[Sample, bool]:
    """Return the first rows, and whether the first line states the separator, as Excel writes and reads it."""
    name, format = source.name, source.format
    start = format.skip_rows or 0
    try:
        lines = _first_lines(source, start)
        first = lines[start] if len(lines) > start else ""
        states_separator = not start and first.lower().startswith("sep=") and len(first.strip()) == 5
        delimiter = format.delimiter or (first[4] if states_separator else None)
        start += states_separator
        _refuse_first_line(lines[start] if len(lines) > start else "", name)
        if not any(map(str.strip, lines[start:])):
            above = f" below line {start}" if start else ""
            raise InputError(
                f"{name}: there is no line{above} with the columns' names" + " (--skip-rows)" * bool(start)
            )
        sample = find_header(lines, delimiter, first=start, is_first=format.skip_rows is not None)
        if sample is None:  # the header goes on below, or its quotes are wrong
            end = _header_end(source, start, delimiter or max(DELIMITERS, key=lines[start].count))
            sample = find_header(
                _first_lines(source, end), delimiter, first=start, is_first=format.skip_rows is not None
            )
    except UnicodeDecodeError as error:
        raise not_utf8(source, error) from error
    except QuoteError as error:
        raise InputError(f"{name}: {error}") from error
    if sample is None:
        raise InputError(_no_names(name, start))
    return sample, states_separator


def _no_names(name: str, start: int) -> str:
    above = f" below line {start} (--skip-rows)" if start else ""
    return f"{name}: there is no line with the columns' names{above}"


def _first_lines(source: SourceFile, least: int) -> list[str]:
    """Return `least` lines and some below."""
    lines: list[str] = []
    size = 0
    with source.path.open(encoding="utf-8-sig", newline="") as file:
        while line := file.readline(MAX_LINE):
            if len(line) >= MAX_LINE and len(lines) > least:
                break
            lines.append(line)
            size += len(line) * (len(lines) > least)
            if len(lines) > least + 1 and (len(lines) > least + SAMPLE_ROWS or size > SAMPLE_CHARACTERS):
                break
    return lines


def _header_end(source: SourceFile, start: int, delimiter: str) -> int:
    """Return the last line of a header that begins below `start` and may have several lines.

    Raises:
        QuoteError: it has a quote that is not closed, or text after one.
        InputError: it is too long.
    """
    size = 0

    def lines(file: Iterable[str]) -> Iterator[str]:
        nonlocal size
        for line in islice(file, start, None):
            size += len(line)
            if size >= MAX_LINE:
                raise InputError(
                    f"{source.name}: its header has more than {MAX_LINE:,} characters; is its first double quote "
                    "closed, and is it a CSV file?"
                )
            yield line

    with source.path.open(encoding="utf-8-sig", newline="") as file:
        return next(scan_rows(lines(file), delimiter, start + 1)).last


def _refuse_first_line(line: str, name: str) -> None:
    if line.endswith("\r"):
        raise InputError(
            f"{name}: its lines end with a bare carriage return; convert it, for example with: tr '\\r' '\\n'"
        )
    if "\0" in line:
        raise InputError(f"{name} is not a CSV file: its first line holds a zero byte; expected CSV or Parquet")


def _refuse_numbers(names: list[str], name: str) -> None:
    numbers = [column for column in names if DECIMAL_NUMBER.match(column)]
    if numbers:
        raise InputError(
            f"{name}: its first line holds numbers such as {numbers[0]!r}, so it looks like a row and not like a "
            "header; put a line with the columns' names before it"
        )


def _refuse_repeats(names: list[str], name: str) -> None:
    positions: dict[str, int] = {}
    for position, column in enumerate(names, 1):
        first_position = positions.setdefault(column, position)
        if first_position < position:
            hint = "; or is the first line a row, and the header missing?" if column.isdigit() else ""
            raise InputError(
                f"{name}: columns {first_position} and {position} are both named {column!r}; rename one{hint}"
            )


def _named(names: list[str]) -> list[str]:
    """Return the names, with one for each column that has none."""
    taken = set(names)
    return [column or _free(UNNAMED.format(i), taken) for i, column in enumerate(names)]


def _free(name: str, taken: set[str]) -> str:
    return next(free for free in chain([name], (f"{name}.{i}" for i in count(1))) if free not in taken)


def _left_out(
    names: list[str], nameless: set[int], sample: Sample, keep: set[str], name: str
) -> tuple[list[str], list[str]]:
    """Return the columns of row names, and those that have no name and no values in the sample.

    Raises:
        InputError: a column has values and no name.
    """
    row_names: list[str] = []
    empty: list[str] = []
    for i, column in enumerate(names):
        if column in keep:
            continue
        is_nameless = i in nameless
        if is_nameless and not any(i < len(row.fields) and row.fields[i] for row in sample.rows):
            empty.append(column)
        elif i == len(row_names) and ((is_nameless and not i) or (i + 1 < len(names) and ROW_NAMES.match(column))):
            row_names.append(column)
        elif is_nameless:
            raise InputError(
                f"{name}: column {i + 1} has no name in the header; give it one, or pass --as-is, by which it is "
                f"called {column!r}"
            )
    return row_names, empty


def _log_decisions(header: Header, source: SourceFile, *, states_separator: bool) -> None:
    """Log in one line what was seen in the file and not said by its user, and which options say it."""
    said, tail = [], header.tail
    if header.line > 1 + states_separator and source.format.skip_rows is None:
        said.append(f"header in line {header.line} (--skip-rows)")
    if header.delimiter != "," and source.format.delimiter is None and not states_separator:
        said.append(f"fields separated by {SEPARATORS.get(header.delimiter, repr(header.delimiter))} (--delimiter)")
    left_out = [f"row names in column {i + 1}" for i in range(len(header.row_names))]
    if header.empty:
        left_out.append(f"{counted(len(header.empty), 'empty column')} without a name")
    left_out += ["a row of totals at the end"] * bool(tail.totals)
    left_out += [f"{counted(tail.notes, 'line')} below the table"] * bool(tail.notes)
    if left_out:
        said.append(f"left out: {', '.join(left_out)} (kept by --as-is)")
    if said:
        LOG.info("%s: %s", source.name, "; ".join(said))
