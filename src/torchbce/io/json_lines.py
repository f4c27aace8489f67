"""Write JSON lines, an object in each, as Parquet, whose types are those of all rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.exceptions import PanicException

from torchbce.common.errors import InputError

ROW_GROUP = 1 << 16  # rows; said, so that the same file gives the same bytes
ERRORS = (pl.exceptions.PolarsError, PanicException, OSError, ValueError)


def json_lines_to_parquet(path: Path, out: Path, name: str) -> None:
    """Write each key of the objects as a column, with gaps where an object lacks it.

    Raises:
        InputError: a line is no JSON object.
    """
    try:
        pl.scan_ndjson(path, infer_schema_length=None).sink_parquet(out, row_group_size=ROW_GROUP)
    except ERRORS as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{name} cannot be read as JSON lines, which have an object in each line: {reason}") from error
