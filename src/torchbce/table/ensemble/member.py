"""One network of an ensemble: its rows, its steps, and its best weights so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchbce.checkpoint.form import Array, Maybe, Whole
from torchbce.checkpoint.record import State
from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import Optimizer
from torchbce.table.ensemble.config import EnsembleConfig
from torchbce.table.ensemble.schedule import Schedule
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.network.trainers import TrainerFactory, load_state, state_form, state_of

CALL = 0.1  # seconds that a call of the machine should take: between calls, Ctrl-C is seen

GENERATOR = {  # the state of numpy's PCG64
    "bit_generator": str,
    "state": {"state": Whole(2**128 - 1), "inc": Whole(2**128 - 1)},
    "has_uint32": Whole(1),
    "uinteger": Whole(2**32 - 1),
}


class NotFinite(ArithmeticError):
    """A loss that is not finite, in one of the batches from the first to the last of those named."""

    def __init__(self, loss: float, first: int, last: int) -> None:
        super().__init__(loss, first, last)
        self.loss, self.first, self.last = loss, first, last


@dataclass(frozen=True)
class MemberSplit:
    """The numbers (int32) of the rows that a member learns from, and of those that it is judged by."""

    train: Tensor
    valid: Tensor


class Member:
    """Train `network` on its rows; one thread at a time may call it."""

    def __init__(
        self,
        network: TableNetwork,
        rows: Rows,
        split: MemberSplit,
        config: EnsembleConfig,
        factory: TrainerFactory,
        seed: int,
    ) -> None:
        self.network, self.rows, self.split = network, rows, split
        self.batch = min(config.batch_size, len(split.train))
        self.steps_per_epoch = -(-len(split.train) // self.batch)
        optimizer = Optimizer(config.optimizer, config.weight_decay)
        self.machine = factory.trainer(network, optimizer, batch=self.batch, seed=seed, skip=config.on_nan == "skip")
        self.generator = np.random.default_rng(seed)
        self.schedule = Schedule.of(config, self.steps_per_epoch)
        self.best: Tensor | None = None  # weights
        self._steps_per_call = 16
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Begin a new epoch, in a new order of the rows."""
        self._before = self.generator.bit_generator.state
        self.order = self.split.train[torch.from_numpy(self.generator.permutation(len(self.split.train)))]
        self.total, self.done = 0.0, 0
        self.machine.skipped, self.machine.skipped_weight = 0, 0.0

    @property
    def is_through(self) -> bool:
        """Return whether the epoch is done; `total` is then the sum of the losses of its rows."""
        return self.done == self.steps_per_epoch

    def advance(self, stop: Callable[[], bool]) -> None:
        """Train to the end of the epoch, or until `stop` returns true.

        Raises:
            NotFinite: a loss.
        """
        while not self.is_through and not stop():
            count = min(self._steps_per_call, self.steps_per_epoch - self.done)
            start = time.perf_counter()
            chunk = self.order[self.done * self.batch : (self.done + count) * self.batch]
            rates = self.schedule.rates(self.machine.steps, count)
            self.total = self.machine.train(self.rows, chunk, rates, self.total)
            took = time.perf_counter() - start
            self._steps_per_call = max(1, min(4 * count, int(count * CALL / max(took, 1e-6))))
            self.done += count
            if not math.isfinite(self.total):
                raise NotFinite(self.total, self.done - count + 1, self.done)

    def valid_outputs(self) -> np.ndarray:
        """Return the logits of the validation rows, (rows, heads)."""
        return self.machine.outputs(self.rows, self.split.valid).numpy()

    def save_best(self) -> None:
        """Remember the weights as the best so far."""
        self.best = self.machine.parameters.to("cpu", copy=True)

    def restore_best(self) -> None:
        """Set the weights to the best."""
        if self.best is not None:
            self.machine.parameters.copy_(self.best)

    def state_dict(self) -> State:
        """Serialize; the order of the epoch is drawn again from the generator's state before it."""
        return {
            "machine": state_of(self.machine),
            "skipped": (self.machine.skipped, self.machine.skipped_weight),
            "generator": self._before,
            "total": self.total,
            "done": self.done,
            "best": self.best,
            "spent": self.schedule.spent,
        }

    def state_form(self) -> Any:
        """Return the form of `state_dict`."""
        return {
            "machine": state_form(self.machine),
            "skipped": (Whole(), float),
            "generator": GENERATOR,
            "total": float,
            "done": Whole(self.steps_per_epoch),
            "best": Maybe(Array((len(self.machine.parameters),))),
            "spent": float,
        }

    def check_state(self, state: State, epochs: int, *, has_best: bool) -> None:
        """Raise unless a state of the right form is that of a run after so many epochs.

        Raises:
            ValueError: what is wrong.
        """
        steps = epochs * self.steps_per_epoch + state["done"]
        if state["machine"]["steps"] != steps:
            raise ValueError(f"a network has taken {state['machine']['steps']} steps, expected {steps}")
        if (state["best"] is not None) != has_best:
            raise ValueError("the weights of the best epoch are not there, or there is no such epoch")

    def load_state_dict(self, state: State) -> None:
        """Restore from `state_dict`."""
        load_state(self.machine, state["machine"])
        self.generator.bit_generator.state = state["generator"]
        self.begin_epoch()
        self.machine.skipped, self.machine.skipped_weight = state["skipped"]
        self.total, self.done, self.best = state["total"], state["done"], state["best"]
        self.schedule.started = time.perf_counter() - state["spent"]


def new_network(spec: NetworkSpec, edges: list[np.ndarray], base_rate: float, seed: int) -> TableNetwork:
    """Return a network before training, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TableNetwork(spec)
    network.set_bin_edges(edges)
    network.start_at(base_rate)
    return network
