"""Convert files of other kinds to one that is read in batches: a workbook to CSV, the others to Parquet."""

from __future__ import annotations

from pathlib import Path

from torchbce.common.errors import InputError
from torchbce.common.extras import how_to_install
from torchbce.io.signatures import JSON_LINES, STATISTICS, WORKBOOK

# What is converted, and what a message calls it.
CONVERTED = {WORKBOOK: "a workbook", JSON_LINES: "JSON lines", STATISTICS: "a table of SAS, Stata or SPSS"}


def converted(path: Path, kind: str, out: Path, name: str, sheet: str | None) -> Path:
    """Write a file of this kind to `out` in a form that is read as it is, and return that.

    Raises:
        InputError: a damaged file, or a library that is not installed.
    """
    try:
        if kind == WORKBOOK:
            from torchbce.io.workbooks import sheet_to_csv

            sheet_to_csv(path, out, name, sheet)
        elif kind == JSON_LINES:
            from torchbce.io.json_lines import json_lines_to_parquet

            json_lines_to_parquet(path, out, name)
        else:
            from torchbce.io.statistics_files import statistics_to_parquet

            statistics_to_parquet(path, out, name)
    except ModuleNotFoundError as error:
        message = how_to_install(f"{name} is {CONVERTED[kind]}, and reading it", error)
        if message is None:
            raise
        raise InputError(message) from error
    return out
