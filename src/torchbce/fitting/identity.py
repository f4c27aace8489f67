"""What a run depends on, by names that its user knows: a run does not go on from another one's checkpoint."""

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
    """Return what the numbers of a run depend on. data: by name; options: others that matter."""
    known = {f"parameter {name}": describe(tensor) for name, tensor in module.named_parameters()}
    known |= {f"buffer {name}": describe(tensor) for name, tensor in module.named_buffers()}
    known |= {"the loss": loss_name(loss_func), "the optimizer": type(optimizer).__name__}
    known |= {f"the optimizer's {name}": str(value) for name, value in optimizer.defaults.items()}
    known |= {"the scheduler": type(scheduler).__name__ if scheduler else "none"}
    known |= {name: str(value) for name, value in options.items()}
    for name, batches in data.items():
        known |= {f"{name}'s {what}": value for what, value in describe_data(batches).items()}
    return known


def loss_name(loss_func: Any) -> str:
    """Name of a loss: a module with its options, a function by its name."""
    if isinstance(loss_func, nn.Module):
        return f"{type(loss_func).__name__}({loss_func.extra_repr()})"
    return str(getattr(loss_func, "__qualname__", type(loss_func).__name__))


def describe(tensor: Tensor) -> str:
    """Shape and dtype."""
    return f"{tuple(tensor.shape)} {tensor.dtype}"


def describe_data(batches: Batches | None) -> dict[str, Any]:
    """Describe data as far as that is possible without reading them once more."""
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
    """Hash of the tensors' content, or of `HASHED` bytes of evenly spaced rows."""
    hasher = hashlib.sha256()
    room = HASHED // len(tensors)
    for tensor in tensors:
        hasher.update(describe(tensor).encode())
        size = tensor.numel() * tensor.element_size()
        if size > room:
            rows = max(1, len(tensor) * room // size)
            spaced = torch.linspace(0, len(tensor) - 1, rows, dtype=torch.float64).long()
            tensor = tensor[spaced.to(tensor.device)]
        hasher.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()[:16]
