"""Sources of batches: tensors in memory, a Dataset, a DataLoader, or anything that yields batches.

Tensors are shuffled and sliced, not collated item by item: at batch 1,024 that is most of the time of an epoch. A
source knows its position in an epoch and can go on from there. Where several processes train together, each gets its
part of every batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from torchbce.common import processes
from torchbce.common.batch import Batch, moved, unpack
from torchbce.common.errors import InputError
from torchbce.fitting.random_state import random_state, restore_random_state

EVALUATION_ROWS = 16_384  # of a forward pass without gradient: large enough to be fast, small enough for any memory

Unpack = Callable[[Any], Batch]
Part = slice | None  # of each batch; None for all of it


class Batches:
    """A source of (inputs, target) batches.

    in_memory: reading them anew costs next to nothing. indices: the rows of the last batch, where they are known.
    done: the batches of the epoch so far. saves_state: whether `state_dict` will be called.
    """

    in_memory = False
    indices: Sequence[int] | Tensor | None = None
    generators: Sequence[Generator] = ()
    done = 0
    saves_state = False
    _ended = False
    _began: dict[str, Any] | None = None
    _resumed_state: dict[str, Any] | None = None

    def shuffled(self) -> Iterator[Batch]:
        """Yield the batches of an epoch of training, or those that are left of a resumed one."""
        self.begin_epoch()
        return iter(()) if self._ended else self._counted(self._batches_after(self.done))

    def begin_epoch(self) -> None:
        """Start an epoch with the random numbers as they are, or a resumed one with those that it began with."""
        resumed, self._resumed_state = self._resumed_state, None
        self.done, self._ended = (0, False) if resumed is None else (resumed["done"], resumed["ended"])
        if resumed is not None and self.done and not self._ended:
            self._began = resumed["began"]
            restore_random_state(resumed["began"], generators=self.generators)
        elif self.saves_state:
            self._began = random_state(generators=self.generators)

    def end_epoch(self) -> None:
        """Mark the epoch as finished and evaluated; the next begins."""
        self.done, self._ended, self._began = 0, False, None

    def state_dict(self) -> dict[str, Any]:
        """Serialize the position: the batches done and the random numbers that the epoch began with."""
        now = [generator.get_state() for generator in self.generators]
        return {"done": self.done, "ended": self._ended, "began": None if self._ended else self._began, "now": now}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from `state_dict`; the caller restores the random numbers once `shuffled` was called."""
        self._resumed_state = state
        for generator, saved in zip(self.generators, state["now"], strict=False):
            generator.set_state(saved)

    def in_order(self) -> Iterator[Batch]:
        """Yield every item once, for evaluation, without drawing from the global random numbers."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Number of batches of an epoch of training; 0 where that is not known."""
        raise NotImplementedError

    def _batches_after(self, done: int) -> Iterator[Batch]:
        """Return the epoch's batches after the first `done`, whose random numbers have been drawn by then."""
        raise NotImplementedError

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.done += 1
            yield batch
        self._ended = True


def batches_of(data: Any, batch_size: int, unpack_batch: Unpack | None, part: Part = None) -> Batches:
    """Return the source for the data of a user."""
    arrays = [data] if not isinstance(data, list | tuple) else data
    if any(hasattr(array, "__array__") and not isinstance(array, Tensor) for array in arrays):
        raise TypeError(
            "data has NumPy arrays or data frames; write tensors: torch.as_tensor(X, dtype=torch.float32), and the "
            "same of Y"
        )
    if isinstance(data, DataLoader):
        return LoaderBatches(data, unpack_batch or unpack, part)
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Sequence) and data and all(isinstance(array, Tensor) for array in data):
        return TensorBatches(tuple(data), batch_size, part)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DatasetBatches(data, batch_size, unpack_batch or unpack, part)
    if isinstance(data, Iterable) and not isinstance(data, Iterator | Tensor | Mapping):
        return IterableBatches(data, unpack_batch or unpack)
    raise TypeError(
        f"data is {type(data).__name__}; give (inputs, targets) tensors, a Dataset, a DataLoader, or an iterable of "
        "batches that can be iterated anew each epoch"
    )


