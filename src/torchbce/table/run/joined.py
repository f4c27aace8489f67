"""Join a run's predictions with the columns of their table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from torchbce.common.errors import InputError, RunFolderError
from torchbce.io.files import read_table
from torchbce.io.source import Format
from torchbce.table.run.folder import check_predictions_file, read_model_file

ROW = "row"


def join_predictions(
    folder: Path, table: str | None = None, format: Format | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Return the predictions with the table's other columns, and the names of the features among them.

    table: its path; by default it is looked for by its name, here and beside the run.

    Raises:
        InputError: it is not there, or has other rows than it had.
        RunFolderError: this is no run.
    """
    predictions = pl.read_parquet(check_predictions_file(folder), glob=False)
    known = predictions.columns
    whole = [name for name in (ROW, "target") if name in known and predictions.schema[name].is_integer()]
    if ROW not in whole or ("target" in known and "target" not in whole) or predictions[ROW].has_nulls():
        raise RunFolderError(f"{folder}: its predictions do not say of which rows they are; train again")
    described = read_model_file(folder)
    name = str(described.training.get("test") or described.source)
    if table is None and name != Path(name).name:  # whoever made the run chose it
        raise RunFolderError(
            f"{folder} says it was made from {name!r}, which is a path and no name of a file; it is not followed: say "
            "where the table is with --table FILE"
        )
    near = [Path(name), folder.parent / name, folder.parent.parent / name]
    table = table or next((str(path) for path in near if path.is_file()), None)
    if table is None:
        raise InputError(
            f"{folder} was made from {name}, which is not here; only {', '.join(known)} are known without it. "
            "Say where it is with --table FILE"
        )
    target = described.target
    frame = read_table(table, format, {target.column}).frame
    numbers = predictions[ROW].to_numpy()
    if len(numbers) and not 1 <= int(numbers.min()) <= int(numbers.max()) <= frame.height:
        raise InputError(
            f"{table} has {frame.height:,} rows and {folder} predictions of the rows {int(numbers.min()):,} to "
            f"{int(numbers.max()):,}: it is another table"
        )
    rows = frame[numbers - 1]
    if target.column not in frame.columns:
        raise InputError(f"{table} has no column {target.column!r}, the target of {folder}: it is another table")
    if "target" in known and not (target.encode(rows, table) == predictions["target"]).all():
        raise InputError(f"{table} has other targets than {folder} was made with: it is another table")
    others = [column for column in frame.columns if column not in known]
    features = [column for column in others if column != target.column and column not in described.left_out]
    return predictions.hstack(rows.select(others)), features
