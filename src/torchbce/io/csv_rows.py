"""The rows of a CSV file, line by line: how many fields each has, of any length, and quotes that are never closed.

As RFC 4180 has it: a field that begins with a quote ends with the next that is not doubled, and may hold lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

QUOTE = '"'
SHOWN = 20  # characters of what should not be there


class QuoteError(ValueError):
    """A quoted field that never ends, or that goes on after its end; the message says where it is."""


@dataclass(frozen=True)
class Row:
    """A row that is not blank: its number, 0 for the header, its first and last line, and how many fields it has.

    is_stray: a field that does not begin with a double quote holds one.
    """

    number: int
    line: int
    last: int
    fields: int
    is_stray: bool


def rows_of(lines: Iterable[str], delimiter: str, first: int = 1) -> Iterator[Row]:
    """The rows in these lines, which are counted from `first`; none is held longer than it takes to look at it.

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
                ended, is_open, strays = _ended(text, delimiter, is_open=is_open)
            except QuoteError as error:
                here = f" in line {line}" if line > begun else ""
                raise QuoteError(f"{_called(number, begun)}: {error}{here}") from error
            fields, is_stray = fields + ended, is_stray or strays
        else:
            fields = text.count(delimiter) + 1
        if not is_open:
            yield Row(number, begun, line, fields, is_stray)
    if is_open:
        raise QuoteError(
            f"{_called(number, begun)}: field {fields + 1} begins with a double quote that is never closed; close it, "
            "or, if it is a part of the text, write it twice and put the whole field in double quotes"
        )


def _called(number: int, line: int) -> str:
    return f"row {number} (line {line})" if number else f"the header (line {line})"


def _ended(text: str, delimiter: str, *, is_open: bool) -> tuple[int, bool, bool]:
    """How many fields end in a line, whether its last is one in quotes that goes on, and whether a quote is astray."""
    place, fields, is_stray = 0, 0, False
    while True:
        if is_open or text.startswith(QUOTE, place):
            place = _after_quote(text, place if is_open else place + 1)
            if place < 0:
                return fields, True, is_stray
            is_open = False
            if place < len(text) and not text.startswith(delimiter, place):
                raise QuoteError(
                    f"a double quote within a field in double quotes is written twice, and after those of field "
                    f"{fields + 1} stands {text[place : place + SHOWN]!r}"
                )
        end = text.find(delimiter, place)
        is_stray |= text.find(QUOTE, place, len(text) if end < 0 else end) >= 0
        fields += 1
        if end < 0:
            return fields, False, is_stray
        place = end + 1


def _after_quote(text: str, place: int) -> int:
    """Where a field ends whose text in quotes goes on here; -1 where it does not end in this line."""
    while True:
        end = text.find(QUOTE, place)
        if end < 0:
            return -1
        if not text.startswith(QUOTE, end + 1):
            return end + 1
        place = end + 2


def fields_of(row: str, delimiter: str) -> list[str]:
    """The texts of a row that is whole."""
    found, place = [], 0
    while True:
        value = ""
        if row.startswith(QUOTE, place):
            end = _after_quote(row, place + 1)
            value, place = row[place + 1 : end - 1].replace(QUOTE * 2, QUOTE), end
        stop = row.find(delimiter, place)
        found.append(value + row[place : len(row) if stop < 0 else stop])
        if stop < 0:
            return found
        place = stop + 1
