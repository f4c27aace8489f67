"""A trained model on new rows, batch by batch, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torchbce.common.errors import InputError, RunFolderError
from torchbce.explanation.statistics.decision import Decision
from torchbce.io.files import FileRows
from torchbce.io.folder_keys import keys_in
from torchbce.io.kinds import typed
from torchbce.io.opened import Format, Source
from torchbce.io.predictions import one_table, predictions_table, together
from torchbce.io.scan import batches, column_names, sources
from torchbce.table.columns.columns import NumericColumn
from torchbce.table.columns.drift import DriftCounter
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.model import NoAnswer
from torchbce.table.run.folder import load_model

if TYPE_CHECKING:
    import polars as pl

ROWS = 1 << 17  # at a time
FLAG = "--key"


@dataclass(frozen=True)
class Predictions:
    """Predictions for a table: the rows, what was noticed on the way, and the mean loss where the target is known."""

    table: pl.DataFrame
    notes: list[str]
    bce: float | None
    known: int  # rows whose target is known


class Predictor:
    """A run folder's model, applied to files; `notes`, `bce` and `cost` are of all rows so far."""

    def __init__(self, folder: Path, *, keys: list[str] | None = None, decision: Decision | None = None) -> None:
        described, self._model = load_model(folder)
        self.target, self._folder = described.target, folder
        self._targets = TargetEncoder(described.target.column)
        self._keys, self._decision = list(keys or []), decision
        self._drift = DriftCounter(self._model.columns)
        self._loss, self._cost, self._gaps, self.known = 0.0, 0.0, 0, 0

    def batches(self, file: str, format: Format | None = None) -> Iterator[pl.DataFrame]:
        """Row, keys, logit, probability, and target, loss and decision where they are known or asked for.

        Every column that the model uses must be there; others are ignored. A category that the training rows did not
        have, or a gap where they had none, is answered by the mean over the values that they have there; a number
        beyond theirs is taken for the nearest; `notes` counts.

        Raises:
            InputError: a column is missing, or a value cannot be used; with its row.
        """
        with sources([file], format) as found:
            if len(found) > 1:
                raise InputError(f"{file} stands for {len(found)} files; rows are named by their numbers in one file")
            source = _with_keys_of_folders(found[0], file, {column.name for column in self._model.columns})
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
            seen = 0
            for first, frame in batches(source, read, FLAG, rows=ROWS):
                seen += frame.height
                if frame.height:
                    yield self._predicted(frame, first, source, as_text, known=known)
            if not seen:
                raise InputError(f"{source.name} has a header and no rows")

    @property
    def notes(self) -> list[str]:
        found = self._drift.messages()
        if self._gaps and self.known:
            found.append(f"{self.target.column}: {self._gaps} missing, left out of the loss")
        return found

    @property
    def bce(self) -> float | None:
        """In nats per item, over the rows whose target is known."""
        return self._loss / self.known if self.known else None

    @property
    def cost(self) -> float | None:
        """Of the decisions, a mean over the same rows, where costs were given."""
        return self._cost / self.known if self.known and self._decision and self._decision.costs else None

    def _require(self, names: list[str], source: Source) -> None:
        missing = list(dict.fromkeys(c.name for c in self._model.columns if c.name not in names))
        if missing:
            shown = ", ".join(map(repr, missing))
            raise InputError(
                f"{source.name}: the model needs the column{'s' * (len(missing) > 1)} {shown}; add what is missing"
            )

    def _predicted(
        self, frame: pl.DataFrame, first: int, source: Source, as_text: set[str], *, known: bool
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
        made = predictions_table(logits, target, rows=np.arange(first, first + len(logits)))
        if target is not None:
            self._gaps += target.null_count()
            self.known += len(target) - target.null_count()
            self._loss += float(made["loss"].drop_nulls().sum())
        if self._decision is not None:
            made = self._decided(made, self._decision)
        return together(made, keys)

    def _decided(self, made: pl.DataFrame, decision: Decision) -> pl.DataFrame:
        yes = made["probability"] > decision.threshold
        if decision.costs and "target" in made.columns:
            false_positive, false_negative = decision.costs
            wrong_yes = int((yes & (made["target"] == 0)).sum())
            wrong_no = int((~yes & (made["target"] == 1)).sum())
            self._cost += false_positive * wrong_yes + false_negative * wrong_no
        answers = np.where(yes.to_numpy(), self.target.positive, self.target.negative)
        return together(made, {}, decision=answers)


def predict(folder: Path, file: str, format: Format | None = None) -> Predictions:
    """Apply a run to a table, all at once; see `Predictor.batches`."""
    predictor = Predictor(folder)
    table = one_table(list(predictor.batches(file, format)))
    return Predictions(table, predictor.notes, predictor.bce, predictor.known)


def _with_keys_of_folders(source: Source, file: str, wanted: set[str]) -> Source:
    """A file that is named alone, with those columns that only the names of its folders hold."""
    missing = wanted - set(column_names(source))
    keys = {key: value for key, value in keys_in(Path(file).parts[:-1]).items() if key in missing}
    return replace(source, keys={**source.keys, **keys})
