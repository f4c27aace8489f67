"""Data parallelism: threads and processes take one step of a network together, each with some micro-batches.

Every process has the whole network and takes the same step with the same gradient, so only gradients and losses are
exchanged, in one message between CPUs, to which a GPU's are copied: they are small. The number of threads and processes
changes no bit (see `pairwise_sum`).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchbce.common import processes
from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import Optimizer
from torchbce.table.network.all_reduce import all_reduce
from torchbce.table.network.pairwise_sum import Subtree, share_of, subtree_sum, subtrees
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.network.trainers import Trainer, TrainerFactory


@dataclass
class DataParallelStep:
    """The step of a network.

    trainers: one for each thread, with shared parameters; the first has the optimiser's state.
    """

    trainers: list[Trainer]
    threads: ThreadPoolExecutor
    micro_batch_rows: int

    @classmethod
    def of(
        cls,
        network: TableNetwork,
        optimizer: Optimizer,
        threads: ThreadPoolExecutor,
        seed: int,
        factory: TrainerFactory | None = None,
    ) -> DataParallelStep:
        """Make as many trainers as torch has threads, or one where threads do not help."""
        factory = factory or TrainerFactory()
        trainers = factory.shared_trainers(network, optimizer, torch.get_num_threads(), seed=seed)
        return cls(trainers, threads, factory.micro_batch_rows)

    @property
    def first(self) -> Trainer:
        """The trainer with the optimiser's state."""
        return self.trainers[0]

    def step(self, rows: Rows, order: Tensor, rate: float, dropout_counter: int) -> float:
        """Take a step with the rows in `order` (int32), unless their loss is not finite; return its sum.

        dropout_counter: a number that no other step has.
        """
        count = -(-len(order) // self.micro_batch_rows)
        own = share_of(count, processes.rank(), processes.world_size())
        gradients, losses = self._own_gradients(rows, order, own, count, dropout_counter)
        if processes.world_size() > 1:
            gradient, losses = all_reduce(gradients, losses, count, len(self.first.gradient))
        else:
            gradient = subtree_sum(gradients, (0, count), count)
        loss = math.fsum(losses.tolist())  # the same whatever the order
        if math.isfinite(loss):
            self.first.gradient.copy_(gradient)
            self.first.apply(rate)
        else:
            self.first.steps += 1
        return loss

    def outputs(self, rows: Rows) -> np.ndarray:
        """Return logits (rows, heads); threads divide the rows where micro-batches end, which changes no bit."""
        count = -(-len(rows) // self.micro_batch_rows)
        order = torch.arange(len(rows), dtype=torch.int32)

        def work(thread: int) -> np.ndarray:
            first, stop = share_of(count, thread, len(self.trainers))
            own = order[first * self.micro_batch_rows : stop * self.micro_batch_rows]
            return self.trainers[thread].outputs(rows, own).numpy()

        others = [self.threads.submit(work, thread) for thread in range(1, len(self.trainers))]
        return np.concatenate([work(0), *(other.result() for other in others)])

    def _own_gradients(
        self, rows: Rows, order: Tensor, own: Subtree, count: int, dropout_counter: int
    ) -> tuple[dict[Subtree, Tensor], Tensor]:
        """Return gradients of this process's subtrees, and losses of all micro-batches, 0 for those of others."""
        losses = torch.zeros(count, dtype=torch.float64)
        thread_count = len(self.trainers)

        def work(thread: int) -> dict[Subtree, Tensor]:
            first, stop = share_of(own[1] - own[0], thread, thread_count)
            gradients, trainer = {}, self.trainers[thread]
            for subtree in subtrees((own[0] + first, own[0] + stop), count):
                part = order[subtree[0] * self.micro_batch_rows : subtree[1] * self.micro_batch_rows]
                losses[subtree[0] : subtree[1]] = trainer.accumulate_gradient(
                    rows, part, batch_rows=len(order), dropout_counter=dropout_counter + subtree[0]
                )
                gradients[subtree] = trainer.gradient.clone()
            return gradients

        others = [self.threads.submit(work, thread) for thread in range(1, thread_count)]
        parts = work(0)
        for other in others:
            parts |= other.result()
        return {subtree: subtree_sum(parts, subtree, count) for subtree in subtrees(own, count)}, losses
