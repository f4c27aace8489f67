"""What a run depends on, by names that its user knows: a checkpoint of another one is not gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.fitting.batches import Batches, DatasetBatches, LoaderBatches, TensorBatches

HASHED = 1 << 26  # bytes of each set of tensors; of larger ones, rows that are evenly spaced


def identity(
    module: nn.Module,
    loss_func: Any,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    data: dict[str, Batches | None],
    options: dict[str, Any],
) -> dict[str, Any]:
    """`data`: training and validation data by name; `options`: others that the numbers depend on."""
    known = {f"parameter {name}": described(tensor) for name, tensor in module.named_parameters()}
    known |= {f"buffer {name}": described(tensor) for name, tensor in module.named_buffers()}
    known |= {"the loss": named(loss_func), "the optimizer": type(optimizer).__name__}
    known |= {f"the optimizer's {name}": str(value) for name, value in optimizer.defaults.items()}
    known |= {"the scheduler": type(scheduler).__name__ if scheduler else "none"}
    known |= {name: str(value) for name, value in options.items()}
    for name, batches in data.items():
        known |= {f"{name}'s {what}": value for what, value in described_data(batches).items()}
    return known


def named(loss_func: Any) -> str:
    """A module with its options, a function by its name."""
    if isinstance(loss_func, nn.Module):
        return f"{type(loss_func).__name__}({loss_func.extra_repr()})"
    return str(getattr(loss_func, "__qualname__", type(loss_func).__name__))


def described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {tensor.dtype}"


def described_data(batches: Batches | None) -> dict[str, Any]:
    """As much of the data as can be known without reading them once more."""
    if isinstance(batches, TensorBatches):
        return {"rows": batches.rows, "batch_size": batches.batch_size, "content": digest(batches.tensors)}
    if isinstance(batches, DatasetBatches):
        return {"rows": batches.rows, "batch_size": batches.batch_size}
    if isinstance(batches, LoaderBatches):
        loader = batches.loader
        size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
        tensors = {"content": digest(loader.dataset.tensors)} if batches.in_memory else {}  # type: ignore[attr-defined]
        return {"batches": len(batches), "batch_size": size} | tensors
    return {} if batches is None else {"batches": len(batches)}


def digest(tensors: Sequence[Tensor]) -> str:
    found = hashlib.sha256()
    room = HASHED // len(tensors)
    for tensor in tensors:
        found.update(described(tensor).encode())
        size = tensor.numel() * tensor.element_size()
        if size > room:
            rows = max(1, len(tensor) * room // size)
            spaced = torch.linspace(0, len(tensor) - 1, rows, dtype=torch.float64).long()
            tensor = tensor[spaced.to(tensor.device)]
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]
