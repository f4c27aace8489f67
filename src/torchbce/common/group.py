"""How many processes work together, and which of them this one is: one rule, wherever it is asked.

Those of `torch.distributed`, where it is initialized; else those that torchrun's variables tell of. A batch system sets
some of these variables for its own ends: only all of them, with the address of a meeting point, speak of others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from torch import distributed

from torchbce.common.errors import InputError

MEETING = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_joined() -> bool:
    """Return whether this process can talk to others now."""
    return distributed.is_available() and distributed.is_initialized()


def count() -> int:
    """Return the number of processes; 1 without `torch.distributed`."""
    return distributed.get_world_size() if is_joined() else 1


def number() -> int:
    """Return this process's rank; 0 without `torch.distributed`."""
    return distributed.get_rank() if is_joined() else 0


def number_and_count() -> tuple[int, int]:
    """Return the rank and the number of processes that are joined, or that torchrun started to join; (0, 1) alone.

    Raises:
        InputError: variables that name no process.
    """
    if is_joined():
        return number(), count()
    if not all(name in os.environ for name in MEETING):
        return 0, 1
    rank, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise InputError(
            f"RANK is {rank!r} and WORLD_SIZE is {size!r}, with MASTER_ADDR and MASTER_PORT set; they are this "
            "process's number, from 0, and how many there are, as torchrun sets them; unset them to work alone"
        )
    return int(rank), int(size)


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started for the block, if they are not joined already."""
    started = not is_joined()
    if started:
        distributed.init_process_group("gloo")
    yield
    if started:
        distributed.destroy_process_group()


def number_here() -> int:
    """Return this process's rank among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if number_and_count()[1] > 1 else 0
