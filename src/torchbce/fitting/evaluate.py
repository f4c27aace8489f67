"""The loss over every item, while the weights stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from torchbce.common import processes
from torchbce.common.batch import Batch
from torchbce.fitting.batches import Batches, empty
from torchbce.fitting.forward import Forward
from torchbce.monitor.epoch_bce import EpochBCE


@torch.no_grad()
def evaluate(
    forward: Forward, batches: Batches, *, after_batch: Callable[[], object], lockstep: bool = False
) -> EpochBCE:
    """Return the loss in evaluation mode; the module's mode is restored.

    lockstep: the module works only if all processes call it equally often.
    """
    epoch_bce, module = EpochBCE(forward.loss_func), forward.module
    was_training = module.training
    module.eval()
    for inputs, target in equally_many(batches.in_order()) if lockstep else batches.in_order():
        target = target.to(forward.device)
        if target.numel():
            forward.count(epoch_bce, forward.loss_func(forward(inputs), target), target, with_targets=True)
        elif lockstep:
            forward(inputs)
        after_batch()
    module.train(was_training)
    return epoch_bce.gathered()


def equally_many(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Batches of this process, then empty ones until every process has had as many.

    Raises:
        ValueError: a process has no batch.
    """
    last: Batch | None = None
    for batch in batches:
        last = batch
        processes.any_process(True)
        yield batch
    if last is None:
        raise ValueError(f"process {processes.rank()} has no batch: its part of the data is empty")
    while processes.any_process(False):
        yield empty(last[0]), empty(last[1])
