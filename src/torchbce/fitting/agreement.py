"""What processes that train together must know of each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from torchbce.common import processes
from torchbce.common.versions import NUMBERS, versions


class Agreed(NamedTuple):
    """The same in all processes. finite: the loss of the batch, or of those since the last look; due: a checkpoint;
    stop: one of them was asked to end."""

    finite: bool = True
    due: bool = False
    stop: bool = False


def part_of_batches() -> slice | None:
    """Of every batch, what this process takes."""
    count = processes.count()
    return slice(processes.number(), None, count) if count > 1 else None


def summed(*numbers: float) -> list[float]:
    """Each over all processes, in float64."""
    if processes.count() == 1:
        return list(numbers)
    whole = torch.tensor(numbers, dtype=torch.float64, device=meeting_place())
    distributed.all_reduce(whole)
    found: list[float] = whole.tolist()
    return found


def anywhere(here: bool) -> bool:
    """Whether it is so in any process."""
    return summed(float(here))[0] > 0


def meeting_place() -> torch.device:
    """Where the processes' tensors can meet."""
    on_gpu = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def require_same(
    identity: Mapping[str, object], data: Iterable[str], options: Mapping[str, object], *, sharded: bool
) -> None:
    """All processes were called with the same; of data that are each one's own part (`sharded`), nothing is compared.

    Raises:
        InputError: in all of them; it names what differs, and the processes.
    """
    own = tuple(f"{name}'s " for name in data) if sharded else ()
    known = {name: value for name, value in identity.items() if not own or not name.startswith(own)}
    processes.require_same({**known, **options, **versions(*NUMBERS)})


def same_start(module: nn.Module) -> None:
    """Parameters and buffers of all processes are the first one's."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            _from_first(tensor)


def same_buffers(module: nn.Module) -> None:
    """Running statistics are the first process's, as in DistributedDataParallel."""
    with torch.no_grad():
        for tensor in module.buffers():
            _from_first(tensor)


def _from_first(tensor: Tensor) -> None:
    whole = tensor.detach().contiguous()
    distributed.broadcast(whole, 0)
    tensor.copy_(whole)
