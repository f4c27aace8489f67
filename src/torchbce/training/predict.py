"""A trained model on new rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.training.network import TableNetwork
from torchbce.training.run_folder import load_model
from torchbce.training.table.columns import NumericColumn, encode, notes
from torchbce.training.table.files import read_table
from torchbce.training.table.opened import Format
from torchbce.training.table.predictions import predictions_table

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Predictions:
    """Predictions for a table: the rows, what was noticed on the way, and the mean loss where the target is known."""

    table: pl.DataFrame
    notes: list[str]
    bce: float | None
    known: int  # rows whose target is known


@torch.no_grad()
def logits_of(network: TableNetwork, rows: Tensor) -> Tensor:
    """One logit per row, in evaluation mode, a bounded number of rows at a time."""
    network.eval()
    return torch.cat([network(part) for part in torch.split(rows, network.rows_at_once)]).squeeze(1)


def predict(folder: Path, file: str, format: Format | None = None) -> Predictions:
    """Apply a run to a table: row, logit, probability, and target and loss where the table has the target column.

    Every column that the model uses must be there; others are ignored. A category that the training rows did not have
    is treated as missing, a missing number as the training rows' mean; both are counted in the notes.
    """
    card, network = load_model(folder)
    as_text = {c.name for c in card.columns if isinstance(c, NumericColumn) and (c.date or c.decimal != ".")}
    read = read_table(file, format, as_text)
    table, name = read.frame, read.name
    missing = [column.name for column in card.columns if column.name not in table.columns]
    if missing:
        names = ", ".join(map(repr, missing))
        raise InputError(f"{name}: the model needs the column{'s' * (len(missing) > 1)} {names}; add what is missing")
    logits = logits_of(network, encode(table, card.columns, name))
    target = None
    if card.target.column in table.columns and table[card.target.column].null_count() < table.height:
        target = card.target.encode(table, name, complete=False)
    predictions = predictions_table(logits, target)
    found = notes(table, card.columns)
    gaps = 0 if target is None else target.null_count()
    if gaps:
        found.append(f"{card.target.column}: {gaps} missing, left out of the loss")
    bce = None if target is None else float(predictions["loss"].drop_nulls().to_numpy().mean())
    return Predictions(predictions, found, bce, table.height - gaps)
