"""The epochs of an ensemble: train, validate, record, until none gets better.

The state is saved now and then, so that a killed run continues where it was and ends with the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torchbce.checkpoint.record import State
from torchbce.common import processes
from torchbce.common.signals import Came, signals_held
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig
from torchbce.table.ensemble.strategy import EpochControl, Strategy
from torchbce.table.ensemble.validation import STATE_FORM, EpochSelector


@dataclass
class EnsembleTrainer:
    """Train the networks of `strategy`, and choose one epoch for all of them."""

    strategy: Strategy
    selector: EpochSelector
    config: EnsembleConfig
    callbacks: Callbacks = field(default_factory=Callbacks)
    _ended: bool = False  # no epoch is to come

    def run(self) -> None:
        """Train until stopped; the networks end with their best weights.

        Raises:
            InputError: a loss that is not finite.
        """
        self._resume()
        checkpointer = self.callbacks.checkpointer
        with signals_held(hold=checkpointer.enabled and self.strategy.can_stop) as signal:
            while not (self._is_over() or signal):
                self._train_epoch(signal)
                if not signal:
                    self._validate_and_record()
            if checkpointer.enabled and not self._ended:  # what comes after the last epoch may be cut short
                self._ended = not signal
                self._save()
        self.strategy.restore_best()

    def _train_epoch(self, signal: Came) -> None:
        self.strategy.train_epoch(EpochControl(self.selector.next_epoch, signal, self.callbacks, self._save))

    def _validate_and_record(self) -> None:
        """Validate, record the epoch, start the next."""
        logits = self.strategy.validation_logits(self.selector.next_epoch)
        if self.selector.record(logits, self.strategy.totals()):
            self.strategy.save_best()
        self.strategy.begin_epoch()
        if self.callbacks.epoch:
            self.callbacks.epoch(self.selector.history[-1])

    def _is_over(self) -> bool:
        if self._ended or self.selector.is_over(self.config):
            return True
        if self.config.time_budget is None or not len(self.selector.history):
            return False
        return processes.from_first(lambda: self.strategy.out_of_time)  # clocks differ

    def _save(self) -> None:
        """Write a checkpoint; all processes call together."""
        self.callbacks.checkpointer.save(
            {"networks": self.strategy.state_dict(), "epochs": self.selector.state_dict(), "ended": self._ended}
        )

    def _resume(self) -> None:
        """Restore the last checkpoint, if there is one."""
        form = {"networks": self.strategy.state_form(), "epochs": STATE_FORM, "ended": bool}
        state = self.callbacks.checkpointer.load(form, self._check_state)
        if state is None:
            return
        self.strategy.load_state_dict(state["networks"])
        self.selector.load_state_dict(state["epochs"])
        self._ended = state["ended"]
        if self.callbacks.resumed and not self._ended:
            self.callbacks.resumed(self.selector.next_epoch)

    def _check_state(self, state: State) -> None:
        """Raise a ValueError unless the parts of a state of the right form fit each other."""
        self.selector.check_state(state["epochs"])
        history = state["epochs"]["history"]
        self.strategy.check_state(state["networks"], len(history["epochs"]), has_best=history["chosen"] is not None)
