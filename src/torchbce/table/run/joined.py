"""A run's predictions beside the columns of the table that they are of."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from torchbce.common.errors import InputError, RunFolderError
from torchbce.io.files import FileRows, read_table
from torchbce.io.opened import Format
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.run.folder import check_predictions_file, described_run

ROW = "row"


def joined_predictions(
    folder: Path, table: str | None = None, format: Format | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """The predictions with all columns of the table that they have not themselves, and the names of the features.

    table: where it is; by default it is looked for here and beside the run, by its name.

    Raises:
        InputError: it is not there, or has other rows than it had.
        RunFolderError: this is no run.
    """
    made = pl.read_parquet(check_predictions_file(folder), glob=False)
    whole = [name for name in (ROW, "target") if name in made.columns and made.schema[name].is_integer()]
    if ROW not in whole or ("target" in made.columns and "target" not in whole) or made[ROW].has_nulls():
        raise RunFolderError(f"{folder}: its predictions do not say of which rows they are; train again")
    described = described_run(folder)
    name = str(described.training.get("test") or described.source)
    if table is None and name != Path(name).name:  # whoever made the run chose it
        raise RunFolderError(
            f"{folder} says it was made from {name!r}, which is a path and no name of a file; it is not followed: say "
            "where the table is with --table FILE"
        )
    places = [Path(name), folder.parent / name, folder.parent.parent / name]
    found = table or next((str(place) for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            f"{folder} was made from {name}, which is not here; only {', '.join(made.columns)} are known without it. "
            "Say where it is with --table FILE"
        )
    target = described.target
    frame = read_table(found, format, {target.column}).frame
    numbers = made[ROW].to_numpy()
    if len(numbers) and not 1 <= int(numbers.min()) <= int(numbers.max()) <= frame.height:
        raise InputError(
            f"{found} has {frame.height:,} rows and {folder} predictions of the rows {int(numbers.min()):,} to "
            f"{int(numbers.max()):,}: it is another table"
        )
    rows = frame[numbers - 1]
    if target.column not in frame.columns:
        raise InputError(f"{found} has no column {target.column!r}, the target of {folder}: it is another table")
    encoder, where = TargetEncoder(target.column), FileRows(found)
    if "target" in made.columns and not (encoder.encode(rows[target.column], target, where) == made["target"]).all():
        raise InputError(f"{found} has other targets than {folder} was made with: it is another table")
    others = [column for column in frame.columns if column not in made.columns]
    features = [column for column in others if column != target.column and column not in described.left_out]
    return made.hstack(rows.select(others)), features
