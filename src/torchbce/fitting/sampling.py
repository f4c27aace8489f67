"""What a DataLoader gives to each of several processes: a part of the rows, or, by mistake, all of them."""

from __future__ import annotations

import warnings
from typing import Any

from torch.utils.data import DistributedSampler

from torchbce.common import processes
from torchbce.common.errors import InputError
from torchbce.fitting.batches import Batches, IterableBatches, LoaderBatches


def sampler_of(batches: Batches) -> DistributedSampler[Any] | None:
    if not isinstance(batches, LoaderBatches):
        return None
    found = (batches.loader.sampler, getattr(batches.loader.batch_sampler, "sampler", None))
    return next((sampler for sampler in found if isinstance(sampler, DistributedSampler)), None)


def check_parts(batches: Batches, sharded: bool) -> None:
    """Each process trains on rows of its own.

    Raises:
        InputError: all would train on the same.
    """
    if not isinstance(batches, IterableBatches) or sharded:
        return
    sampler = sampler_of(batches)
    if sampler is None:
        raise InputError(
            f"there are {processes.count()} processes, and each would train on all batches of this "
            f"{type(batches.batches).__name__}: give the tensors or the Dataset itself, which are shared out; or a "
            "DataLoader with a torch.utils.data.DistributedSampler; or sharded=True, if each process's batches are "
            "its own part already"
        )
    again = sampler.total_size - len(sampler.dataset)  # type: ignore[arg-type]
    if again > 0 and processes.is_first():
        warnings.warn(
            f"DistributedSampler repeats {again} row{'s' * (again > 1)} each epoch to give all processes equally many: "
            "they count twice; tensors or a Dataset given to fit are shared out without",
            stacklevel=2,
        )


def set_epoch(batches: Batches, number: int) -> None:
    """Another order in each epoch."""
    sampler = sampler_of(batches)
    if sampler is not None and processes.count() > 1:
        sampler.set_epoch(number - 1)
