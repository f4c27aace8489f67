"""The epochs of a run: training, evaluation, what is kept between, and how it goes on after it was cut."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.agreement import anywhere, same_buffers, summed
from torchbce.fitting.batches import Batches, IterableBatches, TensorBatches
from torchbce.fitting.compiled import CompiledTraining
from torchbce.fitting.evaluate import evaluate, in_step
from torchbce.fitting.forward import devices_of
from torchbce.fitting.keeping import LOG, Keeping, place
from torchbce.fitting.not_finite import in_batch, in_data, in_output, not_finite, strange_weights
from torchbce.fitting.progress import Progress
from torchbce.fitting.random_numbers import another_stream, random_state, restore_random_state
from torchbce.fitting.sampling import set_epoch
from torchbce.fitting.step import Step
from torchbce.fitting.stopping import Stop
from torchbce.fitting.whole import load_module, load_optimizer, part, spread_as, whole
from torchbce.monitor.epoch_bce import EpochBCE
from torchbce.monitor.history import Epoch, History


class AskedToStop(Exception):
    """During an evaluation, which will be done again."""


@dataclass
class Loop:
    """A run of `fit`. `module` is the user's, out of what it may be wrapped in."""

    module: nn.Module
    step: Step
    training: Batches
    validation: Batches | None
    epochs: int
    patience: int | None
    evaluates_train: bool
    baseline: bool
    on_epoch: Callable[[Epoch], object] | None
    on_step: Callable[[int, int], object] | None
    skips: bool
    sharded: bool
    every: int
    keeping: Keeping | None = None
    compiled: CompiledTraining | None = None
    stop: Stop = field(default_factory=Stop)
    progress: Progress = field(init=False)
    _random_after: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.progress = Progress(self.step.forward.loss_func)

    def run(self, before: dict[str, Any] | None) -> History:
        """From the start, or from where a checkpoint is."""
        self.training.keeps = self.keeping is not None
        if before is not None:
            assert self.keeping is not None
            with self.keeping.fitting():
                self._go_on(before)
        elif self.keeping is not None:
            self.keeping.save(self._state(self._place()), must=True)
        while self.progress.epoch <= self.epochs and not self._is_over():
            self._epoch()
        if self.progress.best_weights is not None:
            self.module.load_state_dict(self.progress.best_weights)
        return self.progress.history

    def _is_over(self) -> bool:
        history = self.progress.history
        return (
            self.patience is not None and len(history) > 0 and history[-1].number - history.best.number >= self.patience
        )

    def _epoch(self) -> None:
        progress, number = self.progress, self.progress.epoch
        history = progress.history
        start = time.perf_counter()
        running = self._train() if self.compiled is None else self._train_compiled(self.compiled)
        seconds = time.perf_counter() - start
        if number == 1:
            progress.share = running.share
        here = self._place() if self.keeping else None
        try:
            train = self._evaluated(self.training) if self.evaluates_train else None
            held_out = None if self.validation is None else self._evaluated(self.validation)
        except AskedToStop:
            self._keep(here)
            self._obey(number, self.training.done)
        share, judged = progress.share, held_out or train or running
        epoch = Epoch(
            number=number,
            running=running.compute(),
            train=None if train is None else train.compute(),
            valid=None if held_out is None else held_out.compute(),
            # Always answering the training data's share of ones, on the data that are judged.
            baseline=judged.cost_of(share, share if held_out is None else None) if self.baseline else math.nan,
            seconds=seconds,
        )
        history.append(epoch)
        best = history.best is epoch and self.validation is not None
        if best:
            progress.keep_best(self.module.state_dict())
        progress.next_epoch()
        self.training.end()
        if self.on_epoch:
            self.on_epoch(epoch)
        if self.keeping is not None:
            last = number == self.epochs or self._is_over()
            due = self.keeping.is_due or (best and self.keeping.is_cheap)
            self._pause(*summed(float(due or last), float(self.stop.asked > 0)))

    def _train(self) -> EpochBCE:
        """One pass over the training data, or what is left of it; returns the running loss."""
        number, meter = self.progress.epoch, self.progress.running
        step, keeping, training = self.step, self.keeping, self.training
        set_epoch(training, number)
        step.forward.module.train()
        batches = training.shuffled()
        after, self._random_after = self._random_after, None
        if after is not None:
            restore_random_state(after, devices_of(self.module))
        due = stop = False
        for inputs, target in in_step(batches) if self.sharded else batches:
            if keeping is not None:
                due, stop = keeping.is_due, self.stop.asked > 0
            agreed, output, loss = step(inputs, target, meter, with_targets=number == 1, due=due, stop=stop)
            if not agreed.finite:
                self._strange(inputs, target, output, loss)
            if self.every > 1 and step.alone and training.done % self.every == 0:
                self._check_total(meter.total)
            if self.on_step:
                self.on_step(training.done, len(training))
            if agreed.due or agreed.stop:
                self._check_total(meter.total)
                self._pause(agreed.due, agreed.stop)
        running = meter.gathered()
        if not running.count:
            if self.progress.history.skipped and training.done:
                raise InputError(f"no batch of epoch {number} has a finite loss: nothing is left to train on")
            raise ValueError("the training data gave no batches; an iterable must be one that can be iterated anew")
        self._check_total(running.total)
        if processes.count() > 1 and step.spares:
            same_buffers(self.module)
        return running

    def _train_compiled(self, compiled: CompiledTraining) -> EpochBCE:
        """The same, without Python between steps."""
        progress, self._random_after = self.progress, None
        for total in compiled.epoch(progress.total):
            progress.total = total
            self._check_total(total)
            if self.keeping is not None and self.training.done < len(self.training):
                self._pause(self.keeping.is_due, self.stop.asked > 0)
        target, meter = compiled.target, EpochBCE(self.step.forward.loss_func)
        mean = torch.tensor(progress.total / len(target), dtype=torch.float64)
        meter.update(mean, target if progress.epoch == 1 else None, count=len(target), reduction="mean")
        return meter

    def _evaluated(self, batches: Batches) -> EpochBCE:
        together = processes.count() > 1 and not self.step.spares
        return evaluate(self.step.forward, batches, between=self._between, together=together)

    def _between(self) -> None:
        """Batches of an evaluation."""
        if self.stop.asked and processes.count() == 1:
            raise AskedToStop

    def _strange(self, inputs: Any, target: Tensor, output: Any, loss: Tensor | None) -> None:
        """A batch without a finite loss was found, in this process or another."""
        training, number, history = self.training, self.progress.epoch, self.progress.history
        if self.skips:
            history.skipped += 1
            if history.skipped > 1:
                return
        value = 0.0 if loss is None else float(loss.detach().double().sum())
        here = "" if self.every > 1 else in_batch(inputs, target, training.indices)
        # Else the step of a batch before it may be the cause, whose loss was finite and its gradient not.
        here = here or in_data(training) or ("" if self.every > 1 else in_output(output, training.indices))
        found = processes.of_each((value, here))
        value = next((value for value, _ in found if not math.isfinite(value)), math.nan)
        text = "; ".join(dict.fromkeys(text for _, text in found if text))
        batch = f"batch {training.done}" if self.every == 1 else f"batches up to {training.done}"
        if not self.skips:
            raise not_finite(value, number, batch, text, self._kept)
        if processes.is_first():
            warnings.warn(
                f"{batch} of epoch {number} is left out, as all whose loss or gradient is not finite: {text or value}; "
                "History.skipped counts them",
                stacklevel=2,
            )

    def _check_total(self, total: float) -> None:
        """Where not every batch was looked at."""
        if not math.isfinite(total):
            batches = f"batches up to {self.training.done}"
            raise not_finite(total, self.progress.epoch, batches, in_data(self.training), self._kept)

    @property
    def _kept(self) -> str | None:
        """The last good checkpoint, in words."""
        return None if self.keeping is None else self.keeping.last

    def _pause(self, due: float, stop: float) -> None:
        """Between batches or epochs: keep what there is, and end if asked to."""
        epoch, done = self.progress.epoch, self.training.done
        if due or stop:
            if anywhere(not all(bool(part(p).isfinite().all()) for p in self.module.parameters())):
                raise strange_weights(epoch, done, in_data(self.training), self._kept)
            self._keep(self._place())
        if stop:
            self._obey(epoch, done)

    def _obey(self, epoch: int, done: int) -> None:
        assert self.keeping is not None
        message = f"stopped at {place(epoch, done)}; {self.keeping.last}, and the same call goes on from there"
        if processes.is_first():
            LOG.warning(message)
        self.stop.obey(message)

    def _keep(self, here: dict[str, Any] | None) -> None:
        if self.keeping is not None and here is not None:
            self.keeping.save(self._state(here))

    def _place(self) -> dict[str, Any]:
        """Where the data and the random numbers of all processes are."""
        random = random_state(devices_of(self.module))
        return {
            "source": processes.of_each(self.training.state_dict()),
            "random": processes.of_each(random),
            "done": self.training.done,
        }

    def _state(self, here: dict[str, Any]) -> dict[str, Any]:
        """All that the rest of the run depends on."""
        if self.compiled is not None:
            self.compiled.hand_over()
        step = self.step
        return {
            "module": whole(self.module.state_dict()),
            "optimizer": whole(step.optimizer.state_dict()),
            "scheduler": step.scheduler.state_dict() if step.scheduler else None,
            "scaler": step.scaler.state_dict() if step.scaler else None,
            "best_weights": whole(self.progress.best_weights),
            "progress": self.progress.state_dict(),
            "compiled": self.compiled is not None,
            **here,
        }

    def _go_on(self, state: dict[str, Any]) -> None:
        step, progress, count = self.step, self.progress, processes.count()
        load_module(self.module, state["module"])
        load_optimizer(step.optimizer, state["optimizer"])
        if step.scheduler:
            step.scheduler.load_state_dict(state["scheduler"])
        if step.scaler:
            step.scaler.load_state_dict(state["scaler"])
        progress.load_state_dict(state["progress"])
        if self.compiled is not None:
            self.compiled.take_over()
        elif state["compiled"] and isinstance(self.training, TensorBatches) and state["done"]:
            seen = min(state["done"] * self.training.batch_size, self.training.rows)
            progress.running.update(progress.total / seen, count=seen, reduction="mean")
        if state["best_weights"] is not None:
            own = self.module.state_dict()
            progress.best_weights = {n: spread_as(v, own[n]) for n, v in state["best_weights"].items()}
        same = len(state["source"]) == count
        if not same and isinstance(self.training, IterableBatches) and state["done"]:
            raise InputError(
                f"the checkpoint is of {len(state['source'])} processes in the middle of an epoch, and now there are "
                f"{count}: with a DataLoader or iterable go on with as many; tensors and Datasets go on with any number"
            )
        number = processes.number()
        self.training.load_state_dict(state["source"][number if same else 0])
        known = state["random"]
        random = known[number] if number < len(known) else another_stream(known[0], number)
        if state["done"]:
            self._random_after = random  # the batches that are done come first
        else:
            restore_random_state(random, devices_of(self.module))
        progress.history.resumed_at = (progress.epoch, state["done"])
        if processes.is_first():
            LOG.info("going on from %s", place(progress.epoch, state["done"]))
