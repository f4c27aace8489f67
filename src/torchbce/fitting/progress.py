"""How far a run is: its history, the epoch in progress, and the best weights so far."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from torchbce.common import processes
from torchbce.common.processes import of_each
from torchbce.monitor.epoch_bce import EpochBCE
from torchbce.monitor.history import History


@dataclass
class Progress:
    """share: of ones in the training data, known after the first epoch. running: what this process has seen of the
    epoch; total: the same in compiled training, the sum of the losses."""

    loss_func: object = None
    history: History = field(default_factory=History)
    epoch: int = 1
    share: float = math.nan
    total: float = 0.0
    best_weights: dict[str, Any] | None = None
    running: EpochBCE = field(init=False)

    def __post_init__(self) -> None:
        self.running = EpochBCE(self.loss_func)

    def keep_best(self, weights: dict[str, Any]) -> None:
        self.best_weights = copy.deepcopy(weights)

    def next_epoch(self) -> None:
        self.epoch += 1
        self.running, self.total = EpochBCE(self.loss_func), 0.0

    def state_dict(self) -> dict[str, Any]:
        """Of all processes; all must call it."""
        return {
            "history": self.history.state_dict(),
            "epoch": self.epoch,
            "share": self.share,
            "total": self.total,
            "running": of_each(self.running.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history.load_state_dict(state["history"])
        self.epoch, self.share, self.total = state["epoch"], state["share"], state["total"]
        self.running = EpochBCE(self.loss_func)
        kept = state["running"]
        if len(kept) == processes.count():
            self.running.load_state_dict(kept[processes.number()])
        elif processes.is_first():  # other processes than those that counted: the first takes what they had
            for part in kept:
                one = EpochBCE(self.loss_func)
                one.load_state_dict(part)
                self.running.merge(one)
