"""The gradient of a batch's mean loss: of one process, or of all together, the same to rounding.

Together, every process takes the sum over its own items, and sums and counts are added up before the one division;
means of means would weigh the items of small parts more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, distributed, nn

from torchbce.common import processes
from torchbce.common.batch import moved
from torchbce.common.errors import InputError
from torchbce.fitting.sharding import local_shard

Scale = Callable[[Tensor], Tensor]  # of the loss, under float16
HIGH = 4096  # a count is sent as two numbers, each exact in float32


class StepStatus(NamedTuple):
    """What all processes know of a step, the same in each.

    finite: the loss of the batch, or of those since the last look; due: a checkpoint; stop: a signal came to one.
    """

    finite: bool = True
    due: bool = False
    stop: bool = False


class Backward(Protocol):
    """Leaves the gradient in the parameters. `loss` is None where this process has no items of the batch."""

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> StepStatus: ...


class SingleProcessBackward:
    """Backward pass of one process. reads_loss: look at each loss; checked: gradients that are looked at too."""

    def __init__(self, scale: Scale, reads_loss: bool, checked: Sequence[Tensor]) -> None:
        self._scale, self._reads_loss, self._checked = scale, reads_loss, checked

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> StepStatus:
        assert loss is not None
        mean = loss.mean() if loss.ndim else loss
        if self._reads_loss and not bool(mean.detach().isfinite()):
            return StepStatus(False, due, stop)
        self._scale(mean).backward()  # type: ignore[no-untyped-call]
        return StepStatus(finite_gradients(self._checked), due, stop)


class AllReduceBackward:
    """Gradients, loss, count and status of all processes in one all_reduce; the status is read every `interval`."""

    def __init__(
        self, module: nn.Module, reduction: str, scale: Scale, interval: int, checked: Sequence[Tensor]
    ) -> None:
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        wide = any(p.dtype == torch.float64 for p in self._parameters)
        self._dtype = torch.float64 if wide else torch.float32
        self._reduction, self._scale, self._interval, self._checked = reduction, scale, interval, checked
        self._device = processes.collective_device() if not self._parameters else self._parameters[0].device
        self._status = torch.zeros(3, dtype=self._dtype, device=self._device)
        self._batches = 0

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> StepStatus:
        own = None if loss is None else summed_loss(loss, count, self._reduction)
        if own is not None:
            self._scale(own).backward()  # type: ignore[no-untyped-call]
        value = torch.zeros((), device=self._device) if own is None else own.detach()
        numbers = [float(count // HIGH), float(count % HIGH), float(due), float(stop)]
        numbers += [float(parameter.grad is not None) for parameter in self._parameters]
        parts = [dense_gradient(p).reshape(-1).to(self._dtype) for p in self._parameters]
        tail = torch.tensor(numbers, dtype=self._dtype, device=self._device)
        flat = torch.cat([*parts, value.reshape(1).to(self._dtype), tail])
        distributed.all_reduce(flat)
        gradients, tail = flat[: -len(numbers) - 1], flat[-len(numbers) - 1 :]
        if self._reduction != "sum":
            gradients.div_((tail[1] * HIGH + tail[2]).clamp(min=1))
        self._write(gradients, tail[5:])
        status = self._read(torch.stack([tail[0] - tail[0], tail[3], tail[4]]))
        return status._replace(finite=status.finite and finite_gradients(self._checked))

    def _write(self, gradients: Tensor, used: Tensor) -> None:
        offset = 0
        for number, parameter in enumerate(self._parameters):
            size = parameter.numel()
            if parameter.grad is None and bool(used[number]):  # only elsewhere
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                parameter.grad.copy_(gradients[offset : offset + size].view_as(parameter))
            offset += size

    def _read(self, status: Tensor) -> StepStatus:
        self._status += status
        self._batches += 1
        if self._batches % self._interval:
            return StepStatus()
        not_finite, due, stop = self._status.tolist()
        self._status.zero_()
        return StepStatus(not_finite == 0, due > 0, stop > 0)


class WrappedBackward:
    """For DistributedDataParallel and fully_shard, which average: each process's sum, times their number."""

    def __init__(self, reduction: str, scale: Scale, checked: Sequence[Tensor]) -> None:
        self._reduction, self._scale, self._checked = reduction, scale, checked

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> StepStatus:
        own = zero_loss(output) if loss is None else summed_loss(loss, count, self._reduction)
        total, items, any_due, any_stop = processes.sum_over_processes(
            float(own.detach()), float(count), float(due), float(stop)
        )
        divisor = 1.0 if self._reduction == "sum" else max(items, 1.0)
        self._scale(own * (processes.world_size() / divisor)).backward()  # type: ignore[no-untyped-call]
        # Each process has other shards of the gradient.
        not_finite = bool(self._checked) and processes.any_process(not finite_gradients(self._checked))
        return StepStatus(total - total == 0 and not not_finite, any_due > 0, any_stop > 0)


def summed_loss(loss: Tensor, count: int, reduction: str) -> Tensor:
    """Sum of the loss over this process's items."""
    if loss.ndim:
        return loss.sum()
    return loss if reduction == "sum" else loss * count


def finite_gradients(parameters: Sequence[Tensor]) -> bool:
    """Return whether all gradients are finite; the sum of one that is not is not either."""
    return all(math.isfinite(local_shard(p.grad).sum().item()) for p in parameters if p.grad is not None)


def zero_loss(output: Any) -> Tensor:
    """Return 0 that depends on the output, so that every process's backward pass runs."""
    tensors: list[Tensor] = []
    moved(output, tensors.append)
    return torch.stack([tensor.sum() for tensor in tensors if tensor.requires_grad]).sum() * 0


def dense_gradient(parameter: nn.Parameter) -> Tensor:
    """Gradient of a parameter, zeros where there is none.

    Raises:
        InputError: a sparse one.
    """
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    if parameter.grad.layout != torch.strided:
        raise InputError(
            "a parameter has a sparse gradient, which processes cannot add up with the others: write "
            "nn.Embedding(..., sparse=False)"
        )
    return parameter.grad


def require_mean_over_items(loss_func: Any) -> None:
    """Raise where the loss's mean is not over items, as processes cannot add up such means.

    Raises:
        InputError: a mean that divides by something else.
    """
    if getattr(loss_func, "reduction", "mean") != "mean":
        return
    options = getattr(loss_func, "options", {})
    other = options.get("normalize", "numel") != "numel" if isinstance(options, dict) else False
    weighted = isinstance(loss_func, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss) and (
        loss_func.weight is not None or loss_func.ignore_index >= 0
    )
    if other or weighted:
        raise InputError(
            f"the loss {loss_func} divides by something other than its number of items, which differs from process to "
            "process: give it with reduction='sum' or reduction='none', and the mean over all items is taken here"
        )
