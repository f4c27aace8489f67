"""Joining the processes that torchrun started."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

import torch
from torch import distributed

from torchbce.common.processes.ranks import is_joined, rank_and_size

_GROUPS = itertools.count()  # process groups that this process has joined


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join all processes for the block, under torchrun or where its variables are set; alone, do nothing."""
    if is_joined() or rank_and_size()[1] == 1:
        yield
        return
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    # torchrun's store remembers the addresses of groups that are gone, so each group gets a prefix of its own there.
    store, rank, size = next(rendezvous("env://"))
    one_machine = os.environ.get("GROUP_WORLD_SIZE") == "1"  # machines may count restarts differently
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", 0) if one_machine else 0
    backend = "gloo" if not torch.cuda.is_available() else "cpu:gloo,cuda:nccl"
    distributed.init_process_group(
        backend, store=PrefixStore(f"torchbce/{restart}/{next(_GROUPS)}", store), rank=rank, world_size=size
    )
    try:
        yield
        distributed.barrier()  # all leave together: none finds another gone while it still reads
    finally:
        distributed.destroy_process_group()
