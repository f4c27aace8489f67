"""A model of a table: how its columns are encoded, and the ensemble that learnt from them."""

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
from torchbce.table.columns.infer import fit_encoders
from torchbce.table.columns.matrix import Data, digest
from torchbce.table.ensemble.course import Watch
from torchbce.table.ensemble.data import Fitted
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.fit import fit_ensemble
from torchbce.table.ensemble.linear import fit_linear
from torchbce.table.ensemble.recipe import Choices, Recipe, recipe
from torchbce.table.screening import WIDE, worth_keeping
from torchbce.table.splits.holdout import Split
from torchbce.table.splits.splits import member_splits

if TYPE_CHECKING:
    import polars as pl

FEWEST_OF_A_CLASS = 10  # rows, below which a figure of a model's worth is chance


class NoAnswer(InputError):
    """A model says nothing that is a number of a row."""


@dataclass(frozen=True)
class Model:
    """Rows of a table to logits."""

    columns: list[FittedColumn]
    ensemble: Ensemble

    def logits(self, table: pl.DataFrame, rows: FileRows) -> np.ndarray:
        """One per row, float64; where a cell is unknown, of the mean probability over the training rows' values.

        Raises:
            NoAnswer: one of them is not finite, which those of a finished training are.
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
class Learnt:
    """A model, how it came about, and the columns that were found to be of no use.

    unused: rows that no member learnt from or was judged by, as their groups are on both sides of a border in time.
    """

    model: Model
    chosen: Recipe
    fitted: Fitted
    screened: dict[str, str]
    unused: int = 0


def learn(
    examples: Dataset,
    choices: Choices,
    *,
    seed: int,
    watch: Watch | None = None,
    splits: list[Split] | None = None,
    start: Model | None = None,
) -> Learnt:
    """Everything that is fitted on rows, fitted on these rows alone.

    `splits`: which rows the members learn from and which they are judged by, by default folds. `start`: a model to go
    on with.
    """
    if start is None:
        columns = fit_encoders(
            examples.frame, examples.kinds, examples.name, examples.decimal, examples.dates, examples.weight
        )
        kept, screened = _screened(columns, examples)
    else:
        kept, screened = start.columns, {}
    chosen = recipe(len(examples), choices)
    rows = encode(examples.frame, kept, examples.name)
    data = Data(filled(rows), examples.y, levels_of(kept), examples.weight)
    if splits is None:
        splits = member_splits(examples, chosen.folds, chosen.members, seed)
    if processes.world_size() > 1:
        split = digest(*(rows for one in splits for rows in one))
        processes.require_same({"the content of the encoded rows": data.digest, "the split of the rows": split})
    rare = min(int(examples.y.sum()), int((1 - examples.y).sum()))
    judge = rare >= FEWEST_OF_A_CLASS
    if chosen.linear:
        fitted = fit_linear(data, splits, judge=judge)
    else:
        fitted = fit_ensemble(
            data,
            splits,
            chosen,
            seed=seed,
            watch=watch,
            judge=judge,
            start=None if start is None else start.ensemble.networks,
        )
    used = np.unique(np.concatenate([rows for split in splits for rows in split]))
    ensemble = replace(fitted.ensemble, background=background(rows, inputs_of(kept).values(), examples.weight))
    return Learnt(
        Model(kept, ensemble), chosen, replace(fitted, ensemble=ensemble), screened, len(examples) - len(used)
    )


def _screened(columns: list[FittedColumn], examples: Dataset) -> tuple[list[FittedColumn], dict[str, str]]:
    """The columns of a wide table that have something to say, and what is said of the others."""
    if len(columns) <= WIDE:
        return columns, {}
    keep = worth_keeping([filled(column.encode(examples.frame, examples.name)[0]) for column in columns], examples.y)
    others = {c.name: "no sign of use in the training rows" for c, kept in zip(columns, keep, strict=True) if not kept}
    return [c for c, kept in zip(columns, keep, strict=True) if kept], others
