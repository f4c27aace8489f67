"""Tables of predictions: made by training and predicting, read by explain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from torchbce.errors import InputError
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.trainer.table.files import read_table, require_columns


def predictions_table(logits: Tensor, target: Tensor | None = None, valid: np.ndarray | None = None) -> pl.DataFrame:
    """row (1 is the first), split, target, logit, probability and loss, as far as they are known."""
    wide = logits.double()
    columns: dict[str, object] = {"row": np.arange(1, len(logits) + 1)}
    if valid is not None:
        columns["split"] = np.where(valid, "valid", "train")
    if target is not None:
        columns["target"] = target.to(torch.uint8).numpy()
    columns |= {"logit": logits.numpy(), "probability": torch.sigmoid(wide).numpy()}
    if target is not None:
        columns["loss"] = binary_cross_entropy_with_logits(wide, target.double(), reduction="none").numpy()
    return pl.DataFrame(columns)


@dataclass(frozen=True)
class Predicted:
    """Predictions and targets as float64, with the numbers of their rows in the file."""

    outputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    rows: np.ndarray


def read_predictions(
    path: Path, outputs: str, target: str, weight: str | None, *, from_logits: bool, only: tuple[str, str] | None
) -> Predicted:
    """The named columns of a file, every value a number in its range; `only` keeps the rows of one value."""
    table = read_table(path)
    wanted = [name for name in (target, outputs, weight) if name]
    require_columns(table, wanted, path, "--target, --prob, --logit, --weight")
    rows = np.arange(1, table.height + 1)
    if only:
        keep = _rows_where(table, *only, path)
        table, rows = table.filter(pl.Series(keep)), rows[keep]
    return Predicted(
        outputs=_numbers(table, outputs, rows, path, None if from_logits else (0.0, 1.0)),
        targets=_numbers(table, target, rows, path, (0.0, 1.0)),
        weights=None if weight is None else _numbers(table, weight, rows, path, (0.0, float("inf"))),
        rows=rows,
    )


def _rows_where(table: pl.DataFrame, column: str, value: str, path: Path) -> np.ndarray:
    require_columns(table, [column], path, "--only")
    texts = table[column].cast(pl.String)
    keep = (texts == value).fill_null(False).to_numpy()
    if not keep.any():
        values = ", ".join(map(repr, texts.unique().sort().head(5).to_list()))
        raise InputError(f"{path}: no row has {column} = {value!r}; its values are {values}")
    return keep


def _numbers(
    table: pl.DataFrame, column: str, rows: np.ndarray, path: Path, interval: tuple[float, float] | None
) -> np.ndarray:
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
            f"{path}: row {rows[place]} of column {column!r} is {'missing' if value is None else repr(value)}; "
            f"expected {allowed}{hint} ({int(bad.sum())} such rows)"
        )
    return numbers.to_numpy()
