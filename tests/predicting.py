"""A run folder's predictions for a whole table, as tests compare them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from torchbce.table.run.predict import Predictor


class Predictions(NamedTuple):
    table: pl.DataFrame
    notes: list[str]
    bce: float | None


def predict(folder: Path, file: str) -> Predictions:
    """Predict all rows of a file at once."""
    predictor = Predictor(folder)
    table = pl.concat(list(predictor.batches(file)), how="diagonal")
    return Predictions(table, predictor.notes, predictor.bce)
