"""A trained model on new rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from torchbce.errors import InputError
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.trainer.batches import EVALUATION_ROWS
from torchbce.trainer.columns import CategoricalColumn, NumericColumn, encode
from torchbce.trainer.network import TableNetwork
from torchbce.trainer.run_folder import load_model
from torchbce.trainer.table import read_table


@dataclass(frozen=True)
class Predictions:
    """Predictions for a table: the rows, what was noticed on the way, and the mean loss where the target is known."""

    table: pl.DataFrame
    notes: list[str]
    bce: float | None


@torch.no_grad()
def logits_of(network: TableNetwork, rows: Tensor) -> Tensor:
    """One logit per row, in evaluation mode, a bounded number of rows at a time."""
    network.eval()
    return torch.cat([network(part) for part in torch.split(rows, EVALUATION_ROWS)]).squeeze(1)


def predict(folder: Path, path: Path) -> Predictions:
    """Apply a run to a table: row, logit, probability, and target and loss where the table has the target column.

    Every column that the model uses must be there; others are ignored. A category that the training rows did not have
    is treated as missing, a missing number as the training rows' mean; both are counted in the notes.
    """
    card, network = load_model(folder)
    table = read_table(path)
    missing = [column.name for column in card.columns if column.name not in table.columns]
    if missing:
        names = ", ".join(map(repr, missing))
        raise InputError(f"{path}: the model needs the column{'s' * (len(missing) > 1)} {names}; add what is missing")
    logits = logits_of(network, encode(table, card.columns, path))
    wide = logits.double()
    columns = {
        "row": np.arange(1, table.height + 1),
        "logit": logits.numpy(),
        "probability": torch.sigmoid(wide).numpy(),
    }
    bce = None
    if card.target.column in table.columns and table[card.target.column].null_count() < table.height:
        target = card.target.encode(table, path)
        losses = binary_cross_entropy_with_logits(wide, torch.from_numpy(target.to_numpy().copy()), reduction="none")
        columns |= {"target": target.to_numpy(), "loss": losses.numpy()}
        bce = losses.mean().item()
    return Predictions(pl.DataFrame(columns), _notes(table, card.columns), bce)


def _notes(table: pl.DataFrame, columns: list[NumericColumn | CategoricalColumn]) -> list[str]:
    notes = []
    for column in columns:
        if isinstance(column, CategoricalColumn):
            unseen = column.unseen(table)
            if unseen:
                notes.append(f"{column.name}: {unseen} rows with categories not seen in training, treated as missing")
        elif not column.gaps:
            values = table[column.name]
            gaps = values.null_count()
            if values.dtype.is_float():
                gaps += int(values.is_nan().sum())
            if gaps:
                notes.append(f"{column.name}: {gaps} missing values, none in training; the mean is used")
    return notes
