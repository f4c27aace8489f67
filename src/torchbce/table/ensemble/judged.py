"""The epochs of a run as rows judge them that it does not learn from, and the best of them: in memory and in blocks."""

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
from torchbce.table.ensemble.calibration import bce, refined
from torchbce.table.ensemble.recipe import Recipe

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
class Judge:
    """The rows that members are judged by: their numbers, and where among them each judgement belongs.

    by_all: every member is judged by every row. base_rate: of the rows that are learnt from; None where there are too
    few rows to speak of a baseline.
    """

    rows: np.ndarray
    place: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    by_all: bool
    base_rate: float | None

    @property
    def baseline(self) -> float:
        """What always answering the base rate costs on these rows."""
        share = float(np.average(self.target, weights=self.weight))
        return math.nan if self.base_rate is None else cross_entropy(share, self.base_rate)


@dataclass(frozen=True)
class Learning:
    """What an epoch was while the weights were moving: the sum of the losses, and the weight of their rows.

    left_out: the part of that weight in batches whose loss was not finite, of which there are `skipped`.
    """

    total: float
    weight: float
    left_out: float
    skipped: int
    seconds: float


@dataclass
class Judged:
    """So far; `logits` are the best epoch's, one per judged row."""

    judge: Judge
    history: History = field(default_factory=History)
    best: float = math.inf
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def require_finite(self, outputs: np.ndarray) -> None:
        """What networks say after an epoch, before it is averaged.

        Raises:
            InputError: some of it is not finite.
        """
        if not np.isfinite(outputs).all():
            raise InputError(not_finite(len(self.history) + 1, math.nan, "its last batch"))

    def add(self, logits: np.ndarray, learning: Learning) -> bool:
        """One more epoch, by its logits of the judged rows; whether it is the best.

        Raises:
            InputError: no batch has a finite loss.
        """
        number = len(self.history) + 1
        if learning.left_out >= learning.weight:
            raise InputError(not_finite(number, math.nan, "every batch"))
        target, weight = self.judge.target, self.judge.weight
        epoch = Epoch(
            number=number,
            running=learning.total / (learning.weight - learning.left_out),
            train=None,
            valid=float(np.average(bce(logits, target), weights=weight)),
            baseline=self.judge.baseline,
            seconds=learning.seconds,
            skipped=learning.skipped,
        )
        self.history.append(epoch)
        left = refined(logits, target, weight) if self.judge.by_all else epoch.judged
        is_best = left < self.best
        if is_best:
            self.best, self.logits = left, logits
            self.history.choose(number)
        return is_best

    def is_over(self, chosen: Recipe) -> bool:
        """Whether there are as many epochs as there may be, or none has got better for long."""
        done = len(self.history)
        return done > 0 and (done == chosen.epochs or done - self.history.best.number >= chosen.patience)

    def state_dict(self) -> State:
        """All but the judge."""
        return {"history": self.history.state_dict(), "best": self.best, "logits": torch.from_numpy(self.logits)}

    def check_state(self, state: State) -> None:
        """Raise unless a state that has the form is of these rows.

        Raises:
            ValueError: what is wrong.
        """
        self.history.check_state(state["history"])
        if (state["history"]["chosen"] is None) != (state["best"] == math.inf) or not state["best"] >= 0:
            raise ValueError(f"its best loss is {state['best']}")
        expected = 0 if state["history"]["chosen"] is None else len(self.judge.rows)
        if len(state["logits"]) != expected:
            raise ValueError(f"it has logits of {len(state['logits']):,} rows, expected {expected:,}")

    def load_state_dict(self, state: State) -> None:
        """Be what `state_dict` was taken of."""
        self.history.load_state_dict(state["history"])
        self.best, self.logits = state["best"], state["logits"].numpy()


def not_finite(epoch: int, loss: float, where: str) -> str:
    """What is said of a loss that is not finite."""
    return (
        f"the loss of epoch {epoch} is {loss} in {where}: the learning rate is too large; try a tenth of it (--lr), or "
        "leave such batches out (--on-nan skip)"
    )
