"""Copies of somebody's model and loss, and everything that is put back after they were tried."""

from __future__ import annotations

import contextlib
import copy
import random
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

T = TypeVar("T")
DEEPEST = 6  # of containers and objects in a module's attributes


def copied(thing: T) -> T:
    """A deep copy, in which tensors that an earlier pass has made are values without a history.

    torch refuses to copy these: an attention that was kept to be looked at, the weight of the old weight_norm, a hidden
    state. What nothing can copy, such as a lock, is shared.
    """
    memo: dict[int, Any] = {}
    inside = list(_inside(thing))  # all kept, so that no other object gets the id of one of these
    for part in inside:
        if isinstance(part, UninitializedBuffer):  # of a lazy layer; torch copies parameters of that kind only
            memo[id(part)] = UninitializedBuffer(False, part.device, part.dtype)  # type: ignore[arg-type]
        elif isinstance(part, Tensor) and not part.is_leaf:
            memo[id(part)] = part.detach().clone()
    try:
        return copy.deepcopy(thing, dict(memo))
    except (TypeError, AttributeError, NotImplementedError):  # a lock, a file, a connection
        for part in inside:
            if not isinstance(part, Tensor | nn.Module | Mapping | list | tuple | set) and not _can_be_copied(part):
                memo[id(part)] = part
        return copy.deepcopy(thing, memo)


def copied_if_possible(thing: T) -> T:
    """Copy what can be copied; functions, and what cannot be copied, stay what they are."""
    try:
        return copied(thing)
    except Exception:  # whatever a user's object raises
        return thing


def seed(number: int = 0) -> None:
    """The same random numbers again; CUDA is left alone where it has not been used."""
    torch.default_generator.manual_seed(number)
    if _uses_cuda():
        torch.cuda.manual_seed_all(number)
    np.random.seed(number)
    random.seed(number)


@contextlib.contextmanager
def randomness_kept(generator: object = None) -> Iterator[None]:
    """The random states of torch, NumPy and Python, and a loader's own generator, are put back."""
    devices = range(torch.cuda.device_count()) if _uses_cuda() else ()
    numpy_state, python_state = np.random.get_state(), random.getstate()
    own = generator.get_state() if isinstance(generator, torch.Generator) else None
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if isinstance(generator, torch.Generator) and own is not None:
            generator.set_state(own)


@contextlib.contextmanager
def gradients_kept(*things: object) -> Iterator[None]:
    """The gradients of modules' parameters are put back: a loss may know the model itself, and not the copy."""
    parameters = [p for thing in things if isinstance(thing, nn.Module) for p in thing.parameters()]
    before = [None if p.grad is None else p.grad.clone() for p in parameters]
    try:
        yield
    finally:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient


def _can_be_copied(thing: object) -> bool:
    try:
        copy.deepcopy(thing)
    except Exception:  # whatever a user's object raises
        return False
    return True


def _inside(thing: object) -> Iterator[object]:
    """An object, what its attributes hold, and what is in these."""
    seen: set[int] = set()
    todo = [(thing, 0)]
    while todo:
        here, depth = todo.pop()
        if id(here) in seen or depth > DEEPEST or isinstance(here, str | bytes | int | float | type(None) | type):
            continue
        seen.add(id(here))
        yield here
        if isinstance(here, Tensor):
            continue
        if isinstance(here, nn.Module):  # modules may be nested as deep as they like
            todo += [(part, 0) for part in here.children()]
        parts: Iterable[object] = ()
        if isinstance(here, Mapping):
            parts = here.values()
        elif isinstance(here, list | tuple | set | frozenset):
            parts = here
        elif hasattr(here, "__dict__") and not isinstance(here, types.ModuleType | types.FunctionType):
            parts = vars(here).values()
        todo += [(part, depth + 1) for part in parts]


def _uses_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