def permutation(rows: int, part: Part = None) -> Tensor:
    """Draw an order of all rows: the first process's, for all processes that take a part."""
    if part is None:
        return torch.randperm(rows)
    generator = Generator()
    generator.set_state(processes.from_first(torch.get_rng_state))
    return torch.randperm(rows) if processes.is_first() else torch.randperm(rows, generator=generator)


class TensorBatches(Batches):
    """Tensors in memory, the last of them the target."""

    in_memory = True

    def __init__(self, tensors: tuple[Tensor, ...], batch_size: int, part: Part = None) -> None:
        sizes = [len(tensor) if tensor.ndim else 0 for tensor in tensors]
        if len(tensors) < 2 or len(set(sizes)) > 1 or not sizes[0]:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ValueError(f"(inputs, ..., targets) must be two or more tensors of one length above 0; got {shapes}")
        self.tensors, self.batch_size, self.rows, self.part = tensors, batch_size, sizes[0], part

    def _batches_after(self, done: int) -> Iterator[Batch]:
        order = permutation(self.rows, self.part).to(self.tensors[0].device)
        return self._slice(torch.split(order, self.batch_size)[done:])

    def _slice(self, chunks: Iterable[Tensor]) -> Iterator[Batch]:
        for chunk in chunks:
            self.indices = indices = chunk if self.part is None else chunk[self.part]
            *inputs, target = (tensor[indices] for tensor in self.tensors)
            yield tuple(inputs), target

    def in_order(self) -> Iterator[Batch]:
        for parts in zip(*(torch.split(tensor, EVALUATION_ROWS) for tensor in self.tensors), strict=True):
            own = parts if self.part is None else tuple(tensor[self.part] for tensor in parts)
            yield own[:-1], own[-1]

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


class DatasetBatches(Batches):
    """A map-style dataset, fetched a batch at a time through `__getitems__` where it has that."""

    def __init__(self, dataset: Dataset[Any], batch_size: int, unpack: Unpack, part: Part = None) -> None:
        self.dataset, self.batch_size, self.unpack, self.part = dataset, batch_size, unpack, part
        self.rows = len(dataset)  # type: ignore[arg-type]

    def _batches_after(self, done: int) -> Iterator[Batch]:
        return self._fetch_in_order(permutation(self.rows, self.part), done)

    def in_order(self) -> Iterator[Batch]:
        return self._fetch_in_order(torch.arange(self.rows))

    def _fetch_in_order(self, order: Tensor, done: int = 0) -> Iterator[Batch]:
        for chunk in torch.split(order, self.batch_size)[done:]:
            self.indices = own = chunk if self.part is None else chunk[self.part]
            # A process without a row of a short last batch learns from another row what an empty batch looks like.
            inputs, target = self._fetch(own if len(own) else chunk[:1])
            yield (inputs, target) if len(own) else (empty(inputs), empty(target))

    def _fetch(self, rows: Tensor) -> Batch:
        fetch = getattr(self.dataset, "__getitems__", None)
        indices = rows.tolist()
        items = fetch(indices) if fetch else [self.dataset[i] for i in indices]
        # The protocol's answer is a list of items; one that is a batch already is taken as it is.
        return self.unpack(default_collate(items) if isinstance(items, list) else items)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


class IterableBatches(Batches):
    """Anything that yields batches, each time it is iterated.

    It resumes in the middle of an epoch by its own `state_dict` and `load_state_dict`, where it has them; else the
    epoch begins again with the same random numbers, and its first batches are skipped.
    """

    def __init__(self, batches: Iterable[Any], unpack: Unpack) -> None:
        self.batches, self.unpack = batches, unpack
        self._has_state = hasattr(batches, "state_dict") and hasattr(batches, "load_state_dict")
        self._is_loaded = self._is_begun = False

    def state_dict(self) -> dict[str, Any]:
        has_position = self._has_state and self._is_begun
        return {**super().state_dict(), "own": self.batches.state_dict() if has_position else None}  # type: ignore[attr-defined]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if state["own"] is not None:
            self.batches.load_state_dict(state["own"])  # type: ignore[attr-defined]
            self._is_loaded = True

    def _batches_after(self, done: int) -> Iterator[Batch]:
        loaded, self._is_loaded, self._is_begun = self._is_loaded, False, True
        batches = iter(self.batches)
        return map(self.unpack, batches if loaded else skip(batches, done))

    def in_order(self) -> Iterator[Batch]:
        return map(self.unpack, self.batches)

    def __len__(self) -> int:
        return len(self.batches) if isinstance(self.batches, Sized) else 0


