"""Processes that train together: the same call, the same weights at the start, each its part of every batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, distributed, nn

from torchbce.common import processes
from torchbce.common.versions import NUMBERS, versions


def own_part_of_batches() -> slice | None:
    """Items of every batch that this process takes; None where it is alone."""
    size = processes.world_size()
    return slice(processes.rank(), None, size) if size > 1 else None


def require_same_call(
    identity: Mapping[str, object], data: Iterable[str], options: Mapping[str, object], *, sharded: bool
) -> None:
    """Raise unless all processes were called with the same; `sharded` data differ by intention and are not compared.

    Raises:
        InputError: in all of them; it names what differs, and the processes.
    """
    own = tuple(f"{name}'s " for name in data) if sharded else ()
    known = {name: value for name, value in identity.items() if not own or not name.startswith(own)}
    processes.require_same({**known, **options, **versions(*NUMBERS)})


def broadcast_module(module: nn.Module) -> None:
    """Copy the first process's parameters and buffers to all."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            _broadcast(tensor)


def broadcast_buffers(module: nn.Module) -> None:
    """Copy the first process's running statistics to all, as DistributedDataParallel does."""
    with torch.no_grad():
        for tensor in module.buffers():
            _broadcast(tensor)


def _broadcast(tensor: Tensor) -> None:
    content = tensor.detach().contiguous()
    distributed.broadcast(content, 0)
    tensor.copy_(content)
