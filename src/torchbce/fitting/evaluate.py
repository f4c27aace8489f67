"""The loss over every item, while the weights stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from torchbce.common import processes
from torchbce.common.batch import Batch
from torchbce.fitting.agreement import anywhere
from torchbce.fitting.batches import Batches, empty
from torchbce.fitting.forward import Forward
from torchbce.monitor.epoch_bce import EpochBCE


@torch.no_grad()
def evaluate(forward: Forward, batches: Batches, *, between: Callable[[], object], together: bool = False) -> EpochBCE:
    """In evaluation mode; the module's mode is restored.

    between: called after each batch. together: the module works only if all processes call it equally often.
    """
    meter, module = EpochBCE(forward.loss_func), forward.module
    was_training = module.training
    module.eval()
    for inputs, target in in_step(batches.in_order()) if together else batches.in_order():
        target = target.to(forward.device)
        if target.numel():
            forward.count(meter, forward.loss_func(forward(inputs), target), target, with_targets=True)
        elif together:
            forward(inputs)
        between()
    module.train(was_training)
    return meter.gathered()


def in_step(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same number in every process: who has no more gets empty ones.

    Raises:
        ValueError: a process has not even one.
    """
    last: Batch | None = None
    for batch in batches:
        last = batch
        anywhere(True)
        yield batch
    if last is None:
        raise ValueError(f"process {processes.number()} has no batch: its part of the data is empty")
    while anywhere(False):
        yield empty(last[0]), empty(last[1])
