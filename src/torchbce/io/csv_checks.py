"""Find what is wrong with the rows of a CSV file, line by line."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from torchbce.common.errors import InputError
from torchbce.io.csv_encoding import not_utf8
from torchbce.io.csv_header import Header
from torchbce.io.csv_rows import QuoteError, Row, scan_rows
from torchbce.io.source import SourceFile


def check_rows(source: SourceFile, header: Header, *, strictly: bool = False) -> None:
    """Raise for the first row that is not UTF-8 or has another number of fields than the header.

    strictly: also for a quote in a field that does not begin with one, which polars may or may not read.
    """
    delimiter, expected = header.delimiter, range(header.fewest, len(header.names) + 1)
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            for _ in range(header.skipped):
                file.readline()
            for row in _above_tail(scan_rows(file, delimiter, 1 + header.skipped), header.tail.rows):
                if row.number and row.fields not in expected:
                    quoted = (
                        f", as a double quote in it is closed only in line {row.last}" if row.last > row.line else ""
                    )
                    title = (
                        "; if lines of a title stand above the header, pass --skip-rows with their number"
                        if row.number == 1 and source.format.skip_rows is None
                        else ""
                    )
                    raise InputError(
                        f"{source.name}: row {row.number} (line {row.line}) has {row.fields} fields{quoted}, the "
                        f"header has {len(header.names)}; a field that contains {delimiter!r} must be written in "
                        f"double quotes, and every quote closed{title}"
                    )
                if strictly and row.is_stray:
                    raise InputError(
                        f"{source.name}: row {row.number} (line {row.line}) has a double quote within a field that "
                        "does not begin with one; write it twice, and put the field in double quotes"
                    )
    except UnicodeDecodeError as error:
        raise not_utf8(source, error) from error
    except QuoteError as error:
        raise InputError(f"{source.name}: {error}") from error


def _above_tail(rows: Iterable[Row], tail: int) -> Iterator[Row]:
    """Yield all but the last `tail` rows."""
    waiting: deque[Row] = deque()
    for row in rows:
        waiting.append(row)
        if len(waiting) > tail:
            yield waiting.popleft()
