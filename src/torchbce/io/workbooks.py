"""Write a sheet of a workbook (Excel, OpenDocument) as CSV, whose reader then finds header, gaps and totals in it."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import polars as pl

from torchbce.common.errors import InputError

LOG = logging.getLogger(__name__)
MAX_BYTES = 1 << 31  # that the parts of a workbook may unpack to, as all are held in memory
MAX_NAMES = 20  # of sheets in a message
MIDNIGHT = " 00:00:00"  # which every day without a time has
DAY = rf"^\d{{4}}-\d{{2}}-\d{{2}}{MIDNIGHT}$"
MOMENT = r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"


def sheet_to_csv(path: Path, out: Path, name: str, sheet: str | None) -> None:
    """Write all cells of a sheet, as texts; without a name, of the first with two columns, or with some cells.

    Raises:
        InputError: no such sheet, a damaged or protected workbook, or one that is too large to be held in memory.
    """
    import fastexcel

    _refuse_large(path, name)
    try:
        book = fastexcel.read_excel(path)
        cells = _cells(book, sheet, name)
    except fastexcel.FastExcelError as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{name} cannot be read as a workbook: {reason}; is it protected by a password, or damaged? "
            "Save the sheet as CSV"
        ) from error
    cells.with_columns(pl.all().map_batches(_without_midnight)).write_csv(out, include_header=False)


def _refuse_large(path: Path, name: str) -> None:
    if not zipfile.is_zipfile(path):
        return  # an .xls, which has 65,536 rows at most
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MAX_BYTES:
        raise InputError(
            f"{name}: the workbook unpacks to {size:,} bytes, and {MAX_BYTES:,} are allowed; save the sheet as CSV, "
            "which is read in parts"
        )


def _cells(book: Any, sheet: str | None, name: str) -> pl.DataFrame:
    names = book.sheet_names
    listed = ", ".join(map(repr, names[:MAX_NAMES])) + (", ..." if len(names) > MAX_NAMES else "")
    if sheet is not None:
        if sheet not in names:
            raise InputError(f"{name}: no sheet {sheet!r} (--sheet); the sheets are {listed}")
        names = [sheet]
    filled = None
    for chosen in names:
        cells: pl.DataFrame = book.load_sheet(chosen, header_row=None, dtypes="string").to_polars()
        filled = (chosen, cells) if cells.height and (filled is None or cells.width > 1) else filled
        if filled is not None and filled[1].width > 1:
            break  # a table, and no cover with notes
    if filled is None:
        raise InputError(f"{name}: {'the sheet is' if len(names) == 1 else 'all sheets are'} empty; {listed}")
    if len(names) > 1:
        LOG.info("%s: the sheet %r is read (--sheet), of %s", name, filled[0], listed)
    return filled[1]


def _without_midnight(texts: pl.Series) -> pl.Series:
    """Return a column of days as days, though a workbook stores moments."""
    moments = texts.str.contains(MOMENT).fill_null(False)
    days = texts.str.contains(DAY).fill_null(False)
    return texts.str.strip_suffix(MIDNIGHT) if days.any() and days.sum() == moments.sum() else texts
