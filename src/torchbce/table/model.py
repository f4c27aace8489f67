"""A model of a table: how its columns are encoded, and the ensemble that was trained on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.io.files import row_number
from torchbce.table.columns.background import background, filled
from torchbce.table.columns.columns import FittedColumn, encode, inputs_of, levels_of
from torchbce.table.columns.examples import Examples
from torchbce.table.columns.matrix import TrainingMatrix, digest
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig, UserOptions, default_config
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.fit import fit_ensemble
from torchbce.table.ensemble.linear import fit_linear
from torchbce.table.ensemble.result import EnsembleFit
from torchbce.table.feature_filter import WIDE, informative
from torchbce.table.splits.held import Split
from torchbce.table.splits.splits import member_splits

if TYPE_CHECKING:
    import polars as pl

FEWEST_OF_A_CLASS = 10  # rows, below which a figure of a model's worth is chance


class NoAnswer(InputError):
    """A model's logit of a row is not a number."""


@dataclass(frozen=True)
class Model:
    """Rows of a table to logits."""

    columns: list[FittedColumn]
    ensemble: Ensemble

    def logits(self, table: pl.DataFrame, name: str) -> np.ndarray:
        """Return one per row, float64; where a cell is unknown, of the mean over the training rows' values.

        Raises:
            NoAnswer: one of them is not finite, which those of a finished training are.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            logits = self.ensemble.logits(encode(table, self.columns, name))
        finite = np.isfinite(logits)
        if not finite.all():
            row = int(finite.argmin())
            raise NoAnswer(
                f"{name}: the model's logit of row {row_number(name, row)} is {logits[row]}: its weights are too large "
                "to be those of a finished training; train again"
            )
        return logits


@dataclass(frozen=True)
class TrainedModel:
    """A model, how it was trained, and the columns that were left out as they say nothing of the target.

    unused: rows that no member learnt from or was judged by, as their groups are on both sides of a border in time.
    """

    model: Model
    config: EnsembleConfig
    fitted: EnsembleFit
    screened: dict[str, str]
    unused: int = 0


def fit_model(
    examples: Examples,
    encoded: EncodedTable,
    options: UserOptions,
    *,
    seed: int,
    callbacks: Callbacks | None = None,
    splits: list[Split] | None = None,
    start: Model | None = None,
) -> TrainedModel:
    """Train on examples and nothing else; `encoded` are their rows.

    `splits`: which rows the members learn from and which they are judged by, by default folds. `start`: a model to go
    on with, by whose columns the rows are encoded.
    """
    used, screened = (encoded, {}) if start is not None else _screened(encoded, examples)
    config = default_config(len(examples), options)
    data = TrainingMatrix(filled(used.rows), examples.answers, levels_of(used.columns), examples.weight)
    if splits is None:
        splits = member_splits(examples, config.folds, config.members, seed)
    if processes.count() > 1:
        split = digest(*(rows for split in splits for rows in split))
        processes.require_same({"the content of the encoded rows": data.digest, "the split of the rows": split})
    rarer = min(int(examples.answers.sum()), int((1 - examples.answers).sum()))
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


def _screened(encoded: EncodedTable, examples: Examples) -> tuple[EncodedTable, dict[str, str]]:
    """Return the informative columns of a wide table, and the reason why each other one is left out."""
    columns = encoded.columns
    if len(columns) <= WIDE:
        return encoded, {}
    # In float64, as float32 would tie values that differ.
    values = [filled(column.encode(examples.frame, examples.name)[0]) for column in columns]
    keep = informative(values, examples.answers)
    others = {c.name: "no sign of use in the training rows" for c, kept in zip(columns, keep, strict=True) if not kept}
    return encoded.select([c for c, kept in zip(columns, keep, strict=True) if kept]), others
