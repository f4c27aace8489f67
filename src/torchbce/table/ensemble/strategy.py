"""Protocol between an `EnsembleTrainer` and the rows that it trains on, in memory or packed on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from torchbce.checkpoint.record import State
from torchbce.common.signals import Came
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.validation import EpochTotals


@dataclass(frozen=True)
class EpochControl:
    """The run, as seen by an epoch in progress.

    number: of the epoch, from 1. stop: true once a signal asked the run to end. save: writes a checkpoint.
    """

    number: int
    stop: Came
    callbacks: Callbacks
    save: Callable[[], None]

    @property
    def is_checkpoint_due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return self.callbacks.checkpointer.is_due


class Strategy(Protocol):
    """Steps through the rows of an epoch and evaluates the validation rows; all networks of the ensemble take part."""

    @property
    def can_stop(self) -> bool: ...  # a signal can end an epoch early, at a state that can be saved

    @property
    def out_of_time(self) -> bool: ...

    def train_epoch(self, control: EpochControl) -> None: ...  # raises InputError at a loss that is not finite

    def validation_logits(self, epoch: int) -> np.ndarray: ...  # one per validation row; as above

    def totals(self) -> EpochTotals: ...  # of the epoch that was trained

    def save_best(self) -> None: ...

    def restore_best(self) -> None: ...

    def begin_epoch(self) -> None: ...

    def state_dict(self) -> State: ...  # the networks, their best weights and the epoch in progress

    def state_form(self) -> Any: ...  # see `form.require`

    def check_state(self, state: State, epochs: int, *, has_best: bool) -> None: ...  # ValueError: not of this run

    def load_state_dict(self, state: State) -> None: ...
