"""Predict new rows by a trained model, batch by batch, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torchbce.common.errors import InputError, RunFolderError
from torchbce.explanation.statistics.decision import Decision
from torchbce.io.files import FileRows
from torchbce.io.folder_keys import keys_in_folders
from torchbce.io.kinds import typed
from torchbce.io.predictions import add_key_columns, predictions_table
from torchbce.io.scan import column_names, open_sources, read_batches
from torchbce.io.source import Format, SourceFile
from torchbce.table.columns.columns import NumericColumn
from torchbce.table.columns.drift import DriftCounter
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.model import NoAnswer
from torchbce.table.run.folder import load_model

if TYPE_CHECKING:
    import polars as pl

MAX_BATCH_ROWS = 1 << 17  # at a time
FLAG = "--key"


class Predictor:
    """The model of a run folder; `notes`, `bce` and `cost` are of all rows predicted so far."""

    def __init__(self, folder: Path, *, keys: list[str] | None = None, decision: Decision | None = None) -> None:
        described, self._model = load_model(folder)
        self.target, self._folder = described.target, folder
        self._targets = TargetEncoder(described.target.column)
        self._keys, self._decision = list(keys or []), decision
        self._drift = DriftCounter(self._model.columns)
        self._loss, self._cost, self._gaps, self.known = 0.0, 0.0, 0, 0

    def batches(self, file: str, format: Format | None = None) -> Iterator[pl.DataFrame]:
        """Yield row, keys, logit, probability, and target, loss and decision where they are known or asked for.

        Every column that the model uses must be there; others are ignored. A category that the training rows did not
        have, or a gap where they had none, is answered by the mean over the values that they have there; a number
        beyond theirs is taken for the nearest; `notes` counts.

        Raises:
            InputError: a column is missing, or a value cannot be used; with its row.
        """
        own = [*(column.name for column in self._model.columns), self.target.column, *self._keys]
        with open_sources([file], replace(format or Format(), named=tuple(own))) as sources:
            if len(sources) > 1:
                raise InputError(f"{file} stands for {len(sources)} files; rows are named by their numbers in one file")
            source = _with_keys_of_folders(sources[0], file, {column.name for column in self._model.columns})
            names = column_names(source)
            self._require(names, source)
            wanted = list(dict.fromkeys(column.name for column in self._model.columns))
            known = self.target.column in names
            read = list(dict.fromkeys([*wanted, *([self.target.column] if known else []), *self._keys]))
            as_text = {
                column.name
                for column in self._model.columns
                if isinstance(column, NumericColumn) and (column.date or column.decimal != ".")
            }
            rows_read = 0
            for first, frame in read_batches(source, read, FLAG, rows=MAX_BATCH_ROWS):
                rows_read += frame.height
                if frame.height:
                    yield self._predicted(frame, first, source, as_text, known=known)
            if not rows_read:
                raise InputError(f"{source.name} has a header and no rows")

    @property
    def notes(self) -> list[str]:
        """Return what a user should know of the rows: unknown categories, gaps, numbers out of range."""
        notes = self._drift.messages()
        if self._gaps and self.known:
            notes.append(f"{self.target.column}: {self._gaps} missing, left out of the loss")
        return notes

    @property
    def bce(self) -> float | None:
        """Return the mean loss in nats per item, over the rows whose target is known."""
        return self._loss / self.known if self.known else None

    @property
    def cost(self) -> float | None:
        """Return the mean cost of the decisions over the same rows, where costs were given."""
        return self._cost / self.known if self.known and self._decision and self._decision.costs else None

    def _require(self, names: list[str], source: SourceFile) -> None:
        missing = list(dict.fromkeys(c.name for c in self._model.columns if c.name not in names))
        if missing:
            shown = ", ".join(map(repr, missing))
            raise InputError(
                f"{source.name}: the model needs the column{'s' * (len(missing) > 1)} {shown}; add what is missing"
            )

    def _predicted(
        self, frame: pl.DataFrame, first: int, source: SourceFile, as_text: set[str], *, known: bool
    ) -> pl.DataFrame:
        rows = FileRows(source.name, first)
        keys = {key: frame[key] for key in self._keys}
        table, _ = typed(frame, source.name, source.format.decimal, as_text)
        try:
            logits = self._model.logits(table, rows)
        except NoAnswer as error:
            raise RunFolderError(f"{self._folder} is damaged: {error}") from error
        self._drift.update(table, rows)
        target = self._targets.encode(table[self.target.column], self.target, rows, gaps=True) if known else None
        predictions = predictions_table(logits, target, rows=np.arange(first, first + len(logits)))
        if target is not None:
            self._gaps += target.null_count()
            self.known += len(target) - target.null_count()
            self._loss += float(predictions["loss"].drop_nulls().sum())
        if self._decision is not None:
            predictions = self._decided(predictions, self._decision)
        return add_key_columns(predictions, keys)

    def _decided(self, predictions: pl.DataFrame, decision: Decision) -> pl.DataFrame:
        """Add the decision of each row, and its cost to the sum."""
        yes = predictions["probability"] > decision.threshold
        if decision.costs and "target" in predictions.columns:
            false_positive, false_negative = decision.costs
            wrong_yes = int((yes & (predictions["target"] == 0)).sum())
            wrong_no = int((~yes & (predictions["target"] == 1)).sum())
            self._cost += false_positive * wrong_yes + false_negative * wrong_no
        answers = np.where(yes.to_numpy(), self.target.positive, self.target.negative)
        return add_key_columns(predictions, {}, decision=answers)


def _with_keys_of_folders(source: SourceFile, file: str, wanted: set[str]) -> SourceFile:
    """Return a file that is named alone, with the wanted columns that only the names of its folders hold."""
    missing = wanted - set(column_names(source))
    keys = {key: value for key, value in keys_in_folders(Path(file).parts[:-1]).items() if key in missing}
    return replace(source, keys={**source.keys, **keys})
