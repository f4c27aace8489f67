"""Threads and processes that take one step of a network together: each has some lanes of the batch.

Every process has the whole network and takes the same step with the same gradient, so nothing but gradients and losses
is told; both in one message, by the processors, to which a GPU's are copied: they are small. The number of threads and
processes changes no bit (see `tree`).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchbce.common import processes
from torchbce.perceptron.machine import Optimizer
from torchbce.perceptron.rows import Rows
from torchbce.table.network.exchange import exchanged
from torchbce.table.network.machines import Machines, TableMachine
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.network.tree import Branch, branches, part_of, total


@dataclass
class Crew:
    """`machines` share the network's parameters, one for each thread; the first has the optimiser's state.

    lane: rows of one.
    """

    machines: list[TableMachine]
    threads: ThreadPoolExecutor
    lane: int

    @classmethod
    def of(
        cls,
        network: TableNetwork,
        optimizer: Optimizer,
        threads: ThreadPoolExecutor,
        seed: int,
        machines: Machines | None = None,
    ) -> Crew:
        """As many machines as torch has threads, or one where threads are of no use."""
        machines = machines or Machines()
        shared = machines.sharing(network, optimizer, torch.get_num_threads(), seed=seed)
        return cls(shared, threads, machines.lane)

    @property
    def first(self) -> TableMachine:
        return self.machines[0]

    def step(self, rows: Rows, order: Tensor, rate: float, draw: int) -> float:
        """One step with the rows in `order` (int32); returns the sum of their losses.

        Where that is not finite, no step is taken. `draw`: a number that no other step has, for dropout.
        """
        lanes = -(-len(order) // self.lane)
        own = part_of(lanes, processes.number(), processes.count())
        gradients, losses = self._own(rows, order, own, lanes, draw)
        if processes.count() > 1:
            gradient, losses = exchanged(gradients, losses, lanes, len(self.first.gradient))
        else:
            gradient = total(gradients, (0, lanes), lanes)
        loss = math.fsum(losses.tolist())  # the same whatever the order
        if math.isfinite(loss):
            self.first.gradient.copy_(gradient)
            self.first.apply(rate)
        else:
            self.first.steps += 1
        return loss

    def _own(
        self, rows: Rows, order: Tensor, own: Branch, lanes: int, draw: int
    ) -> tuple[dict[Branch, Tensor], Tensor]:
        """This process's branches of the gradient, and the losses of all lanes, 0 for those of others."""
        losses = torch.zeros(lanes, dtype=torch.float64)
        count = len(self.machines)

        def work(number: int) -> dict[Branch, Tensor]:
            first, stop = part_of(own[1] - own[0], number, count)
            found, machine = {}, self.machines[number]
            for branch in branches((own[0] + first, own[0] + stop), lanes):
                some = order[branch[0] * self.lane : branch[1] * self.lane]
                losses[branch[0] : branch[1]] = machine.lanes(rows, some, of=len(order), draw=draw + branch[0])
                found[branch] = machine.gradient.clone()
            return found

        others = [self.threads.submit(work, number) for number in range(1, count)]
        parts = work(0)
        for other in others:
            parts |= other.result()
        return {branch: total(parts, branch, lanes) for branch in branches(own, lanes)}, losses

    def outputs(self, rows: Rows) -> np.ndarray:
        """(rows, heads), of all rows; each thread has some, cut where lanes end, so that no bit depends on how many."""
        lanes = -(-len(rows) // self.lane)
        every = torch.arange(len(rows), dtype=torch.int32)

        def work(number: int) -> np.ndarray:
            first, stop = part_of(lanes, number, len(self.machines))
            return self.machines[number].outputs(rows, every[first * self.lane : stop * self.lane]).numpy()

        others = [self.threads.submit(work, number) for number in range(1, len(self.machines))]
        return np.concatenate([work(0), *(other.result() for other in others)])
