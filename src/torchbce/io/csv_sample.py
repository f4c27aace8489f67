"""Find the header of a CSV file in its first lines: which line it is, what separates fields, how many a row has.

A table may stand below a title and notes, its lines may end in separators of empty fields, and R leaves out the name of
the column that holds row names.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass

from torchbce.io.csv_rows import QUOTE, QuoteError, scan_rows, split_fields
from torchbce.io.kinds import MISSING, MISSING_IN_NUMBERS

DELIMITERS = [",", ";", "\t", "|"]
NUMBER = re.compile(r"^[+-]?\(?[$€£¥]?[+-]?(\d[\d.,' ]*|\.\d+)([eE][+-]?\d+)?\s?%?\)?$")
MAX_ABOVE = 40  # rows of a title and notes
MOSTLY = 0.8  # of the rows, which have the same number of fields where the separator is right
NO_VALUE = {*MISSING, *MISSING_IN_NUMBERS}


@dataclass(frozen=True)
class SampleRow:
    """A row that is not blank: its first line from 1, the line after its last, and its fields without spaces around.

    is_quoted: whether it begins with a quote.
    """

    line: int
    end: int
    fields: list[str]
    is_quoted: bool

    @functools.cached_property
    def filled(self) -> int:
        """Return the number of fields that are not empty."""
        return sum(map(bool, self.fields))

    @functools.cached_property
    def width(self) -> int:
        """Return the number of fields without the empty ones at the end."""
        return max((i for i, field in enumerate(self.fields, 1) if field), default=0)


@dataclass(frozen=True)
class Sample:
    """The first rows of a file from its header on.

    rows: those below the header. fields: how many a row has, at most. lacks_first_name: whether the header lacks the
    name of the first column, which holds row names.
    """

    delimiter: str
    header: SampleRow
    rows: list[SampleRow]
    fields: int
    lacks_first_name: bool = False


def find_header(lines: list[str], delimiter: str | None, *, first: int = 0, is_first: bool = False) -> Sample | None:
    """Return where the table begins; None if its first row cannot be split.

    lines: the first of the file, from its start. delimiter: what separates fields; None for what fits best. first: so
    many lines are no part of the table. is_first: the header is the first row after them.
    """
    start = next((line for line in lines[first:] if line.strip()), "")
    usual = delimiter or max(DELIMITERS, key=start.count)
    sample = _sample(lines, usual, first, is_first=is_first)
    if delimiter is not None or (sample is not None and sample.fields > 1 and sample.header.line - 1 <= first):
        return sample
    others = [_sample(lines, other, first, is_first=is_first) for other in DELIMITERS]
    regular = [other for other in others if other is not None and other.fields > 1 and _is_regular(other)]
    return max(regular, key=lambda other: other.fields, default=sample)


def _is_regular(sample: Sample) -> bool:
    return bool(sample.rows) and sum(
        sample.header.width <= len(row.fields) <= sample.fields for row in sample.rows
    ) >= MOSTLY * len(sample.rows)


def _sample(lines: list[str], delimiter: str, first: int, *, is_first: bool) -> Sample | None:
    rows = sample_rows(lines, delimiter, first)
    if not rows:
        return None
    counts = Counter(len(row.fields) for row in rows)
    usual = max(counts, key=lambda fields: (counts[fields], fields))
    most = max(row.filled for row in rows if len(row.fields) == usual)
    position = 0
    if not is_first and not _fits(rows, 0, usual, most):
        position = next((i for i in range(1, min(len(rows), MAX_ABOVE)) if _begins_table(rows, i, usual, most)), 0)
    header, below = rows[position], rows[position + 1 :]
    if _lacks_first_name(header, below, usual):
        return Sample(delimiter, header, below, usual, lacks_first_name=True)
    fields = len(header.fields)
    if below and below[0].width <= fields:  # else that row is too long, which is an error that names it
        fields = max(fields, len(below[0].fields))
    return Sample(delimiter, header, below, fields)


def sample_rows(lines: list[str], delimiter: str, first: int = 0) -> list[SampleRow]:
    """Return the rows of the lines from `first` on that are not blank, as far as their quotes are closed."""
    rows = []
    try:
        for row in scan_rows(lines[first:], delimiter, first + 1):
            text = "".join(lines[row.line - 1 : row.last]).rstrip("\r\n")
            fields = [field.strip() for field in split_fields(text, delimiter)]
            if any(fields):
                rows.append(SampleRow(row.line, row.last, fields, text.startswith(QUOTE)))
    except QuoteError:
        pass  # of the last row, which goes on after these lines; or an error, which reading finds with its row
    return rows


def _fits(rows: list[SampleRow], position: int, usual: int, most: int) -> bool:
    """Return whether a row may be the header of those below, by how many of its fields are filled."""
    row = rows[position]
    if usual == 1 or _lacks_first_name(row, rows[position + 1 :], usual):
        return True
    widths = [other.width for other in rows[position + 1 :]]
    if len(row.fields) < usual and max(widths, default=0) > len(row.fields):
        return False
    if row.width > usual:
        return False
    return 2 * row.filled > most or (row.filled >= most - 1 and not row.fields[0])


def _begins_table(rows: list[SampleRow], position: int, usual: int, most: int) -> bool:
    """Return whether a row is a header below other lines: of names, above a column of numbers or texts."""
    row, above, below = rows[position], rows[:position], rows[position + 1 :]
    names = [field for field in row.fields if field]
    if not below or len(set(names)) < len(names) or not _fits(rows, position, usual, most):
        return False
    is_apart = row.line > above[-1].end + 1
    if not is_apart and any(other.filled >= max(2, usual - 1) for other in above):
        return False  # a header with a name too few, above rows with a field too many
    columns = [[other.fields[i] for other in below if i < len(other.fields)] for i in range(len(row.fields))]
    numeric = [_holds_numbers(column) for column in columns]
    if any(numeric):
        return not any(NUMBER.match(name) and "." in name for name in names) and any(
            is_numeric and name and not NUMBER.match(name) for name, is_numeric in zip(row.fields, numeric, strict=True)
        )
    # Of two columns, the second may be one without a name.
    return (is_apart or usual > 2) and all(other.filled == 1 for other in above)


def _holds_numbers(column: list[str]) -> bool:
    known = [field for field in column if field not in NO_VALUE]
    return bool(known) and sum(NUMBER.match(field) is not None for field in known) >= MOSTLY * len(known)


def _lacks_first_name(header: SampleRow, below: list[SampleRow], usual: int) -> bool:
    """Return whether R left out the name of the column of row names: they are quoted, or count the rows."""
    if len(header.fields) != usual - 1 or header.filled != usual - 1 or not below:
        return False
    if not all(len(row.fields) == usual for row in below) or all(not row.fields[-1] for row in below):
        return False
    first = [row.fields[0] for row in below]
    counts = [str(i) for i in range(1, len(first) + 1)]
    return len(set(first)) == len(first) and (all(row.is_quoted for row in below) or first == counts)
