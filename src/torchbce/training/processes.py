"""The processes of a run under torchrun: which is this one, and what they tell each other.

Alone there is one, and everything is told to itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import distributed

Value = TypeVar("Value")


def count() -> int:
    """How many there are."""
    return distributed.get_world_size() if _is_joined() else 1


def number() -> int:
    """Of this one, from 0."""
    return distributed.get_rank() if _is_joined() else 0


def is_first() -> bool:
    """Whether this one writes and speaks for all."""
    return number() == 0


def from_first(make: Callable[[], Value]) -> Value:
    """What the first process makes, told to all; an error of the first is raised in all."""
    if count() == 1:
        return make()
    told: list[Any] = [None, None]
    if is_first():
        try:
            told[0] = make()
        except Exception as error:  # raised below, in all
            told[1] = error
    distributed.broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    value: Value = told[0]
    return value


def shared_out(items: list[Value]) -> Mapping[int, Value]:
    """Those that this process is to do, by their numbers."""
    return {i: item for i, item in enumerate(items) if i % count() == number()}


def gathered(mine: Mapping[int, Value]) -> list[Value]:
    """What all processes have made of what was shared out, in order."""
    parts: list[Any] = [mine]
    if count() > 1:
        parts *= count()
        distributed.all_gather_object(parts, mine)
    whole = {i: value for part in parts for i, value in part.items()}
    return [whole[i] for i in sorted(whole)]


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Under torchrun, or what sets its variables, all processes for the block; elsewhere nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_joined():
        yield
        return
    distributed.init_process_group("gloo" if not torch.cuda.is_available() else "cpu:gloo,cuda:nccl")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
