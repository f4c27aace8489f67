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
from torchbce.table.ensemble.recipe import Recipe
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
class Part:
    """A member's rows, by their numbers in all (int32): those it learns from, and those it is judged by."""

    train: Tensor
    valid: Tensor


class Member:
    """Trains `network` on its part of the rows; one thread at a time may call it."""

    def __init__(
        self, network: TableNetwork, rows: Rows, part: Part, recipe: Recipe, machines: TrainerFactory, seed: int
    ) -> None:
        self.network, self.rows, self.part, self.machines = network, rows, part, machines
        self.batch = min(recipe.batch_size, len(part.train))
        self.steps_per_epoch = -(-len(part.train) // self.batch)
        optimizer = Optimizer(recipe.optimizer, recipe.weight_decay)
        self.machine = machines.trainer(network, optimizer, batch=self.batch, seed=seed, skip=recipe.on_nan == "skip")
        self.generator = np.random.default_rng(seed)
        self.schedule = Schedule(
            recipe.lr, recipe.epochs * self.steps_per_epoch, recipe.optimizer == "adamw", recipe.time_budget
        )
        self.kept: Tensor | None = None
        self._steps_per_call = 16
        self.begin()

    def begin(self) -> None:
        """A new epoch, in an order of its own."""
        self._before = self.generator.bit_generator.state
        self.order = self.part.train[torch.from_numpy(self.generator.permutation(len(self.part.train)))]
        self.total, self.done = 0.0, 0
        self.machine.skipped, self.machine.skipped_weight = 0, 0.0

    @property
    def is_through(self) -> bool:
        """Whether every row of the epoch has been learnt from; `total` is then the running sum of their losses."""
        return self.done == self.steps_per_epoch

    def advance(self, stop: Callable[[], bool]) -> None:
        """Steps to the end of the epoch, or until told to stop."""
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
        """Logits of the validation rows, (rows, heads)."""
        return self.machine.outputs(self.rows, self.part.valid).numpy()

    def keep(self) -> None:
        """The weights as they are now are the best so far."""
        self.kept = self.machine.parameters.to("cpu", copy=True)

    def restore(self) -> None:
        """Back to the best weights."""
        if self.kept is not None:
            self.machine.parameters.copy_(self.kept)

    def state_dict(self) -> State:
        """Where the member is; the epoch's order is drawn again from the generator's state before it."""
        return {
            "machine": state_of(self.machine),
            "skipped": (self.machine.skipped, self.machine.skipped_weight),
            "generator": self._before,
            "total": self.total,
            "done": self.done,
            "kept": self.kept,
            "spent": self.schedule.spent,
        }

    def state_form(self) -> Any:
        """What `state_dict` gives."""
        return {
            "machine": state_form(self.machine),
            "skipped": (Whole(), float),
            "generator": GENERATOR,
            "total": float,
            "done": Whole(self.steps_per_epoch),
            "kept": Maybe(Array((len(self.machine.parameters),))),
            "spent": float,
        }

    def load_state_dict(self, state: State) -> None:
        """Be where `state_dict` was taken."""
        load_state(self.machine, state["machine"])
        self.generator.bit_generator.state = state["generator"]
        self.begin()
        self.machine.skipped, self.machine.skipped_weight = state["skipped"]
        self.total, self.done, self.kept = state["total"], state["done"], state["kept"]
        self.schedule.started = time.perf_counter() - state["spent"]


def new_network(spec: NetworkSpec, edges: list[np.ndarray], base_rate: float, seed: int) -> TableNetwork:
    """A network before training, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TableNetwork(spec)
    network.set_bin_edges(edges)
    network.start_at(base_rate)
    return network
