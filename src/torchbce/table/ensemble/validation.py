"""Validation loss per epoch, and the best epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from torchbce.checkpoint.form import Array, Each, Maybe, Whole
from torchbce.checkpoint.record import State
from torchbce.common.errors import InputError
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.monitor.history import Epoch, History
from torchbce.table.ensemble.calibration import bce, loss_after_calibration
from torchbce.table.ensemble.config import EnsembleConfig

EPOCH = {
    "number": Whole(),
    "running": float,
    "train": Maybe(float),
    "valid": Maybe(float),
    "baseline": float,
    "seconds": float,
    "skipped": Whole(),
}
STATE_FORM = {
    "history": {"epochs": Each(EPOCH), "chosen": Maybe(Whole()), "skipped": Whole()},
    "best": float,
    "logits": Array((None,), torch.float64),
}


@dataclass(frozen=True)
class ValidationSet:
    """The rows that no network judged by them learns from.

    rows: their numbers. by_all: whether every network is judged by every row. base_rate: of the training rows; None
    where there are too few rows for a baseline.
    """

    rows: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    by_all: bool
    base_rate: float | None

    @property
    def baseline(self) -> float:
        """Return the loss of always answering the base rate on these rows."""
        share = float(np.average(self.target, weights=self.weight))
        return math.nan if self.base_rate is None else cross_entropy(share, self.base_rate)


@dataclass(frozen=True)
class EpochTotals:
    """Sums over the steps of an epoch, while the weights were moving.

    loss: of all rows. weight: of all rows. left_out: the part of that weight in batches whose loss was not finite, of
    which there are `skipped`.
    """

    loss: float
    weight: float
    left_out: float
    skipped: int
    seconds: float


@dataclass
class EpochSelector:
    """Records each epoch's validation loss and remembers the best epoch; `logits` are that epoch's, one per row."""

    validation: ValidationSet
    history: History = field(default_factory=History)
    best: float = math.inf
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def next_epoch(self) -> int:
        """Return the number of the epoch that is not recorded yet, from 1."""
        return len(self.history) + 1

    def record(self, logits: np.ndarray, totals: EpochTotals) -> bool:
        """Record an epoch by its logits of the validation rows; return whether it is the best so far.

        Raises:
            InputError: no batch has a finite loss.
        """
        number = self.next_epoch
        if totals.left_out >= totals.weight:
            raise InputError(not_finite(number, math.nan, "every batch"))
        target, weight = self.validation.target, self.validation.weight
        epoch = Epoch(
            number=number,
            running=totals.loss / (totals.weight - totals.left_out),
            train=None,
            valid=float(np.average(bce(logits, target), weights=weight)),
            baseline=self.validation.baseline,
            seconds=totals.seconds,
            skipped=totals.skipped,
        )
        self.history.append(epoch)
        loss = loss_after_calibration(logits, target, weight) if self.validation.by_all else epoch.judged
        is_best = loss < self.best
        if is_best:
            self.best, self.logits = loss, logits
            self.history.choose(number)
        return is_best

    def is_over(self, config: EnsembleConfig) -> bool:
        """Return whether all epochs are done, or none of the last `patience` was better."""
        done = len(self.history)
        return done > 0 and (done == config.epochs or done - self.history.best.number >= config.patience)

    def state_dict(self) -> State:
        """Return the state without the validation set."""
        return {"history": self.history.state_dict(), "best": self.best, "logits": torch.from_numpy(self.logits)}

    def check_state(self, state: State) -> None:
        """Raise unless a state of the right form is of these rows.

        Raises:
            ValueError: what is wrong.
        """
        self.history.check_state(state["history"])
        if (state["history"]["chosen"] is None) != (state["best"] == math.inf) or not state["best"] >= 0:
            raise ValueError(f"its best loss is {state['best']}")
        expected = 0 if state["history"]["chosen"] is None else len(self.validation.rows)
        if len(state["logits"]) != expected:
            raise ValueError(f"it has logits of {len(state['logits']):,} rows, expected {expected:,}")

    def load_state_dict(self, state: State) -> None:
        """Restore from `state_dict`."""
        self.history.load_state_dict(state["history"])
        self.best, self.logits = state["best"], state["logits"].numpy()


def require_finite(outputs: np.ndarray, epoch: int) -> None:
    """Raise unless all outputs of networks after an epoch are finite.

    Raises:
        InputError: some are not.
    """
    if not np.isfinite(outputs).all():
        raise InputError(not_finite(epoch, math.nan, "its last batch"))


def not_finite(epoch: int, loss: float, where: str) -> str:
    """Return the message about a loss that is not finite."""
    return (
        f"the loss of epoch {epoch} is {loss} in {where}: the learning rate is too large; try a tenth of it (--lr), or "
        "leave such batches out (--on-nan skip)"
    )
