"""The processes of a run under torchrun: which is this one, and what they tell each other.

Alone there is one, and everything is told to itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

Value = TypeVar("Value")
_GROUPS = itertools.count()  # that this process has joined


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


def of_each(mine: Value) -> list[Value]:
    """What each process has, in their order."""
    parts: list[Any] = [mine]
    if count() > 1:
        parts *= count()
        distributed.all_gather_object(parts, mine)
    return parts


def gathered(mine: Mapping[int, Value]) -> list[Value]:
    """What all processes have made of what was shared out, in order."""
    whole = {i: value for part in of_each(mine) for i, value in part.items()}
    return [whole[i] for i in sorted(whole)]


def in_turns(work: Callable[[], Value]) -> Value:
    """Something that each machine, or all of them together, does once and others find done.

    First by the first process, then by the first of each machine, then by all others; an error of the first is all's.
    """
    if count() == 1:
        return work()
    from_first(lambda: bool(work()))
    first_here = os.environ.get("LOCAL_RANK", "0") == "0"
    found = work() if first_here else None
    distributed.barrier()
    return work() if found is None else found


def all_of(mine: Tensor) -> Tensor:
    """What each process has, of one shape and dtype, as (processes, *shape)."""
    whole = torch.empty(count() * mine.numel(), dtype=mine.dtype)
    distributed.all_gather_into_tensor(whole, mine.reshape(-1))
    return whole.view(count(), *mine.shape)


def exchanged_with(other: int, mine: Tensor) -> Tensor:
    """What another process has, of the same shape and dtype, for what this one has."""
    theirs = torch.empty_like(mine)
    sent = distributed.isend(mine, other)
    distributed.recv(theirs, other)
    if sent is not None:
        sent.wait()
    return theirs


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Under torchrun, or what sets its variables, all processes for the block; elsewhere nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_joined():
        yield
        return
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    # torchrun's store remembers the addresses of groups that are gone, so each gets a place of its own there.
    store, rank, size = next(rendezvous("env://"))
    alone = os.environ.get("GROUP_WORLD_SIZE") == "1"  # machines may count restarts differently
    place = f"torchbce/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0) if alone else 0}/{next(_GROUPS)}"
    backend = "gloo" if not torch.cuda.is_available() else "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, store=PrefixStore(place, store), rank=rank, world_size=size)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
