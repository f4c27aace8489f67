"""State as it is on one process, of modules that `fully_shard` has spread over several, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.common import processes


def is_spread(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")  # a DTensor, whose module is slow to import


def part(tensor: Tensor) -> Tensor:
    """What this process has of it."""
    local: Tensor = tensor.to_local() if is_spread(tensor) else tensor  # type: ignore[attr-defined]
    return local


def whole(state: Any) -> Any:
    """Every tensor with all of its parts, in the first process; all must call it. What is not spread stays as it is."""
    return _mapped(state, lambda tensor: _gathered(tensor) if is_spread(tensor) else tensor)


def spread_as(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread over the processes as another of its shape is."""
    if not is_spread(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]


def load_module(module: nn.Module, state: dict[str, Any]) -> None:
    """Whole tensors into a module, spread or not."""
    own = module.state_dict()
    module.load_state_dict(
        {
            name: spread_as(value, own[name]) if isinstance(own.get(name), Tensor) else value
            for name, value in state.items()
        }
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The same of an optimizer, whose state comes back in the types that it had."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    order = [number for group in state["param_groups"] for number in group["params"]]
    owners = dict(zip(order, parameters, strict=True))
    kept = {
        number: {name: spread_as(v, owners[number]) if isinstance(v, Tensor) else v for name, v in entries.items()}
        for number, entries in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": kept})
    for number, entries in kept.items():
        loaded = optimizer.state[owners[number]]
        for name, value in entries.items():
            if isinstance(value, Tensor) and loaded[name].dtype != value.dtype:  # torch gives them the parameter's
                loaded[name] = value.to(loaded[name].device)


def _gathered(tensor: Any) -> Tensor | None:
    full: Tensor = tensor.full_tensor()
    return full.detach().cpu() if processes.is_first() else None


def _mapped(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {name: _mapped(value, change) for name, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_mapped(value, change) for value in tree)
    return tree
