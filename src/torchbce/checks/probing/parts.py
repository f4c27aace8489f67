"""The tensors in what a model takes and returns: which one is compared with the targets, and others in its place."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.probing.form import LossFunction


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Return all tensors in what a model takes or returns, each with a name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_in(part, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from tensors_in(part, f"{name}[{number}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name), f"{name}.{field.name}")


def take_rows(inputs: Any, rows: Tensor) -> Any:
    """Return some rows of the inputs; what has another length than the batch is taken whole."""
    sizes = [len(tensor) for _, tensor in tensors_in(inputs) if tensor.ndim]
    return _rows(inputs, rows, max(set(sizes), key=sizes.count)) if sizes else inputs


def _rows(value: Any, rows: Tensor, length: int) -> Any:
    if isinstance(value, Tensor):
        return value[rows] if value.ndim and len(value) == length else value
    if isinstance(value, Mapping):
        return {name: _rows(part, rows, length) for name, part in value.items()}
    return tuple(_rows(part, rows, length) for part in value) if isinstance(value, list | tuple) else value


def targets_of(given: Any, returned: Any) -> Tensor:
    """The targets themselves; of several things that a loss takes as such, the one of an output's size."""
    if isinstance(given, Tensor):
        return given
    tensors = [tensor for _, tensor in tensors_in(given)]
    sizes = {tensor.numel() for _, tensor in tensors_in(returned)}
    fitting = [tensor for tensor in tensors if tensor.numel() in sizes] or tensors
    if not fitting:
        what = type(given).__name__
        raise ValueError(
            f"the targets of the batch are a {what}; they must be a Tensor: write torch.as_tensor(targets)"
        )
    return fitting[0]


def with_all_targets(loss_func: LossFunction, given: Any, main: Tensor) -> LossFunction:
    """The loss as a function of the main one of the targets that it takes."""

    def of_one(outputs: Any, targets: Tensor) -> Tensor:
        if targets.shape != main.shape:
            raise ValueError("the loss takes more than targets, which is not known for other items")
        return loss_func(outputs, replaced(given, main, targets, None))

    return of_one


def outputs_path(returned: Any, targets: Tensor, loss_func: LossFunction) -> str:
    """The name of the tensor that is compared with the targets: the only one, or the first of their size that counts.

    That is: in which the loss has a gradient. A parameter that is returned beside the outputs is none of them.
    """
    tensors = [(name, tensor) for name, tensor in tensors_in(returned) if not isinstance(tensor, nn.Parameter)]
    found = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point()] or tensors
    if not found:
        raise ValueError(
            f"the model returns a {type(returned).__name__} without a tensor; check takes a model whose outputs are a "
            "tensor, or a tuple, dict or dataclass with one: otherwise wrap it in a module that returns one"
        )
    if len(found) > 1:
        reached = reached_by_loss(returned, targets, loss_func)
        found = [(name, tensor) for name, tensor in found if name in reached] or found
    of_size = [(name, tensor) for name, tensor in found if tensor.numel() == targets.numel()]
    trained = [name for name, tensor in of_size or found if tensor.requires_grad]
    return trained[0] if trained else (of_size or found)[0][0]


def reached_by_loss(returned: Any, targets: Tensor, loss_func: LossFunction) -> set[str]:
    """The tensors in which the loss has a gradient, by name; none where it cannot be computed."""
    tensors = {name: tensor for name, tensor in tensors_in(returned) if tensor.requires_grad}
    if not tensors:
        return set()
    try:
        loss = loss_func(returned, targets)
        gradients = torch.autograd.grad(loss.sum(), list(tensors.values()), allow_unused=True, retain_graph=True)
    except Exception:  # which is BCE032; or a checkpoint, which knows backward alone
        return set()
    return {name for name, gradient in zip(tensors, gradients, strict=True) if gradient is not None}


def at_path(returned: Any, path: str) -> Tensor:
    """The tensor of that name; the first where there is none, as of another number of items."""
    by_name = dict(tensors_in(returned))
    return by_name[path] if path in by_name else next(iter(by_name.values()))


def replaced(value: Any, old: Tensor, new: Tensor, rows: Tensor | None) -> Any:
    """Return what a model returned, with another tensor in place of its outputs, and these rows of the others."""
    if value is old:
        return new
    if isinstance(value, Tensor):
        return value if rows is None else _rows(value, rows, len(old))
    if isinstance(value, Mapping):
        parts = {name: replaced(part, old, new, rows) for name, part in value.items()}
        return parts if type(value) is dict else _like(value, parts)
    if isinstance(value, tuple | list):
        rest = [replaced(part, old, new, rows) for part in value]
        return type(value)(*rest) if hasattr(value, "_fields") else type(value)(rest)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: replaced(getattr(value, f.name), old, new, rows) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _like(value: Mapping[Any, Any], parts: dict[Any, Any]) -> Any:
    changed = copy.copy(value)
    for name, part in parts.items():
        changed[name] = part  # type: ignore[index]
    return changed
