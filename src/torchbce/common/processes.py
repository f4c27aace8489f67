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

from torchbce.common.errors import InputError, OutputError
from torchbce.common.group import count, is_joined, number, number_and_count, number_here

__all__ = [
    "all_of",
    "count",
    "exchanged_with",
    "from_first",
    "gathered",
    "in_all",
    "in_turns",
    "is_first",
    "joined",
    "number",
    "of_each",
    "require_same",
    "shared_out",
]

Value = TypeVar("Value")
_GROUPS = itertools.count()  # that this process has joined
SHOWN = 60  # characters of a value that differs


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


def in_all(make: Callable[[], Value]) -> Value:
    """What each process makes for itself; an error of any is raised in all, so that none waits for one that ended."""
    if count() == 1:
        return make()
    made: list[Value] = []
    failed: Exception | None = None
    try:
        made.append(make())
    except Exception as error:  # raised below, in all
        failed = error
    kind = type(failed) if isinstance(failed, InputError | OutputError) else RuntimeError
    told = of_each(None if failed is None else (kind, str(failed)))
    if failed is not None:
        raise failed
    for place, one in enumerate(told):
        if one is not None:
            raise one[0](f"process {place}: {one[1]}")
    return made[0]


def require_same(known: Mapping[str, object]) -> None:
    """All processes know the same, each by the name that a user knows it by.

    Raises:
        InputError: in all of them; it names what differs, and the processes.
    """
    if count() == 1:
        return
    every = of_each({name: str(value) for name, value in known.items()})
    names = dict.fromkeys(name for one in every for name in one)
    values = {name: [one.get(name, "(not there)") for one in every] for name in names}
    different = [_difference(name, found) for name, found in values.items() if len(set(found)) > 1]
    if different:
        raise InputError(
            f"the {count()} processes do not train on the same: {'; '.join(different)}; start all with the same "
            "command, table and versions"
        )


def _difference(name: str, values: list[str]) -> str:
    """Which processes have which value of something; of long ones, what is near their first difference."""
    same = next((i for i, some in enumerate(zip(*values, strict=False)) if len(set(some)) > 1), 0)
    first = max(0, same - SHOWN // 2) if max(map(len, values)) > SHOWN else 0
    by_value: dict[str, list[str]] = {}
    for place, value in enumerate(values):
        by_value.setdefault(value, []).append(str(place))
    shown = (
        f"{'...' * (first > 0)}{value[first : first + SHOWN]}{'...' * (len(value) > first + SHOWN)} in "
        f"process{'es' * (len(places) > 1)} {', '.join(places)}"
        for value, places in by_value.items()
    )
    return f"{name} is {' and '.join(shown)}"


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

    First by the first process, then by the first of each machine, then by all others; an error of any is all's.
    """
    if count() == 1:
        return work()
    from_first(lambda: bool(work()))
    found = in_all(lambda: work() if number_here() == 0 else None)
    return in_all(lambda: work() if found is None else found)


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
    if is_joined() or number_and_count()[1] == 1:
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
        distributed.barrier()  # all leave together: none finds another gone while it still reads
    finally:
        distributed.destroy_process_group()
