"""What a DataLoader gives to each of several processes: a part of the rows, or, by mistake, all of them."""

from __future__ import annotations

import warnings
from typing import Any

from torch.utils.data import DistributedSampler

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.batches import Batches, IterableBatches, LoaderBatches


def distributed_sampler(batches: Batches) -> DistributedSampler[Any] | None:
    """The DataLoader's DistributedSampler, if it has one."""
    if not isinstance(batches, LoaderBatches):
        return None
    samplers = (batches.loader.sampler, getattr(batches.loader.batch_sampler, "sampler", None))
    return next((sampler for sampler in samplers if isinstance(sampler, DistributedSampler)), None)


def require_own_rows(batches: Batches, sharded: bool) -> None:
    """Raise unless each process trains on rows of its own.

    Raises:
        InputError: all would train on the same.
    """
    if not isinstance(batches, IterableBatches) or sharded:
        return
    sampler = distributed_sampler(batches)
    if sampler is None:
        raise InputError(
            f"there are {processes.world_size()} processes, and each would train on all batches of this "
            f"{type(batches.batches).__name__}: give the tensors or the Dataset itself, which are shared out; or a "
            "DataLoader with a torch.utils.data.DistributedSampler; or sharded=True, if each process's batches are "
            "its own part already"
        )
    repeated = sampler.total_size - len(sampler.dataset)  # type: ignore[arg-type]
    if repeated > 0 and processes.is_first():
        warnings.warn(
            f"DistributedSampler repeats {repeated} row{'s' * (repeated > 1)} each epoch to give all processes equally "
            "many: they count twice; tensors or a Dataset given to fit are shared out without",
            stacklevel=2,
        )


def set_epoch(batches: Batches, number: int) -> None:
    """Give the sampler another order in each epoch."""
    sampler = distributed_sampler(batches)
    if sampler is not None and processes.world_size() > 1:
        sampler.set_epoch(number - 1)
