"""Which engine computes a call, and why."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchbce.kernels.cpu.variant import FLOATS, INTEGERS

__all__ = ["Engine", "engine_for"]

Name = Literal["cpu", "gpu", "reference"]
PLAIN = {Tensor, torch.nn.Parameter}
Weight = Tensor | float | None

_forced: Name | None = None


class Engine(NamedTuple):
    """The engine that a call takes, and the reason."""

    name: Name
    reason: str


def engine_for(input: Tensor, target: Tensor, weight: Weight = None, pos_weight: Weight = None) -> Engine:
    """Which engine computes the loss of these tensors here and now, and why.

    The same for both losses. ``cpu`` and ``gpu`` are the fused kernels, by numba and Triton; ``reference`` is plain
    torch operations, right for every dtype, device and transform.

    Args:
        input, target, weight, pos_weight: what the loss would be called with.

    Returns:
        ``Engine(name, reason)``.

    Example:
        >>> engine_for(torch.rand(3), torch.ones(3)).name
        'cpu'
        >>> engine_for(torch.rand(3), torch.rand(3, requires_grad=True)).reason
        'the target requires grad'
    """
    against = _obstacle(input, target, [w for w in (weight, pos_weight) if isinstance(w, Tensor)])
    if against is not None:
        return Engine("reference", against)
    if input.is_cuda:
        return Engine("gpu", "dense tensors on a CUDA device: one Triton kernel")
    return Engine("cpu", "dense tensors on the CPU: one compiled pass")


def kernels(input: Tensor, target: Tensor, others: list[Tensor]) -> ModuleType | None:
    """The kernels that take a call with these tensors; None for the reference."""
    against = _obstacle(input, target, others)
    if _forced is not None and not torch.compiler.is_compiling():
        if _forced == "reference":
            return None
        if against is not None:
            raise RuntimeError(f"the {_forced} kernels cannot take this call: {against}")
        return _gpu() if _forced == "gpu" else cpu()
    if against is not None:
        return None
    return _gpu() if input.is_cuda else cpu()


def usual(input: Tensor, target: Tensor) -> bool:
    """Whether these are what most calls bring, dense float32 tensors on the CPU, for the CPU kernels.

    The same answer as `kernels`, in as few steps as Python allows; False says nothing.
    """
    return (
        not torch.compiler.is_compiling()  # first, as torch.compile does not trace the rest
        and type(input) is Tensor
        and type(target) is Tensor
        and input.dtype is torch.float32
        and target.dtype is torch.float32
        and input.is_cpu
        and target.is_cpu
        and input.layout is torch.strided
        and target.layout is torch.strided
        and input.is_contiguous()
        and target.is_contiguous()
        and not (input.is_neg() or target.is_neg() or target.requires_grad)
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not (torch._C._len_torch_dispatch_stack() or torch._C._is_tracing())
        and _forced is None
        and _missing_numba() is None
    )


@contextlib.contextmanager
def forced(name: Name) -> Iterator[None]:
    """Every call takes this engine or fails, in every thread: for tests and measurements."""
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def available(name: Name) -> bool:
    """Whether this machine has that engine."""
    if name == "gpu":
        return torch.cuda.is_available() and _missing_triton() is None
    return name == "reference" or _missing_numba() is None


def transformed(grad_output: Tensor) -> bool:
    """Whether a backward pass is itself transformed: by torch.func, forward mode, or many gradients at once."""
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._functorch.is_legacy_batchedtensor(grad_output)
    )


def _obstacle(input: Tensor, target: Tensor, others: list[Tensor]) -> str | None:
    """Why kernels cannot take this call."""
    if torch.compiler.is_compiling():
        return "torch.compile traces the formulas and fuses them itself"
    if torch._C._are_functorch_transforms_active():
        return "a torch.func transform is active"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if torch._C._len_torch_dispatch_stack() or torch._C._is_tracing():
        return "a dispatch mode or tracer watches torch operations"
    against = _not_plain(input) or _not_plain(target, input)
    for other in others:
        against = against or _not_plain(other, input)
    if against is not None:
        return against
    if target.requires_grad and torch.is_grad_enabled():
        return "the target requires grad"
    if input.dtype not in FLOATS:
        return f"there are no kernels for an input of {input.dtype}"
    if target.dtype not in FLOATS + INTEGERS:
        return f"there are no kernels for a target of {target.dtype}"
    return _missing_triton() if input.is_cuda else _missing_numba()


def _not_plain(tensor: Tensor, beside: Tensor | None = None) -> str | None:
    if type(tensor) not in PLAIN:
        return f"{type(tensor).__name__} is a tensor subclass"
    if not (tensor.is_cpu or tensor.is_cuda):
        return f"there are no kernels for {tensor.device.type} tensors"
    if tensor.layout is not torch.strided or tensor.is_neg():
        return "a tensor is not plain strided memory"
    if beside is not None and tensor.device != beside.device:
        return "the tensors are on different devices"
    return None


@functools.cache
def _missing_numba() -> str | None:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT forbids compiling"
    return None if importlib.util.find_spec("numba") else "numba is not installed"


@functools.cache
def _missing_triton() -> str | None:
    return None if importlib.util.find_spec("triton") else "triton is not installed"


@functools.cache
def cpu() -> ModuleType:
    from torchbce.kernels.cpu import launch

    return launch


@functools.cache
def _gpu() -> ModuleType:
    from torchbce.kernels.gpu import launch

    return launch
