"""Scan the rows of a CSV file line by line: the number of fields of each, and quotes that are never closed.

As RFC 4180 says, a field that begins with a quote ends with the next that is not doubled, and may hold lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

QUOTE = '"'
MAX_SHOWN = 20  # characters of what should not be there


class QuoteError(ValueError):
    """Raised for a quoted field that never ends, or that goes on after its end; the message says where."""


@dataclass(frozen=True)
class Row:
    """A row that is not blank: its number (0 for the header), its first and last line, and how many fields it has.

    is_stray: whether a field that does not begin with a double quote holds one.
    """

    number: int
    line: int
    last: int
    fields: int
    is_stray: bool


def scan_rows(lines: Iterable[str], delimiter: str, first: int = 1) -> Iterator[Row]:
    """Yield the rows in these lines, which are counted from `first`; no line is kept.

    Raises:
        QuoteError: the last row has a quote that is not closed, or a row has text after a closing quote.
    """
    number, begun, fields, is_open, is_stray = -1, 0, 0, False, False
    for line, content in enumerate(lines, first):
        text = content.rstrip("\r\n")
        if not is_open:
            if not text and number >= 0:
                continue
            number, begun, fields, is_stray = number + 1, line, 0, False
        if is_open or QUOTE in text:
            try:
                ended, is_open, strays = _scan_line(text, delimiter, is_open=is_open)
            except QuoteError as error:
                where = f" in line {line}" if line > begun else ""
                raise QuoteError(f"{_row_name(number, begun)}: {error}{where}") from error
            fields, is_stray = fields + ended, is_stray or strays
        else:
            fields = text.count(delimiter) + 1
        if not is_open:
            yield Row(number, begun, line, fields, is_stray)
    if is_open:
        raise QuoteError(
            f"{_row_name(number, begun)}: field {fields + 1} begins with a double quote that is never closed; close "
            "it, or, if it is a part of the text, write it twice and put the whole field in double quotes"
        )


def _row_name(number: int, line: int) -> str:
    return f"row {number} (line {line})" if number else f"the header (line {line})"


def _scan_line(text: str, delimiter: str, *, is_open: bool) -> tuple[int, bool, bool]:
    """Return how many fields end in a line, whether a quoted one goes on after it, and whether a quote is astray."""
    start, fields, is_stray = 0, 0, False
    while True:
        if is_open or text.startswith(QUOTE, start):
            start = _end_of_quoted(text, start if is_open else start + 1)
            if start < 0:
                return fields, True, is_stray
            is_open = False
            if start < len(text) and not text.startswith(delimiter, start):
                raise QuoteError(
                    f"a double quote within a field in double quotes is written twice, and after those of field "
                    f"{fields + 1} stands {text[start : start + MAX_SHOWN]!r}"
                )
        end = text.find(delimiter, start)
        is_stray |= text.find(QUOTE, start, len(text) if end < 0 else end) >= 0
        fields += 1
        if end < 0:
            return fields, False, is_stray
        start = end + 1


def _end_of_quoted(text: str, start: int) -> int:
    """Return where a quoted field ends whose text goes on at `start`; -1 if it does not end in this line."""
    while True:
        end = text.find(QUOTE, start)
        if end < 0:
            return -1
        if not text.startswith(QUOTE, end + 1):
            return end + 1
        start = end + 2


def split_fields(row: str, delimiter: str) -> list[str]:
    """Return the texts of a whole row."""
    fields, start = [], 0
    while True:
        value = ""
        if row.startswith(QUOTE, start):
            end = _end_of_quoted(row, start + 1)
            value, start = row[start + 1 : end - 1].replace(QUOTE * 2, QUOTE), end
        stop = row.find(delimiter, start)
        fields.append(value + row[start : len(row) if stop < 0 else stop])
        if stop < 0:
            return fields
        start = stop + 1
