"""One network of an ensemble: its rows, its steps, and its best weights so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchbce.engine.numba_cpu.perceptron.machine import Optimizer, Rows
from torchbce.training.ensemble.recipe import Recipe
from torchbce.training.ensemble.schedule import Schedule
from torchbce.training.network.compiled import compiled
from torchbce.training.network.table_network import NetworkSpec, TableNetwork

CALL = 0.1  # seconds that a call in compiled code should take: between calls, Ctrl-C is seen


@dataclass(frozen=True)
class Part:
    """A member's rows, by their numbers in all (int32): those it learns from, and those it is judged by."""

    train: Tensor
    valid: Tensor


class Member:
    """Trains `network` on its part of the rows; one thread at a time may call it."""

    def __init__(self, network: TableNetwork, rows: Rows, part: Part, recipe: Recipe, seed: int) -> None:
        self.network, self.rows, self.part = network, rows, part
        self.batch = min(recipe.batch_size, len(part.train))
        self.steps_per_epoch = -(-len(part.train) // self.batch)
        optimizer = Optimizer(recipe.optimizer, recipe.weight_decay)
        self.machine = compiled(network, optimizer, batch=self.batch, seed=seed)
        self.generator = np.random.default_rng(seed)
        self.schedule = Schedule(
            recipe.lr, recipe.epochs * self.steps_per_epoch, recipe.optimizer == "adamw", recipe.time_budget
        )
        self.kept: list[Tensor] = []
        self._steps_per_call = 16

    def epoch(self, stop: Callable[[], bool]) -> float:
        """One pass over the training rows; the running sum of their losses."""
        order = torch.from_numpy(self.generator.permutation(len(self.part.train)))
        order = self.part.train[order]
        total, done = 0.0, 0
        while done < self.steps_per_epoch and not stop():
            count = min(self._steps_per_call, self.steps_per_epoch - done)
            start = time.perf_counter()
            chunk = order[done * self.batch : (done + count) * self.batch]
            total += self.machine.train(self.rows, chunk, self.schedule.rates(self.machine.steps, count))
            took = time.perf_counter() - start
            self._steps_per_call = max(1, min(4 * count, int(count * CALL / max(took, 1e-6))))
            done += count
        return total

    def valid_outputs(self) -> np.ndarray:
        """Logits of the validation rows, (rows, heads)."""
        return self.machine.outputs(self.rows, self.part.valid).numpy()

    def keep(self) -> None:
        """The weights as they are now are the best so far."""
        self.kept = [parameter.detach().clone() for parameter in self.network.parameters()]

    def restore(self) -> None:
        """Back to the best weights."""
        with torch.no_grad():
            for parameter, best in zip(self.network.parameters(), self.kept, strict=True):
                parameter.copy_(best)


def new_network(spec: NetworkSpec, edges: list[np.ndarray], base_rate: float, seed: int) -> TableNetwork:
    """A network before training, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TableNetwork(spec)
    network.set_edges(edges)
    network.start_at(base_rate)
    return network
