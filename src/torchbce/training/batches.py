"""Where batches come from: tensors in memory, a Dataset, a DataLoader, or anything that yields batches.

Tensors are shuffled and sliced, not collated item by item: at batch 1,024 that is most of the time of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from torchbce.common.batch import Batch, unpack

EVALUATION_ROWS = 16_384  # of a forward pass without gradient: large enough to be fast, small enough for any memory

Unpack = Callable[[Any], Batch]


class Batches(Protocol):
    """A source of (inputs, target) batches; `in_memory` if reading them anew costs next to nothing."""

    in_memory: bool

    def shuffled(self) -> Iterator[Batch]:
        """One epoch of training."""

    def in_order(self) -> Iterator[Batch]:
        """Every item once, for evaluation. Draws nothing from the global random numbers."""

    def __len__(self) -> int:
        """Batches of an epoch of training; 0 where that is not known."""


def batches_of(data: Any, batch_size: int, given: Unpack | None) -> Batches:
    """The right source for what the user has."""
    arrays = [data] if not isinstance(data, list | tuple) else data
    if any(hasattr(part, "__array__") and not isinstance(part, Tensor) for part in arrays):
        raise TypeError(
            "data has NumPy arrays or data frames; write tensors: torch.as_tensor(X, dtype=torch.float32), and the "
            "same of Y"
        )
    if isinstance(data, DataLoader):
        return LoaderBatches(data, given or unpack)
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Sequence) and data and all(isinstance(part, Tensor) for part in data):
        return TensorBatches(tuple(data), batch_size)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DatasetBatches(data, batch_size, given or unpack)
    if isinstance(data, Iterable) and not isinstance(data, Iterator | Tensor | Mapping):
        return IterableBatches(data, given or unpack)
    raise TypeError(
        f"data is {type(data).__name__}; give (inputs, targets) tensors, a Dataset, a DataLoader, or an iterable of "
        "batches that can be iterated anew each epoch"
    )


class TensorBatches:
    """Tensors in memory, the last of them the target."""

    in_memory = True

    def __init__(self, tensors: tuple[Tensor, ...], batch_size: int) -> None:
        sizes = [len(tensor) if tensor.ndim else 0 for tensor in tensors]
        if len(tensors) < 2 or len(set(sizes)) > 1 or not sizes[0]:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ValueError(f"(inputs, ..., targets) must be two or more tensors of one length above 0; got {shapes}")
        self.tensors, self.batch_size, self.rows = tensors, batch_size, sizes[0]

    def shuffled(self) -> Iterator[Batch]:
        order = torch.randperm(self.rows)
        device = self.tensors[0].device
        for indices in torch.split(order.to(device), self.batch_size):
            *inputs, target = (tensor[indices] for tensor in self.tensors)
            yield tuple(inputs), target

    def in_order(self) -> Iterator[Batch]:
        for parts in zip(*(torch.split(tensor, EVALUATION_ROWS) for tensor in self.tensors), strict=True):
            yield parts[:-1], parts[-1]

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


class DatasetBatches:
    """A map-style dataset, fetched a batch at a time through `__getitems__` where it has that."""

    in_memory = False

    def __init__(self, dataset: Dataset[Any], batch_size: int, unpacked: Unpack) -> None:
        self.dataset, self.batch_size, self.unpack = dataset, batch_size, unpacked
        self.rows = len(dataset)  # type: ignore[arg-type]

    def shuffled(self) -> Iterator[Batch]:
        return self._in(torch.randperm(self.rows))

    def in_order(self) -> Iterator[Batch]:
        return self._in(torch.arange(self.rows))

    def _in(self, order: Tensor) -> Iterator[Batch]:
        fetch = getattr(self.dataset, "__getitems__", None)
        for chunk in torch.split(order, self.batch_size):
            indices = chunk.tolist()
            items = fetch(indices) if fetch else [self.dataset[i] for i in indices]
            # The protocol's answer is a list of items; one that is a batch already is taken as it is.
            collated = default_collate(items) if isinstance(items, list) else items
            yield self.unpack(collated)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


class IterableBatches:
    """Anything that yields batches, each time it is iterated."""

    in_memory = False

    def __init__(self, batches: Iterable[Any], unpacked: Unpack) -> None:
        self.batches, self.unpack = batches, unpacked

    def shuffled(self) -> Iterator[Batch]:
        return map(self.unpack, self.batches)

    def in_order(self) -> Iterator[Batch]:
        return map(self.unpack, self.batches)

    def __len__(self) -> int:
        return len(self.batches) if isinstance(self.batches, Sized) else 0


class LoaderBatches(IterableBatches):
    """The user's DataLoader for training; for evaluation the same dataset in order, with nothing dropped or drawn."""

    def __init__(self, loader: DataLoader[Any], unpacked: Unpack) -> None:
        super().__init__(loader, unpacked)
        self.loader = loader
        self.in_memory = unpacked is unpack and _can_be_sliced(loader)

    def shuffled(self) -> Iterator[Batch]:
        return self._sliced() if self.in_memory else super().shuffled()

    def _sliced(self) -> Iterator[Batch]:
        """The loader's own batches in its own order, cut from the tensors instead of collated item by item."""
        # A DataLoader draws a seed for its workers before its sampler draws; so the order is the same.
        torch.empty((), dtype=torch.int64).random_(generator=self.loader.generator)
        for indices in self.loader.batch_sampler or ():
            *inputs, target = (tensor[indices] for tensor in self.loader.dataset.tensors)  # type: ignore[attr-defined]
            yield tuple(inputs), target

    def in_order(self) -> Iterator[Batch]:
        loader = self.loader
        if self.in_memory:
            return TensorBatches(loader.dataset.tensors, EVALUATION_ROWS).in_order()  # type: ignore[attr-defined]
        if isinstance(loader.dataset, IterableDataset):
            return super().in_order()
        evaluation: DataLoader[Any] = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1),
            shuffle=False,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            generator=torch.Generator(),
        )
        return map(self.unpack, evaluation)


def _can_be_sliced(loader: DataLoader[Any]) -> bool:
    """Tensors in memory, read by this process and collated as torch does it by default."""
    return (
        type(loader.dataset) is TensorDataset
        and loader.batch_sampler is not None
        and loader.collate_fn is default_collate
        and loader.num_workers == 0
        and not loader.pin_memory
    )
