"""The epochs of networks over a table that is larger than memory, window by window; kept now and then.

All processes take every step together and so have the same state at all times; the first keeps it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from torchbce.checkpoint.form import Array, Each, Whole
from torchbce.checkpoint.record import State
from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.common.signals import Came, look, signals_held
from torchbce.perceptron.rows import Rows
from torchbce.table.ensemble.course import Watch
from torchbce.table.ensemble.ensemble import mean_logits
from torchbce.table.ensemble.judged import STATE_FORM, Judge, Judged, Learning, not_finite
from torchbce.table.ensemble.recipe import Recipe
from torchbce.table.ensemble.schedule import Schedule
from torchbce.table.network.data_parallel import DataParallelStep
from torchbce.table.network.trainers import load_state, state_form, state_of
from torchbce.table.packed.shuffled import Shuffled
from torchbce.table.packed.stored import Stored, Window

Value = TypeVar("Value")

BLOCKS = 8  # that are evaluated at a time
TOGETHER = 32  # steps between looks at the clock and for signals
SHOWN = 5  # rows of a batch that an error names


@dataclass
class StreamCourse:
    """A run of epochs, and where it is: the window that comes next or is in progress, and the steps done in it."""

    train: Stored
    valid: Stored
    judged: Judged
    crews: list[DataParallelStep]  # one for each network
    chosen: Recipe
    seed: int
    watch: Watch = field(default_factory=Watch)
    seconds: float = 0.0  # of all epochs, and those of them that steps had to wait for rows
    reading: float = 0.0
    kept: list[Tensor] = field(default_factory=list)  # the networks' best weights
    _total: float = 0.0  # of the losses of the epoch in progress
    _skipped: int = 0  # batches left out of it, and the weight of their rows
    _left_out: float = 0.0
    _window: int = 0
    _done: int = 0
    _seconds: float = 0.0
    _ended: bool = False  # whether there is no epoch to come

    def __post_init__(self) -> None:
        self.shuffled = Shuffled(self.train, self.seed)
        self.schedule = Schedule(
            self.chosen.lr, self.chosen.epochs * self.steps, self.chosen.optimizer == "adamw", self.chosen.time_budget
        )

    @property
    def steps(self) -> int:
        """Of an epoch: batches end where windows do."""
        full, rows = self.shuffled.window_rows, len(self.train)
        return rows // full * -(-full // self.chosen.batch_size) + -(-(rows % full) // self.chosen.batch_size)

    def run(self) -> None:
        """To the end; the networks end with their best weights.

        Raises:
            InputError: a loss that is not finite.
        """
        self._resume()
        checkpointer = self.watch.checkpointer
        with signals_held(hold=checkpointer.enabled) as came:
            while not (self._is_over or came):
                self._epoch(came)
                if not came:
                    self._conclude()
            if checkpointer.enabled and not self._ended:  # what comes after the last epoch may be cut short
                self._ended = not came
                checkpointer.save(self._state())
        for crew, best in zip(self.crews, self.kept, strict=True):
            crew.first.parameters.copy_(best)

    @property
    def _is_over(self) -> bool:
        return (
            self._ended
            or self.judged.is_over(self.chosen)
            or (len(self.judged.history) > 0 and self._by_the_first(lambda: self.schedule.is_over))
        )

    def _epoch(self, came: Came) -> None:
        """Through the windows that are left of it, unless a signal comes."""
        epoch = len(self.judged.history)
        while self._window < self.shuffled.windows and not came:
            start = time.perf_counter()
            self.shuffled.load_state_dict({"epoch": epoch, "window": self._window})
            window, order = next(self.shuffled)
            self.reading += time.perf_counter() - start
            batches = torch.split(order, self.chosen.batch_size)
            for first in range(self._done, len(batches), TOGETHER):
                self._steps(window, batches[first : first + TOGETHER])
                self._seconds += time.perf_counter() - start
                start = time.perf_counter()
                if self.watch.step:
                    self.watch.step(self.crews[0].first.steps - epoch * self.steps, self.steps)
                look()
                if came:
                    return
                if self.watch.checkpointer.is_due:
                    self.watch.checkpointer.save(self._state())
            self._window, self._done = self._window + 1, 0

    def _steps(self, window: Window, batches: tuple[Tensor, ...]) -> None:
        """One step of every network with each batch."""
        step = self.crews[0].first.steps
        lanes = -(-self.chosen.batch_size // self.crews[0].micro_batch_rows)
        rates = self._by_the_first(lambda: self.schedule.rates(step, len(batches)).tolist())
        for batch, rate in zip(batches, rates, strict=True):
            draw = self.crews[0].first.steps * lanes
            for crew in self.crews:
                loss = crew.step(window.rows, batch, rate, draw)
                if math.isfinite(loss):
                    self._total += loss
                elif self.chosen.on_nan == "stop":
                    raise InputError(self._not_finite(loss, window, batch))
                else:
                    self._skipped += 1
                    self._left_out += weight_of(window.rows, batch)
            self._done += 1

    def _by_the_first(self, ask: Callable[[], Value]) -> Value:
        """What depends on the clock, if there is a budget, is the same in all processes."""
        return ask() if self.chosen.time_budget is None else processes.from_first(ask)

    def _not_finite(self, loss: float, window: Window, batch: Tensor) -> str:
        some = ", ".join(map(str, sorted(window.numbers[batch.numpy()])[:SHOWN]))
        where = f"batch {self.crews[0].first.steps % self.steps:,}, of the rows {some}, ..."
        return not_finite(len(self.judged.history) + 1, loss, where)

    def _conclude(self) -> None:
        """What the epoch came to; the next begins."""
        logits = np.concatenate(evaluated(self.valid, lambda rows: logits_of(self.crews, rows)))
        self.judged.require_finite(logits)
        is_best = self.judged.add(
            logits,
            Learning(self._total, self.train.weight * len(self.crews), self._left_out, self._skipped, self._seconds),
        )
        if is_best:
            self.kept = [crew.first.parameters.to("cpu", copy=True) for crew in self.crews]
        self.seconds += self._seconds
        self._total, self._window, self._done, self._seconds = 0.0, 0, 0, 0.0
        self._skipped, self._left_out = 0, 0.0
        if self.watch.epoch:
            self.watch.epoch(self.judged.history[-1])

    def _state(self) -> State:
        return {
            "networks": [state_of(crew.first) for crew in self.crews],
            "judged": self.judged.state_dict(),
            "kept": self.kept,
            "total": self._total,
            "skipped": (self._skipped, self._left_out),
            "window": self._window,
            "done": self._done,
            "spent": self.schedule.spent,
            "seconds": (self._seconds, self.seconds),
            "reading": self.reading,
            "ended": self._ended,
        }

    def _check(self, state: State) -> None:
        """Raise a ValueError unless the parts of a state that has the form fit each other."""
        self.judged.check_state(state["judged"])
        history, window = state["judged"]["history"], state["window"]
        if len(state["kept"]) != (0 if history["chosen"] is None else len(self.crews)):
            raise ValueError("the weights of the best epoch are not there, or there is no such epoch")
        steps = min(window * -(-self.shuffled.window_rows // self.chosen.batch_size), self.steps) + state["done"]
        steps += len(history["epochs"]) * self.steps
        if any(network["steps"] != steps for network in state["networks"]):
            raise ValueError(f"a network has taken another number of steps than {steps}")

    def _resume(self) -> None:
        """Where the last checkpoint was taken, if there is one."""
        weights = Array((len(self.crews[0].first.parameters),))
        form = {
            "networks": [state_form(crew.first) for crew in self.crews],
            "judged": STATE_FORM,
            "kept": Each(weights),
            "total": float,
            "skipped": (Whole(), float),
            "window": Whole(self.shuffled.windows),
            "done": Whole(self.steps),
            "spent": float,
            "seconds": (float, float),
            "reading": float,
            "ended": bool,
        }
        state = self.watch.checkpointer.load(form, self._check)
        if state is None:
            return
        for crew, before in zip(self.crews, state["networks"], strict=True):
            load_state(crew.first, before)
        self.judged.load_state_dict(state["judged"])
        self.kept = state["kept"]
        self._total, self._window, self._done = state["total"], state["window"], state["done"]
        self._skipped, self._left_out = state["skipped"]
        (self._seconds, self.seconds), self.reading = state["seconds"], state["reading"]
        self._ended = state["ended"]
        self.schedule.started = time.perf_counter() - state["spent"]
        if self.watch.resumed and not self._ended:
            self.watch.resumed(len(self.judged.history) + 1)


def evaluated(part: Stored, evaluate: Callable[[Rows], Value]) -> list[Value]:
    """Something of each window of a part, in order; each process does some windows."""
    count = part.layout.blocks_within(BLOCKS)
    windows = list(range(-(-part.blocks // count)))
    found = {}
    for number in processes.own_share(windows):
        look()
        blocks = range(number * count, min((number + 1) * count, part.blocks))
        found[number] = evaluate(part.window(blocks).rows)
    return processes.gather_shared(found)


def weight_of(rows: Rows, some: Tensor) -> float:
    """Of some rows together."""
    return float(len(some)) if rows.weight is None else float(rows.weight[some.long()].sum(dtype=torch.float64))


def logits_of(crews: list[DataParallelStep], rows: Rows) -> np.ndarray:
    """The logit of the mean probability of all networks' heads."""
    return mean_logits(np.concatenate([crew.outputs(rows) for crew in crews], 1))


def judge_of(valid: Stored, base_rate: float, *, enough: bool) -> Judge:
    """The validation rows, by their numbers from 0. `enough`: whether there are enough to speak of a baseline."""
    parts: Iterator[tuple[np.ndarray, ...]] = (
        (
            window.numbers.copy(),
            window.rows.target.numpy().copy(),
            (torch.ones(len(window.rows)) if window.rows.weight is None else window.rows.weight).numpy().copy(),
        )
        for window in valid.in_order()
    )
    numbers, target, weight = (np.concatenate(some) for some in zip(*parts, strict=True))
    return Judge(
        rows=numbers - 1,
        place=np.arange(len(numbers)),
        target=target.astype(np.float64),
        weight=weight.astype(np.float64),
        by_all=True,
        base_rate=base_rate if enough else None,
    )
