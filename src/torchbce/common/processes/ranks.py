"""Rank and number of processes: one rule, wherever it is asked.

Those of `torch.distributed`, where it is initialized; else those that torchrun's variables give. A batch system sets
some of these variables for its own ends: only all of them, with the address of a meeting point, mean other processes.
"""

from __future__ import annotations

import os

from torch import distributed

from torchbce.common.errors import InputError

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_joined() -> bool:
    """Return whether this process can talk to others now."""
    return distributed.is_available() and distributed.is_initialized()


def world_size() -> int:
    """Number of processes that are joined; 1 alone."""
    return distributed.get_world_size() if is_joined() else 1


def rank() -> int:
    """This process's rank among those that are joined; 0 alone."""
    return distributed.get_rank() if is_joined() else 0


def is_first() -> bool:
    """Return whether this process has rank 0: it writes and prints for all."""
    return rank() == 0


def rank_and_size() -> tuple[int, int]:
    """Rank and number of the processes that are joined, or that were started to join; (0, 1) alone.

    Raises:
        InputError: variables that name no process.
    """
    if is_joined():
        return rank(), world_size()
    if not all(name in os.environ for name in VARIABLES):
        return 0, 1
    own, size = os.environ["RANK"], os.environ["WORLD_SIZE"]
    if not (own.isdecimal() and size.isdecimal() and int(own) < int(size)):
        raise InputError(
            f"RANK is {own!r} and WORLD_SIZE is {size!r}, with MASTER_ADDR and MASTER_PORT set; they are this "
            "process's number, from 0, and how many there are, as torchrun sets them; unset them to work alone"
        )
    return int(own), int(size)


def local_rank() -> int:
    """This process's rank among those on its machine; 0 alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) if rank_and_size()[1] > 1 else 0
