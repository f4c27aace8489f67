"""Train on rows packed on disk: all networks learn from the same shuffled windows, each batch cut into lanes.

All processes take every step together and so have the same state at all times; the first saves it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchbce.checkpoint.form import Array, Each, Whole
from torchbce.checkpoint.record import State
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.common.signals import look
from torchbce.perceptron.rows import Rows
from torchbce.table.ensemble.config import EnsembleConfig
from torchbce.table.ensemble.ensemble import mean_logits
from torchbce.table.ensemble.schedule import Schedule
from torchbce.table.ensemble.strategy import EpochControl
from torchbce.table.ensemble.validation import EpochTotals, ValidationSet, not_finite, require_finite
from torchbce.table.network.data_parallel import DataParallelStep
from torchbce.table.network.trainers import load_state, state_form, state_of
from torchbce.table.packed.shuffled import Shuffled
from torchbce.table.packed.stored import Stored, Window

Value = TypeVar("Value")

BLOCKS = 8  # blocks evaluated at a time
TOGETHER = 32  # steps between looks at the clock and for signals
SHOWN = 5  # rows of a batch that an error names


@dataclass
class LanesInBlocks:
    """The strategy of a packed table; see `Strategy`. reading: the seconds that steps had to wait for rows."""

    train: Stored
    valid: Stored
    crews: list[DataParallelStep]  # one for each network
    config: EnsembleConfig
    seed: int
    reading: float = 0.0
    can_stop: bool = True
    _best: list[Tensor] = field(default_factory=list)  # the networks' weights
    _loss: float = 0.0  # of the epoch in progress
    _skipped: int = 0  # batches left out of it, and the weight of their rows
    _left_out: float = 0.0
    _window: int = 0  # the one that comes next or is in progress, and the steps done in it
    _done: int = 0
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        self.shuffled = Shuffled(self.train, self.seed)
        self.schedule = Schedule.of(self.config, self.steps)

    @property
    def steps(self) -> int:
        """Return the steps of an epoch: batches end where windows do."""
        full, rows = self.shuffled.window_rows, len(self.train)
        return rows // full * -(-full // self.config.batch_size) + -(-(rows % full) // self.config.batch_size)

    @property
    def out_of_time(self) -> bool:
        return self.schedule.is_over

    def train_epoch(self, control: EpochControl) -> None:
        before = (control.number - 1) * self.steps
        while self._window < self.shuffled.windows and not control.stop:
            start = time.perf_counter()
            self.shuffled.load_state_dict({"epoch": control.number - 1, "window": self._window})
            window, order = next(self.shuffled)
            self.reading += time.perf_counter() - start
            batches = torch.split(order, self.config.batch_size)
            for first in range(self._done, len(batches), TOGETHER):
                self._steps(window, batches[first : first + TOGETHER], control.number)
                self._seconds += time.perf_counter() - start
                start = time.perf_counter()
                if control.callbacks.step:
                    control.callbacks.step(self.crews[0].first.steps - before, self.steps)
                look()
                if control.stop:
                    return
                if control.is_checkpoint_due:
                    control.save()
            self._window, self._done = self._window + 1, 0

    def _steps(self, window: Window, batches: tuple[Tensor, ...], epoch: int) -> None:
        """Take one step of every network with each batch."""
        step = self.crews[0].first.steps
        lanes = -(-self.config.batch_size // self.crews[0].micro_batch_rows)
        rates = self._learning_rates(step, len(batches))
        for batch, rate in zip(batches, rates, strict=True):
            draw = self.crews[0].first.steps * lanes
            for crew in self.crews:
                loss = crew.step(window.rows, batch, rate, draw)
                if math.isfinite(loss):
                    self._loss += loss
                elif self.config.on_nan == "stop":
                    raise InputError(not_finite(epoch, loss, self._named(window, batch)))
                else:
                    self._skipped += 1
                    self._left_out += weight_of(window.rows, batch)
            self._done += 1

    def _learning_rates(self, step: int, count: int) -> list[float]:
        """Return the rates of the next steps, the same in all processes although their clocks differ."""

        def rates() -> list[float]:
            return self.schedule.rates(step, count).tolist()

        return rates() if self.config.time_budget is None else processes.from_first(rates)

    def _named(self, window: Window, batch: Tensor) -> str:
        """Name a batch and some of its rows, for an error."""
        numbers = ", ".join(map(str, sorted(window.numbers[batch.numpy()])[:SHOWN]))
        return f"batch {self.crews[0].first.steps % self.steps:,}, of the rows {numbers}, ..."

    def validation_logits(self, epoch: int) -> np.ndarray:
        logits = np.concatenate(for_each_window(self.valid, lambda rows: logits_of(self.crews, rows)))
        require_finite(logits, epoch)
        return logits

    def totals(self) -> EpochTotals:
        weight = self.train.weight * len(self.crews)
        return EpochTotals(self._loss, weight, self._left_out, self._skipped, self._seconds)

    def save_best(self) -> None:
        self._best = [crew.first.parameters.to("cpu", copy=True) for crew in self.crews]

    def restore_best(self) -> None:
        for crew, best in zip(self.crews, self._best, strict=True):
            crew.first.parameters.copy_(best)

    def begin_epoch(self) -> None:
        self._loss, self._window, self._done, self._seconds = 0.0, 0, 0, 0.0
        self._skipped, self._left_out = 0, 0.0

    def state_dict(self) -> State:
        return {
            "crews": [state_of(crew.first) for crew in self.crews],
            "best": self._best,
            "loss": self._loss,
            "skipped": (self._skipped, self._left_out),
            "window": self._window,
            "done": self._done,
            "spent": self.schedule.spent,
            "seconds": self._seconds,
            "reading": self.reading,
        }

    def state_form(self) -> Any:
        return {
            "crews": [state_form(crew.first) for crew in self.crews],
            "best": Each(Array((len(self.crews[0].first.parameters),))),
            "loss": float,
            "skipped": (Whole(), float),
            "window": Whole(self.shuffled.windows),
            "done": Whole(self.steps),
            "spent": float,
            "seconds": float,
            "reading": float,
        }

    def check_state(self, state: State, epochs: int, *, has_best: bool) -> None:
        if len(state["best"]) != (len(self.crews) if has_best else 0):
            raise ValueError("the weights of the best epoch are not there, or there is no such epoch")
        per_window = -(-self.shuffled.window_rows // self.config.batch_size)
        steps = min(state["window"] * per_window, self.steps) + state["done"] + epochs * self.steps
        if any(network["steps"] != steps for network in state["crews"]):
            raise ValueError(f"a network has taken another number of steps than {steps}")

    def load_state_dict(self, state: State) -> None:
        for crew, before in zip(self.crews, state["crews"], strict=True):
            load_state(crew.first, before)
        self._best = state["best"]
        self._loss, self._window, self._done = state["loss"], state["window"], state["done"]
        self._skipped, self._left_out = state["skipped"]
        self._seconds, self.reading = state["seconds"], state["reading"]
        self.schedule.started = time.perf_counter() - state["spent"]


def for_each_window(part: Stored, evaluate: Callable[[Rows], Value]) -> list[Value]:
    """Return the results of `evaluate` on each window of a part, in order; each process does a share of them."""
    count = part.layout.blocks_within(BLOCKS)
    windows = list(range(-(-part.blocks // count)))
    values = {}
    for number in processes.own_share(windows):
        look()
        blocks = range(number * count, min((number + 1) * count, part.blocks))
        values[number] = evaluate(part.window(blocks).rows)
    return processes.gather_shared(values)


def weight_of(rows: Rows, chosen: Tensor) -> float:
    """Return the total weight of the chosen rows."""
    return float(len(chosen)) if rows.weight is None else float(rows.weight[chosen.long()].sum(dtype=torch.float64))


def logits_of(crews: list[DataParallelStep], rows: Rows) -> np.ndarray:
    """Return the logit of the mean probability of all networks' heads, by row."""
    return mean_logits(np.concatenate([crew.outputs(rows) for crew in crews], 1))


def validation_set(valid: Stored, base_rate: float, *, enough: bool) -> ValidationSet:
    """Return the packed validation rows, by their numbers from 0. `enough`: whether there are enough for a baseline."""
    windows: Iterator[tuple[np.ndarray, ...]] = (
        (
            window.numbers.copy(),
            window.rows.target.numpy().copy(),
            (torch.ones(len(window.rows)) if window.rows.weight is None else window.rows.weight).numpy().copy(),
        )
        for window in valid.in_order()
    )
    numbers, target, weight = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    return ValidationSet(
        rows=numbers - 1,
        target=target.astype(np.float64),
        weight=weight.astype(np.float64),
        by_all=True,
        base_rate=base_rate if enough else None,
    )
