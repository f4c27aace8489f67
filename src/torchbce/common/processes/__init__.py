"""Processes that work together under torchrun: their ranks, what they exchange, and how they join."""

from torchbce.common.processes.collective import (
    all_gather,
    all_gather_tensor,
    any_process,
    collective_device,
    first_then_rest,
    from_first,
    gather_shared,
    in_all,
    own_share,
    require_same,
    send_receive,
    sum_over_processes,
)
from torchbce.common.processes.join import joined
from torchbce.common.processes.ranks import is_first, is_joined, local_rank, rank, rank_and_size, world_size

__all__ = [
    "all_gather",
    "all_gather_tensor",
    "any_process",
    "collective_device",
    "first_then_rest",
    "from_first",
    "gather_shared",
    "in_all",
    "is_first",
    "is_joined",
    "joined",
    "local_rank",
    "own_share",
    "rank",
    "rank_and_size",
    "require_same",
    "send_receive",
    "sum_over_processes",
    "world_size",
]
