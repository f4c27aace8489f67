"""Find what stands below the rows of a CSV file: a row of totals, and notes in the first field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torchbce.io.csv_rows import QUOTE, split_fields
from torchbce.io.csv_sample import NO_VALUE, NUMBER, Sample

END_BYTES = 1 << 16  # of a file, that are looked at
MAX_ROWS = 20  # below the table
FEWEST_FIELDS = 3  # of a table below which a line with one field is a note, and not a row that is cut off
TOTAL = re.compile(
    r"^(grand |sub|overall |column )?(totals?|sum|gesamt(summe)?|summe|insgesamt|total général|total general|totale|"
    r"suma|somma|soma|totaal|итого|всего|合计|总计|総計|合計)\s*:?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Tail:
    """Rows at the end that are none of the table, how many of them hold totals, and how many notes."""

    totals: int = 0
    notes: int = 0

    @property
    def rows(self) -> int:
        """Return how many rows that are not blank stand below the table."""
        return self.totals + self.notes


def find_tail(path: Path, sample: Sample) -> Tail:
    """Return what stands below the table, by the last lines of the file.

    Notes count as such below a blank line or totals, or where there are several: a single one may be a row that is
    cut off.
    """
    lines, line = _last_lines(path, sample.header.end)
    notes, is_apart = 0, False
    for position in range(len(lines) - 1, max(-1, len(lines) - 1 - MAX_ROWS), -1):
        text = lines[position]
        if QUOTE in text and text.count(QUOTE) % 2:
            return Tail()  # a field of several lines
        fields = [field.strip() for field in split_fields(text, sample.delimiter)]
        if not any(fields):
            is_apart = is_apart or notes > 0
        elif _is_note(fields, sample):
            notes, is_apart = notes + 1, False
        else:
            own = None if line is None else line + position
            return Tail(1, notes) if _is_total(fields, sample, own) else Tail(0, notes if is_apart or notes > 1 else 0)
    return Tail(0, notes if is_apart else 0)


def _last_lines(path: Path, header: int) -> tuple[list[str], int | None]:
    """Return the last lines below the header, and the number of the first of them where the whole file was read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES))
        texts = file.read(END_BYTES).decode("utf-8", "replace").split("\n")
    lines = [text.rstrip("\r") for text in texts]
    return (lines[1:], None) if size > END_BYTES else (lines[header:], header + 1)


def _is_note(fields: list[str], sample: Sample) -> bool:
    """Return whether a line below the table is a sentence, also one with separators in it."""
    is_short = sample.fields >= FEWEST_FIELDS and (len(fields) < sample.header.width or not any(fields[1:]))
    return is_short and bool(fields[0]) and not NUMBER.match(fields[0]) and not TOTAL.match(fields[0])


def _is_total(fields: list[str], sample: Sample, line: int | None) -> bool:
    """Return whether a row has one text, which says that it is a total and no other row has, and else numbers only."""
    above = [row for row in sample.rows if line is None or row.line < line]
    if not above or not sample.header.width <= len(fields) <= sample.fields:
        return False
    label = next(i for i, field in enumerate(fields) if field)
    others = [field for field in fields[label + 1 :] if field not in NO_VALUE]
    return (
        TOTAL.match(fields[label]) is not None
        and bool(others)
        and all(map(NUMBER.match, others))
        and not any(TOTAL.match(row.fields[label]) for row in above if label < len(row.fields))
    )
