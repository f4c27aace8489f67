"""A model of a table: how its columns are encoded, and the ensemble that was trained on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.io.files import FileRows
from torchbce.table.columns.background import background, filled
from torchbce.table.columns.columns import FittedColumn, encode, inputs_of, levels_of
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.matrix import TrainingMatrix, digest
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig, UserOptions, default_config
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.fit import fit_ensemble
from torchbce.table.ensemble.linear import fit_linear
from torchbce.table.ensemble.result import EnsembleFit
from torchbce.table.feature_filter import WIDE, informative
from torchbce.table.splits.holdout import Split
from torchbce.table.splits.splits import member_splits

if TYPE_CHECKING:
    import polars as pl

FEWEST_OF_A_CLASS = 10  # rows, below which a model's estimated loss is chance


class NoAnswer(InputError):
    """A model's logit of a row is not a number."""


@dataclass(frozen=True)
class Model:
    """Map rows of a table to logits."""

    columns: list[FittedColumn]
    ensemble: Ensemble

    def logits(self, table: pl.DataFrame, rows: FileRows) -> np.ndarray:
        """Return a logit per row, float64; with an unknown cell, of the mean probability over training rows' values.

        Raises:
            NoAnswer: a logit is not finite, as a finished training's are.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            logits = self.ensemble.logits(encode(table, self.columns, rows))
        finite = np.isfinite(logits)
        if not finite.all():
            row = int(finite.argmin())
            raise NoAnswer(
                f"{rows}: the model's logit of row {rows.number(row)} is {logits[row]}: its weights are too large "
                "to be those of a finished training; train again"
            )
        return logits


@dataclass(frozen=True)
class TrainedModel:
    """A model, how it was trained, and the columns that were left out as unrelated to the target.

    unused: rows that no member learnt from or was judged by, as their groups are on both sides of a border in time.
    """

    model: Model
    config: EnsembleConfig
    fitted: EnsembleFit
    screened: dict[str, str]
    unused: int = 0


def fit_model(
    examples: Dataset,
    encoded: EncodedTable,
    options: UserOptions,
    *,
    seed: int,
    callbacks: Callbacks | None = None,
    splits: list[Split] | None = None,
    start: Model | None = None,
) -> TrainedModel:
    """Train on examples and nothing else; `encoded` are their rows.

    `splits`: which rows the members learn from and which they are judged by, by default folds. `start`: a model
    to continue with, by whose columns the rows are encoded.
    """
    used, screened = (encoded, {}) if start is not None else _screened(encoded, examples)
    config = default_config(len(examples), options)
    data = TrainingMatrix(filled(used.rows), examples.y, levels_of(used.columns), examples.weight)
    if splits is None:
        splits = member_splits(examples, config.folds, config.members, seed)
    if processes.world_size() > 1:
        split = digest(*(rows for split in splits for rows in split))
        processes.require_same({"the content of the encoded rows": data.digest, "the split of the rows": split})
    rarer = min(int(examples.y.sum()), int((1 - examples.y).sum()))
    enough = rarer >= FEWEST_OF_A_CLASS
    if config.linear:
        fitted = fit_linear(data, splits, enough=enough)
    else:
        networks = None if start is None else start.ensemble.networks
        fitted = fit_ensemble(data, splits, config, seed=seed, callbacks=callbacks, enough=enough, start=networks)
    taken = np.unique(np.concatenate([rows for split in splits for rows in split]))
    values = background(used.rows, inputs_of(used.columns).values(), examples.weight)
    ensemble = replace(fitted.ensemble, background=values)
    fitted = replace(fitted, ensemble=ensemble)
    return TrainedModel(Model(used.columns, ensemble), config, fitted, screened, len(examples) - len(taken))


def _screened(encoded: EncodedTable, examples: Dataset) -> tuple[EncodedTable, dict[str, str]]:
    """Return the informative columns of a wide table, and the reason why each other one is left out."""
    columns = encoded.columns
    if len(columns) <= WIDE:
        return encoded, {}
    # In float64, as float32 would tie values that differ.
    values = [filled(column.encode(examples.frame, examples.name)[0]) for column in columns]
    keep = informative(values, examples.y)
    others = {c.name: "no sign of use in the training rows" for c, use in zip(columns, keep, strict=True) if not use}
    return encoded.select([c for c, use in zip(columns, keep, strict=True) if use]), others
