"""Compute the divisor of a mean over the global batch: over processes with uneven shards, and micro-batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from torchbce.common.processes.ranks import is_joined
from torchbce.engine import reference
from torchbce.engine.call import LossCall, Weight
from torchbce.engine.validate import number
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS

__all__ = ["global_denominator"]


def global_denominator(
    targets: Tensor | Sequence[Tensor],
    *,
    ignore_index: float | None = None,
    masks: Tensor | Sequence[Tensor] | None = None,
    weights: Tensor | Sequence[Tensor] | None = None,
    averaged: bool = True,
    group: distributed.ProcessGroup | None = None,
) -> Tensor:
    r"""The ``normalize=`` with which the mean over all processes and micro-batches of a step comes out.

    A mean over each process's own items, averaged over the processes, weighs items of small shards more. Divided by
    this number instead, every item of the global batch weighs the same. Call it once a step, on every process::

        denominator = torchbce.global_denominator([y for _, y in micro_batches])
        for x, y in micro_batches:
            loss_func(model(x), y, normalize=denominator).backward()   # gradients add up to those of the global mean

    Args:
        targets: of the step's batch, or of each of its micro-batches; with as many items as the loss has. For class
            numbers multiply the result by the number of classes.
        ignore_index: targets that do not count, as for the loss.
        masks: as for the loss, one for each of the targets.
        weights: to divide by the weights instead of the items; they broadcast to the targets.
        averaged: gradients are averaged over the processes afterwards, as DistributedDataParallel does, and not added
            up.
        group: the processes; by default all.

    Returns:
        0-d float64: the items of all processes; if `averaged`, divided by the number of processes. Without an
        initialised process group, this process's own.

    Raises:
        ValueError: not as many masks or weights as targets.

    Example:
        >>> global_denominator([torch.ones(3), torch.zeros(2)])
        tensor(5., dtype=torch.float64)
    """
    batches = [targets] if isinstance(targets, Tensor) else list(targets)
    masks_of, weighed = (_for_each(name, given, batches) for name, given in (("masks", masks), ("weights", weights)))
    ignored = None if ignore_index is None else number("ignore_index", ignore_index)
    total = torch.zeros((), dtype=torch.float64, device=batches[0].device if batches else None)
    for target, mask, weight in zip(batches, masks_of, weighed, strict=True):
        total = total + counted_items(target, ignored, mask, weight)
    if not is_joined():
        return total
    distributed.all_reduce(total, group=group)
    return total / distributed.get_world_size(group) if averaged else total


def counted_items(target: Tensor, ignored: float | None, mask: Tensor | None, weight: Weight) -> Tensor:
    """Return the number of items that count, or their total weight if there are weights; 0-d float64."""
    if ignored is None and mask is None:
        mask = torch.ones((), dtype=torch.bool, device=target.device)
    call = LossCall(
        loss=BCE_WITH_LOGITS,
        parameters=(None,),
        weight=weight,
        reduction="mean",
        result_dtype=torch.float64,
        checked=False,
        ignored=ignored,
        mask=mask,
    )
    return reference.count(target, target, call)


def _for_each(name: str, given: Tensor | Sequence[Tensor] | None, batches: list[Tensor]) -> list[Tensor | None]:
    if given is None:
        return [None] * len(batches)
    tensors = [given] if isinstance(given, Tensor) else list(given)
    if len(tensors) != len(batches):
        raise ValueError(f"there are {len(tensors)} {name} for {len(batches)} targets")
    return list(tensors)