class LoaderBatches(IterableBatches):
    """The user's DataLoader for training; for evaluation the same dataset in order, with nothing dropped or drawn."""

    def __init__(self, loader: DataLoader[Any], unpacked: Unpack, part: Part = None) -> None:
        super().__init__(loader, unpacked)
        self.loader, self.part = loader, part
        self.in_memory = unpacked is unpack and _can_be_sliced(loader)
        self._has_state = self._has_state and not self.in_memory
        owners = (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
        generators = {id(g): g for owner in owners if isinstance(g := getattr(owner, "generator", None), Generator)}
        self.generators = list(generators.values())
        self._epochs = 0  # begun, also before a resume

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "before": self._epochs - (self.done > 0 and not self._ended)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._epochs = state["before"]
        if self.loader.persistent_workers and self._epochs:
            iter(self.loader)  # the first time it starts its workers, and draws a number that later epochs do not
        super().load_state_dict(state)

    def __len__(self) -> int:
        return len(self.loader) if isinstance(self.loader.dataset, Sized) else 0

    def _batches_after(self, done: int) -> Iterator[Batch]:
        self._epochs += 1
        return self._sliced(done) if self.in_memory else super()._batches_after(done)

    def _sliced(self, done: int) -> Iterator[Batch]:
        """Slice the loader's batches, in its order, from the tensors instead of collating item by item."""
        # A DataLoader draws a seed for its workers before its sampler draws; so the order is the same.
        torch.empty((), dtype=torch.int64).random_(generator=self.loader.generator)
        return self._slice(skip(iter(self.loader.batch_sampler or ()), done))

    def _slice(self, chunks: Iterable[list[int]]) -> Iterator[Batch]:
        for indices in chunks:
            self.indices = indices
            *inputs, target = (tensor[indices] for tensor in self.loader.dataset.tensors)  # type: ignore[attr-defined]
            yield tuple(inputs), target

    def in_order(self) -> Iterator[Batch]:
        loader = self.loader
        if self.in_memory:
            return TensorBatches(loader.dataset.tensors, EVALUATION_ROWS, self.part).in_order()  # type: ignore[attr-defined]
        if isinstance(loader.dataset, IterableDataset):
            return super().in_order()
        evaluation: DataLoader[Any] = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1),
            shuffle=False,
            sampler=None if self.part is None else range(len(loader.dataset))[self.part],  # type: ignore[arg-type]
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
            generator=torch.Generator(),
        )
        return map(self.unpack, evaluation)


def skip(batches: Iterator[Any], done: int) -> Iterator[Any]:
    """Return what is left after the first `done`.

    Raises:
        InputError: there are fewer.
    """
    skipped = sum(1 for _ in itertools.islice(batches, done))
    if skipped < done:
        raise InputError(
            f"the checkpoint is from after batch {done} of an epoch, and the data now give {skipped}: go on with the "
            "data that it began with, or remove the checkpoint"
        )
    return batches


def empty(part: Any) -> Any:
    """Return a batch of the same form without rows."""
    return moved(part, lambda tensor: tensor[:0])


def _can_be_sliced(loader: DataLoader[Any]) -> bool:
    """Return whether they are tensors in memory, read by this process and collated by torch's default."""
    return (
        type(loader.dataset) is TensorDataset
        and loader.batch_sampler is not None
        and loader.collate_fn is default_collate
        and loader.num_workers == 0
        and not loader.pin_memory
    )
