"""What an `EnsembleTrainer` asks of the place where rows are: in memory or packed on disk."""

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
        return self.callbacks.keeper.is_due


class Strategy(Protocol):
    """Steps through the rows of an epoch and evaluates the validation rows; all networks of the ensemble take part."""

    @property
    def can_stop(self) -> bool:
        """Whether an epoch ends early, at a state that can be saved, once `EpochControl.stop` is true."""
        ...

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is spent."""
        ...

    def train_epoch(self, control: EpochControl) -> None:
        """Take the steps of the epoch that are left, or return early at a signal.

        Raises:
            InputError: a loss that is not finite.
        """
        ...

    def validation_logits(self, epoch: int) -> np.ndarray:
        """Return one logit per validation row.

        Raises:
            InputError: an output is not finite.
        """
        ...

    def totals(self) -> EpochTotals:
        """Return the sums of the epoch that was trained."""
        ...

    def save_best(self) -> None:
        """Remember the weights as the best so far."""
        ...

    def restore_best(self) -> None:
        """Set the weights to the best."""
        ...

    def begin_epoch(self) -> None:
        """Begin a new epoch."""
        ...

    def state_dict(self) -> State:
        """Serialize the networks, their best weights and the epoch in progress."""
        ...

    def state_form(self) -> Any:
        """Return the form of `state_dict` (see `form.require`)."""
        ...

    def check_state(self, state: State, epochs: int, *, has_best: bool) -> None:
        """Raise unless a state of the right form is that of a run after so many epochs.

        Raises:
            ValueError: what is wrong.
        """
        ...

    def load_state_dict(self, state: State) -> None:
        """Restore from `state_dict`."""
        ...
