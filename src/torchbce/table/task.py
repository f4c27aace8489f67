"""A training task: a table that is read and split, in memory or packed, and its description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig, UserOptions
from torchbce.table.estimate import Estimate
from torchbce.table.model import TrainedModel
from torchbce.table.outcome import Outline
from torchbce.table.train_args import TrainArgs

OnFold = Callable[[int, float], object]  # called with a fold's number and the loss of its held-out rows


@dataclass(frozen=True)
class Fit:
    """A trained model, and its loss on all training rows.

    training: encoded rows for baselines, all or a sample if packed. sample: the model's inputs of a sample of the
    training rows, for plots. test_logits: of a packed table. reading: the share of the time that training waited for
    rows, None in memory.
    """

    trained: TrainedModel
    train_bce: float
    training: EncodedTable
    sample: np.ndarray
    test_logits: np.ndarray | None = None
    reading: float | None = None


class TaskTable(Protocol):
    """A table that is ready to be trained on; an estimate is None without folds or test rows."""

    def config(self, options: UserOptions) -> EnsembleConfig: ...  # of the final model

    def cross_validate(self, args: TrainArgs, on_fold: OnFold | None, callbacks: Callbacks) -> Estimate | None: ...

    def fit(self, args: TrainArgs, callbacks: Callbacks) -> Fit: ...

    def evaluate(self, fit: Fit, args: TrainArgs, callbacks: Callbacks) -> Estimate | None: ...


@dataclass(frozen=True)
class Task:
    """A table to train on. digests: of the content of the files that were read, by their names.

    known: what has to be the same in all processes, besides the options, by names for users.
    """

    table: TaskTable
    outline: Outline
    digests: dict[str, str]
    known: dict[str, object]
