"""Choose the engine of a call, with the reason."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from torchbce.engine import torch_internals
from torchbce.engine.call import FLOATS, INTEGERS, LossCall, Weight
from torchbce.engine.torch_internals import PLAIN_TYPES

__all__ = ["Engine", "engine_for"]

Name = Literal["cpu", "gpu", "reference"]
_forced: Name | None = None


class Engine(NamedTuple):
    """The engine that a call takes, and the reason."""

    name: Name
    reason: str


class Kernels(Protocol):
    """The functions of an engine: the modules `numba_cpu.launch`, `triton_gpu.launch` and `reference` have them."""

    def forward(
        self, input: Tensor, target: Tensor, call: LossCall, *, need_grad: bool = False, scale: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, bool]:
        """Return the value; if needed, its derivative by every item's input, times `scale`; whether all are allowed."""
        ...

    def grad(self, input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor) -> Tensor:
        """Return the derivative of every item's loss by its input, times `grad_output`."""
        ...

    def count(self, input: Tensor, target: Tensor, call: LossCall) -> Tensor:
        """Return the number of items that count, or their total weight if there are weights; 0-d float64."""
        ...

    def rescale(self, grad_input: Tensor, factor: Tensor, input: Tensor, target: Tensor, call: LossCall) -> bool:
        """Multiply in place, rounding once; return False where the gradient has to be computed again for that."""
        ...


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
    compiled_node, weights = node(), (weight, pos_weight)
    if compiled_node is not None and compiled_node.takes(input, target, *weights):
        return Engine("cpu", "dense tensors on the CPU: one compiled pass, called from C++")
    return Engine("cpu", "dense tensors on the CPU: one compiled pass")


def kernels(input: Tensor, target: Tensor, others: list[Tensor]) -> Kernels | None:
    """Return the kernels that take a call with these tensors; None for the reference."""
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


def takes_fast_path(input: Tensor, target: Tensor) -> bool:
    """Return whether these are dense float32 tensors on the CPU, as in most calls, for the CPU kernels.

    The same answer as `kernels`, in as few steps as Python allows; False says nothing.
    """
    return (
        is_dense_float32(input)
        and is_dense_float32(target)
        and not target.requires_grad
        and torch_internals.unwatched()
        and _forced is None
        and _missing_numba() is None
    )


def node() -> Any:
    """Return the compiled node, which calls the CPU kernels without Python in between; None without one."""
    return _node() if _forced is None or _forced == "cpu" else None


def is_dense_float32(tensor: Tensor) -> bool:
    """Return whether this is plain contiguous float32 memory on the CPU."""
    return (
        type(tensor) is Tensor
        and tensor.dtype is torch.float32
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not tensor.is_neg()
    )


@contextlib.contextmanager
def forced(name: Name) -> Iterator[None]:
    """Force every call in every thread to this engine, or to fail: for tests and measurements."""
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def available(name: Name) -> bool:
    """Return whether this machine has an engine."""
    if name == "gpu":
        return torch.cuda.is_available() and _missing_triton() is None
    return name == "reference" or _missing_numba() is None


def _obstacle(input: Tensor, target: Tensor, others: list[Tensor]) -> str | None:
    """Return why kernels cannot take this call, or None."""
    if torch.compiler.is_compiling():
        return "torch.compile traces the formulas and fuses them itself"
    against = torch_internals.watcher() or _not_plain(input) or _not_plain(target, input)
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


def is_plain(tensor: Tensor) -> bool:
    """Return whether this is a tensor whose memory kernels can read."""
    return _not_plain(tensor) is None


def _not_plain(tensor: Tensor, beside: Tensor | None = None) -> str | None:
    if type(tensor) not in PLAIN_TYPES:
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
def cpu() -> Kernels:
    from torchbce.engine.numba_cpu import launch

    return cast(Kernels, launch)


@functools.cache
def _node() -> Any:
    if _missing_numba() is not None:
        return None
    from torchbce.engine.cpp_node import load

    return load.node()


@functools.cache
def _gpu() -> Kernels:
    from torchbce.engine.triton_gpu import launch

    return cast(Kernels, launch)
