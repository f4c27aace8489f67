"""The gradient of a batch's mean loss: of one process, or of all together, the same to rounding.

Together, every process takes the sum over its own items, and sums and counts are added up before the one division;
means of means would weigh the items of small parts more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from torchbce.common import processes
from torchbce.common.batch import moved
from torchbce.common.errors import InputError
from torchbce.fitting.agreement import Agreed, anywhere, meeting_place, summed
from torchbce.fitting.whole import part

Scale = Callable[[Tensor], Tensor]  # of the loss, under float16
HIGH = 4096  # a count is sent as two numbers, each exact in float32


class Gradients(Protocol):
    """Leaves the gradient in the parameters. `loss` is None where this process has no items of the batch."""

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> Agreed: ...


class Alone:
    """One process, and nothing to agree on. `looks`: whether each loss is read; `watched`: gradients that are, too."""

    def __init__(self, scale: Scale, looks: bool, watched: Sequence[Tensor]) -> None:
        self._scale, self._looks, self._watched = scale, looks, watched

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> Agreed:
        assert loss is not None
        scalar = loss.mean() if loss.ndim else loss
        if self._looks and not bool(scalar.detach().isfinite()):
            return Agreed(False, due, stop)
        self._scale(scalar).backward()  # type: ignore[no-untyped-call]
        return Agreed(finite_gradients(self._watched), due, stop)


class Summed:
    """Of all processes: gradients, loss, count and wishes in one all_reduce, read after `every` so many batches."""

    def __init__(self, module: nn.Module, reduction: str, scale: Scale, every: int, watched: Sequence[Tensor]) -> None:
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        wide = any(p.dtype == torch.float64 for p in self._parameters)
        self._dtype = torch.float64 if wide else torch.float32
        self._reduction, self._scale, self._every, self._watched = reduction, scale, every, watched
        self._place = meeting_place() if not self._parameters else self._parameters[0].device
        self._noticed = torch.zeros(3, dtype=self._dtype, device=self._place)
        self._batches = 0

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> Agreed:
        own = None if loss is None else as_sum(loss, count, self._reduction)
        if own is not None:
            self._scale(own).backward()  # type: ignore[no-untyped-call]
        value = torch.zeros((), device=self._place) if own is None else own.detach()
        known = [float(count // HIGH), float(count % HIGH), float(due), float(stop)]
        known += [float(parameter.grad is not None) for parameter in self._parameters]
        parts = [dense(p).reshape(-1).to(self._dtype) for p in self._parameters]
        tail = torch.tensor(known, dtype=self._dtype, device=self._place)
        flat = torch.cat([*parts, value.reshape(1).to(self._dtype), tail])
        distributed.all_reduce(flat)
        gradients, tail = flat[: -len(known) - 1], flat[-len(known) - 1 :]
        if self._reduction != "sum":
            gradients.div_((tail[1] * HIGH + tail[2]).clamp(min=1))
        self._write(gradients, tail[5:])
        agreed = self._read(torch.stack([tail[0] - tail[0], tail[3], tail[4]]))
        return agreed._replace(finite=agreed.finite and finite_gradients(self._watched))

    def _write(self, gradients: Tensor, used: Tensor) -> None:
        place = 0
        for number, parameter in enumerate(self._parameters):
            size = parameter.numel()
            if parameter.grad is None and bool(used[number]):  # only elsewhere
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                parameter.grad.copy_(gradients[place : place + size].view_as(parameter))
            place += size

    def _read(self, noticed: Tensor) -> Agreed:
        self._noticed += noticed
        self._batches += 1
        if self._batches % self._every:
            return Agreed()
        strange, due, stop = self._noticed.tolist()
        self._noticed.zero_()
        return Agreed(strange == 0, due > 0, stop > 0)


class Wrapped:
    """DistributedDataParallel and fully_shard average over processes: each gets its share, times their number."""

    def __init__(self, reduction: str, scale: Scale, watched: Sequence[Tensor]) -> None:
        self._reduction, self._scale, self._watched = reduction, scale, watched

    def __call__(self, output: Any, loss: Tensor | None, count: int, due: bool, stop: bool) -> Agreed:
        own = nothing(output) if loss is None else as_sum(loss, count, self._reduction)
        total, items, any_due, any_stop = summed(float(own.detach()), float(count), float(due), float(stop))
        divisor = 1.0 if self._reduction == "sum" else max(items, 1.0)
        self._scale(own * (processes.count() / divisor)).backward()  # type: ignore[no-untyped-call]
        strange = bool(self._watched) and anywhere(not finite_gradients(self._watched))  # parts of each may differ
        return Agreed(total - total == 0 and not strange, any_due > 0, any_stop > 0)


def as_sum(loss: Tensor, count: int, reduction: str) -> Tensor:
    """Over this process's items."""
    if loss.ndim:
        return loss.sum()
    return loss if reduction == "sum" else loss * count


def finite_gradients(parameters: Sequence[Tensor]) -> bool:
    """Whether all of them are; the sum of one that is not is not either."""
    return all(math.isfinite(part(p.grad).sum().item()) for p in parameters if p.grad is not None)


def nothing(output: Any) -> Tensor:
    """0, so that every process's backward pass runs."""
    found: list[Tensor] = []
    moved(output, found.append)
    return torch.stack([tensor.sum() for tensor in found if tensor.requires_grad]).sum() * 0


def dense(parameter: nn.Parameter) -> Tensor:
    """Its gradient, zeros where there is none.

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


def check_divisor(loss_func: Any) -> None:
    """Its mean must be over items, so that processes can add up what they have.

    Raises:
        InputError: a mean that divides by something else.
    """
    if getattr(loss_func, "reduction", "mean") != "mean":
        return
    options = getattr(loss_func, "options", {})
    other = options.get("normalize", "numel") != "numel" if isinstance(options, dict) else False
    weighted = isinstance(loss_func, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss)
    if isinstance(loss_func, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss):
        weighted = loss_func.weight is not None or loss_func.ignore_index >= 0
    if other or weighted:
        raise InputError(
            f"the loss {loss_func} divides by something other than its number of items, which differs from process to "
            "process: give it with reduction='sum' or reduction='none', and the mean over all items is taken here"
        )
