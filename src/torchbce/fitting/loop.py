"""The training loop of `fit`: fit_loop -> run_epoch -> train_epoch -> train_step -> validate -> checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.batches import Batches
from torchbce.fitting.checkpointer import LOG, FitCheckpointer, describe_position
from torchbce.fitting.compiled import CompiledTraining
from torchbce.fitting.distributed_sampler import set_epoch
from torchbce.fitting.evaluate import equally_many, evaluate
from torchbce.fitting.finite_checks import FiniteChecks
from torchbce.fitting.step import TrainStep
from torchbce.fitting.stop_signal import StopSignal
from torchbce.fitting.synchronize import broadcast_buffers
from torchbce.fitting.training_state import TrainingState
from torchbce.monitor.epoch_bce import EpochBCE
from torchbce.monitor.history import Epoch, History


class EvaluationStopped(Exception):
    """A signal came during an evaluation, which will be done again."""


@dataclass
class FitLoop:
    """A run of `fit`; `lockstep`: all processes take equally many steps, with empty batches where one has no more."""

    state: TrainingState
    step: TrainStep
    checks: FiniteChecks
    validation: Batches | None
    epochs: int
    patience: int | None
    evaluates_train: bool
    baseline: bool
    on_epoch: Callable[[Epoch], object] | None
    on_step: Callable[[int, int], object] | None
    lockstep: bool
    checkpointer: FitCheckpointer | None
    stop: StopSignal = field(default_factory=StopSignal)

    def fit_loop(self, checkpoint: dict[str, Any] | None) -> History:
        """Train until stopped, from the start or from a checkpoint."""
        state, progress = self.state, self.state.progress
        state.batches.saves_state = self.checkpointer is not None
        if self.checkpointer is not None:
            if checkpoint is None:
                self.checkpointer.save(state.state_dict(state.position()), required=True)
            else:
                with self.checkpointer.explaining_mismatch():
                    state.load_state_dict(checkpoint)
        while progress.epoch <= self.epochs and not self._is_out_of_patience():
            self.run_epoch()
        if progress.best_weights is not None:
            state.module.load_state_dict(progress.best_weights)
        return progress.history

    def run_epoch(self) -> None:
        """Train on all batches, validate, record the epoch, keep the best weights, and save a checkpoint."""
        state, progress, history = self.state, self.state.progress, self.state.progress.history
        start = time.perf_counter()
        running = self.train_epoch() if state.compiled is None else self._train_compiled_epoch(state.compiled)
        seconds = time.perf_counter() - start
        if progress.epoch == 1:
            progress.base_rate = running.share
        train, valid = self.validate()
        epoch = self._epoch(running, train, valid, seconds)
        history.append(epoch)
        is_best = history.best is epoch and self.validation is not None
        if is_best:
            progress.save_best(state.module.state_dict())
        progress.next_epoch()
        state.batches.end_epoch()
        if self.on_epoch:
            self.on_epoch(epoch)
        if self.checkpointer is not None:
            is_last = epoch.number == self.epochs or self._is_out_of_patience()
            due = is_last or self.checkpointer.is_due or (is_best and self.checkpointer.is_cheap)
            self.checkpoint(*processes.sum_over_processes(float(due), float(self.stop.came)))

    def train_epoch(self) -> EpochBCE:
        """Take a step on every batch of the epoch, or those that are left; return the running loss."""
        state, step, checkpointer, batches = self.state, self.step, self.checkpointer, self.state.batches
        number, running = state.progress.epoch, state.progress.running
        set_epoch(batches, number)
        step.forward.module.train()
        shuffled = batches.shuffled()
        state.restore_after_replay()
        due = stop = False
        for inputs, target in equally_many(shuffled) if self.lockstep else shuffled:
            if checkpointer is not None:
                due, stop = checkpointer.is_due, self.stop.came
            status, output, loss = step.train_step(
                inputs, target, running, with_targets=number == 1, due=due, stop=stop
            )
            if not status.finite:
                self.checks.report_batch(inputs, target, output, loss)
            if self.checks.interval > 1 and step.single_process and batches.done % self.checks.interval == 0:
                self.checks.require_finite_total(running.total)
            if self.on_step:
                self.on_step(batches.done, len(batches))
            if status.due or status.stop:
                self.checks.require_finite_total(running.total)
                self.checkpoint(status.due, status.stop)
        total = running.gathered()
        self._require_items(total)
        self.checks.require_finite_total(total.total)
        if processes.world_size() > 1 and step.skips_forward:
            broadcast_buffers(state.module)
        return total

    def validate(self) -> tuple[EpochBCE | None, EpochBCE | None]:
        """Evaluate the training data, if asked for, and the validation data; a signal ends the run before them."""
        position = self.state.position() if self.checkpointer else None
        try:
            train = self._evaluate(self.state.batches) if self.evaluates_train else None
            return train, None if self.validation is None else self._evaluate(self.validation)
        except EvaluationStopped:
            if self.checkpointer is not None and position is not None:
                self.checkpointer.save(self.state.state_dict(position))
            self._stop()

    def checkpoint(self, due: float, stop: float) -> None:
        """Save a checkpoint between batches or epochs if one is due, and end the run if a signal came."""
        if due or stop:
            self.checks.require_finite_weights(self.state.module)
            if self.checkpointer is not None:
                self.checkpointer.save(self.state.state_dict(self.state.position()))
        if stop:
            self._stop()

    def _train_compiled_epoch(self, compiled: CompiledTraining) -> EpochBCE:
        """The same as `train_epoch`, without Python between steps."""
        progress, batches = self.state.progress, self.state.batches
        self.state.skip_replay()
        for total in compiled.epoch(progress.total):
            progress.total = total
            self.checks.require_finite_total(total)
            if self.checkpointer is not None and batches.done < len(batches):
                self.checkpoint(self.checkpointer.is_due, self.stop.came)
        target, running = compiled.target, EpochBCE(self.step.forward.loss_func)
        mean = torch.tensor(progress.total / len(target), dtype=torch.float64)
        running.update(mean, target if progress.epoch == 1 else None, count=len(target), reduction="mean")
        return running

    def _epoch(self, running: EpochBCE, train: EpochBCE | None, valid: EpochBCE | None, seconds: float) -> Epoch:
        base_rate, judged = self.state.progress.base_rate, valid or train or running
        return Epoch(
            number=self.state.progress.epoch,
            running=running.compute(),
            train=None if train is None else train.compute(),
            valid=None if valid is None else valid.compute(),
            # Always answering the training data's base rate, on the data that are judged.
            baseline=judged.cost_of(base_rate, base_rate if valid is None else None) if self.baseline else math.nan,
            seconds=seconds,
        )

    def _evaluate(self, batches: Batches) -> EpochBCE:
        lockstep = processes.world_size() > 1 and not self.step.skips_forward
        return evaluate(self.step.forward, batches, after_batch=self._raise_if_stopped, lockstep=lockstep)

    def _raise_if_stopped(self) -> None:
        if self.stop.came and processes.world_size() == 1:
            raise EvaluationStopped

    def _is_out_of_patience(self) -> bool:
        history = self.state.progress.history
        if self.patience is None or not len(history):
            return False
        return history[-1].number - history.best.number >= self.patience

    def _require_items(self, running: EpochBCE) -> None:
        if running.count:
            return
        progress = self.state.progress
        if progress.history.skipped and self.state.batches.done:
            raise InputError(f"no batch of epoch {progress.epoch} has a finite loss: nothing is left to train on")
        raise ValueError("the training data gave no batches; an iterable must be one that can be iterated anew")

    def _stop(self) -> NoReturn:
        assert self.checkpointer is not None
        position = describe_position(self.state.progress.epoch, self.state.batches.done)
        message = f"stopped at {position}; {self.checkpointer.last}, and the same call goes on from there"
        if processes.is_first():
            LOG.warning(message)
        self.stop.obey(message)
