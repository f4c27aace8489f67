"""Write a table of SAS, Stata or SPSS as Parquet, part by part: values as they are stored, without their labels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from polars import selectors

from torchbce.common.errors import InputError
from torchbce.io.json_lines import ROW_GROUP

PART = 1 << 16  # rows at a time


def statistics_to_parquet(path: Path, out: Path, name: str) -> None:
    """Write the table with numbers that are all whole as integers, and empty texts as gaps.

    Raises:
        InputError: the file is damaged.
    """
    import pyreadstat

    reader = _reader(pyreadstat, path)
    with tempfile.TemporaryDirectory(prefix="torchbce-") as folder:
        try:
            parts = pyreadstat.read_file_in_chunks(reader, str(path), chunksize=PART, output_format="polars")
            written = 0
            for written, (part, _) in enumerate(parts, 1):
                part.write_parquet(Path(folder) / f"{written:06}.parquet")
        except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, ValueError) as error:
            raise InputError(f"{name} is damaged or truncated: {error}") from error
        if not written:
            raise InputError(f"{name} has no rows")
        table = pl.scan_parquet(Path(folder) / "*.parquet", missing_columns="insert")
        table = table.with_columns(selectors.string().replace("", None))
        whole = table.select((selectors.float().round() == selectors.float()).all()).collect(engine="streaming")
        integers = [pl.col(column.name).cast(pl.Int64) for column in whole.get_columns() if column.all()]
        table.with_columns(integers).sink_parquet(out, row_group_size=ROW_GROUP)


def _reader(library: Any, path: Path) -> Any:
    """Return the function of pyreadstat that reads this kind of file."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"$FL"):
        return library.read_sav
    if head.startswith(b"HEADER"):
        return library.read_xport
    return library.read_sas7bdat if head.startswith(b"\0") else library.read_dta
