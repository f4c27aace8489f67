"""`torchbce explain`: predictions in a file, or those of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import typer

from torchbce.errors import InputError
from torchbce.lens.explain import explain
from torchbce.trainer.run_folder import PREDICTIONS_FILE
from torchbce.trainer.table import read_table, require_columns


def run(
    file: Path,
    target: str,
    *,
    prob: str | None,
    logit: str | None,
    weight: str | None,
    only: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Print the explanation of the rows asked for."""
    if file.is_dir():
        if not (file / PREDICTIONS_FILE).is_file():
            raise InputError(f"{file} is a folder without {PREDICTIONS_FILE}; name a file, or a folder that train made")
        file, logit, only = file / PREDICTIONS_FILE, logit or (None if prob else "logit"), only or "split=valid"
    if (prob is None) == (logit is None):
        raise typer.BadParameter("say which numbers these are: --prob COL for probabilities, or --logit COL")
    outputs = prob or logit
    assert outputs is not None
    table = read_table(file)
    require_columns(
        table, [name for name in (target, outputs, weight) if name], file, "--target, --prob, --logit, --weight"
    )
    table = table.with_row_index("row of the file", offset=1)
    table = _filter(table, only, file)
    rows = table["row of the file"].to_numpy()
    explanation = explain(
        _numbers(table, outputs, rows, file, None if logit else (0, 1)),
        _numbers(table, target, rows, file, (0, 1)),
        from_logits=logit is not None,
        weight=None if weight is None else _numbers(table, weight, rows, file, (0, float("inf"))),
        top=top,
        rows=rows,
    )
    print(json.dumps(explanation.to_dict(), indent=1) if as_json else explanation)


def _filter(table: pl.DataFrame, only: str | None, file: Path) -> pl.DataFrame:
    if only is None:
        return table
    column, equals, value = only.partition("=")
    if not equals:
        raise typer.BadParameter(f"--only is {only!r}; write --only COL=VALUE")
    require_columns(table, [column], file, "--only")
    found = table.filter(pl.col(column).cast(pl.String) == value)
    if not found.height:
        values = ", ".join(map(repr, table[column].cast(pl.String).unique().sort().head(5).to_list()))
        raise InputError(f"{file}: no row has {column} = {value!r}; its values are {values}")
    return found


def _numbers(
    table: pl.DataFrame, column: str, rows: np.ndarray, file: Path, interval: tuple[float, float] | None
) -> np.ndarray:
    """A column as float64: every row a number, in the interval; the error names the row."""
    values = table[column]
    numbers = values.cast(pl.Float64, strict=False)
    bad = numbers.is_null() | numbers.is_nan()
    if interval:
        bad = bad | (numbers < interval[0]) | (numbers > interval[1])
    if bad.any():
        place = int(bad.arg_max() or 0)
        value = values[place]
        allowed = f"a number from {interval[0]:g} to {interval[1]:g}" if interval else "a number"
        hint = "; logits go to --logit" if interval == (0.0, 1.0) and values.dtype.is_numeric() else ""
        raise InputError(
            f"{file}: row {rows[place]} of column {column!r} is {'missing' if value is None else repr(value)}; "
            f"expected {allowed}{hint} ({int(bad.sum())} such rows)"
        )
    return numbers.to_numpy()
