"""Full tensors from modules that `fully_shard` has sharded over processes, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.common import processes


def is_sharded(tensor: Any) -> bool:
    """Return whether it is a DTensor; asked without its module, which is slow to import."""
    return hasattr(tensor, "full_tensor")


def local_shard(tensor: Tensor) -> Tensor:
    """This process's part of a tensor; all of one that is not sharded."""
    local: Tensor = tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return local


def full_state(state: Any) -> Any:
    """State with full tensors for sharded ones, in the first process; all must call it."""
    return _map_tensors(state, lambda tensor: _full(tensor) if is_sharded(tensor) else tensor)


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a full tensor over the processes as `like` is, if that is sharded and of its shape."""
    if not is_sharded(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]


def load_module(module: nn.Module, state: dict[str, Any]) -> None:
    """Load full tensors into a module, sharded or not."""
    own = module.state_dict()
    module.load_state_dict(
        {
            name: shard_like(value, own[name]) if isinstance(own.get(name), Tensor) else value
            for name, value in state.items()
        }
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load full tensors into an optimizer, in the dtypes that they were saved with."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    order = [number for group in state["param_groups"] for number in group["params"]]
    owners = dict(zip(order, parameters, strict=True))
    sharded = {
        number: {name: shard_like(v, owners[number]) if isinstance(v, Tensor) else v for name, v in entries.items()}
        for number, entries in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": sharded})
    for number, entries in sharded.items():
        loaded = optimizer.state[owners[number]]
        for name, value in entries.items():
            if isinstance(value, Tensor) and loaded[name].dtype != value.dtype:  # torch gives them the parameter's
                loaded[name] = value.to(loaded[name].device)


def _full(tensor: Any) -> Tensor | None:
    full: Tensor = tensor.full_tensor()
    return full.detach().cpu() if processes.is_first() else None


def _map_tensors(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {name: _map_tensors(value, change) for name, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_map_tensors(value, change) for value in tree)
    return tree
