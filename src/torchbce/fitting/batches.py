"""Where batches come from: tensors in memory, a Dataset, a DataLoader, or anything that yields batches.

Tensors are shuffled and sliced, not collated item by item: at batch 1,024 that is most of the time of an epoch. A
source knows where it is in an epoch and can be taken up again there. Where several processes train together, each gets
its part of every batch.
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
from torchbce.fitting.random_numbers import random_state, restore_random_state

EVALUATION_ROWS = 16_384  # of a forward pass without gradient: large enough to be fast, small enough for any memory

Unpack = Callable[[Any], Batch]
Part = slice | None  # of each batch; None for all of it


class Batches:
    """A source of (inputs, target) batches.

    in_memory: reading them anew costs next to nothing. indices: the rows of the batch that was given last, where they
    are known. done: the batches of the epoch that were given. keeps: whether `state_dict` will be asked for.
    """

    in_memory = False
    indices: Sequence[int] | Tensor | None = None
    generators: Sequence[Generator] = ()
    done = 0
    keeps = False
    _ended = False
    _began: dict[str, Any] | None = None
    _resumed: dict[str, Any] | None = None

    def shuffled(self) -> Iterator[Batch]:
        """One epoch of training, or what is left of the one that was taken up again."""
        self.begin()
        return iter(()) if self._ended else self._counted(self._after(self.done))

    def begin(self) -> None:
        """An epoch begins with the random numbers as they are, or again with those that it began with."""
        resumed, self._resumed = self._resumed, None
        self.done, self._ended = (0, False) if resumed is None else (resumed["done"], resumed["ended"])
        if resumed is not None and self.done and not self._ended:
            self._began = resumed["began"]
            restore_random_state(resumed["began"], generators=self.generators)
        elif self.keeps:
            self._began = random_state(generators=self.generators)

    def end(self) -> None:
        """The epoch is over, and evaluated: what follows is the next one."""
        self.done, self._ended, self._began = 0, False, None

    def state_dict(self) -> dict[str, Any]:
        """Where it is: the batches done and the random numbers that the epoch began with."""
        now = [generator.get_state() for generator in self.generators]
        return {"done": self.done, "ended": self._ended, "began": None if self._ended else self._began, "now": now}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """`shuffled` goes on there; the caller sets the random numbers afterwards, as they were after those batches."""
        self._resumed = state
        for generator, saved in zip(self.generators, state["now"], strict=False):
            generator.set_state(saved)

    def in_order(self) -> Iterator[Batch]:
        """Every item once, for evaluation. Draws nothing from the global random numbers."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Batches of an epoch of training; 0 where that is not known."""
        raise NotImplementedError

    def _after(self, done: int) -> Iterator[Batch]:
        """The epoch after so many batches. What those draw is drawn when this returns."""
        raise NotImplementedError

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.done += 1
            yield batch
        self._ended = True


def batches_of(data: Any, batch_size: int, given: Unpack | None, part: Part = None) -> Batches:
    """The right source for what the user has."""
    arrays = [data] if not isinstance(data, list | tuple) else data
    if any(hasattr(array, "__array__") and not isinstance(array, Tensor) for array in arrays):
        raise TypeError(
            "data has NumPy arrays or data frames; write tensors: torch.as_tensor(X, dtype=torch.float32), and the "
            "same of Y"
        )
    if isinstance(data, DataLoader):
        return LoaderBatches(data, given or unpack, part)
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Sequence) and data and all(isinstance(array, Tensor) for array in data):
        return TensorBatches(tuple(data), batch_size, part)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DatasetBatches(data, batch_size, given or unpack, part)
    if isinstance(data, Iterable) and not isinstance(data, Iterator | Tensor | Mapping):
        return IterableBatches(data, given or unpack)
    raise TypeError(
        f"data is {type(data).__name__}; give (inputs, targets) tensors, a Dataset, a DataLoader, or an iterable of "
        "batches that can be iterated anew each epoch"
    )


def permutation(rows: int, part: Part = None) -> Tensor:
    """An order of all rows; the first process's for all that have a part, which draw nothing themselves."""
    if part is None:
        return torch.randperm(rows)
    drawn = Generator()
    drawn.set_state(processes.from_first(torch.get_rng_state))
    return torch.randperm(rows) if processes.is_first() else torch.randperm(rows, generator=drawn)


class TensorBatches(Batches):
    """Tensors in memory, the last of them the target."""

    in_memory = True

    def __init__(self, tensors: tuple[Tensor, ...], batch_size: int, part: Part = None) -> None:
        sizes = [len(tensor) if tensor.ndim else 0 for tensor in tensors]
        if len(tensors) < 2 or len(set(sizes)) > 1 or not sizes[0]:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ValueError(f"(inputs, ..., targets) must be two or more tensors of one length above 0; got {shapes}")
        self.tensors, self.batch_size, self.rows, self.part = tensors, batch_size, sizes[0], part

    def _after(self, done: int) -> Iterator[Batch]:
        order = permutation(self.rows, self.part).to(self.tensors[0].device)
        return self._cut(torch.split(order, self.batch_size)[done:])

    def _cut(self, chunks: Iterable[Tensor]) -> Iterator[Batch]:
        for chunk in chunks:
            self.indices = indices = chunk if self.part is None else chunk[self.part]
            *inputs, target = (tensor[indices] for tensor in self.tensors)
            yield tuple(inputs), target

    def in_order(self) -> Iterator[Batch]:
        for parts in zip(*(torch.split(tensor, EVALUATION_ROWS) for tensor in self.tensors), strict=True):
            mine = parts if self.part is None else tuple(tensor[self.part] for tensor in parts)
            yield mine[:-1], mine[-1]

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


class DatasetBatches(Batches):
    """A map-style dataset, fetched a batch at a time through `__getitems__` where it has that."""

    def __init__(self, dataset: Dataset[Any], batch_size: int, unpacked: Unpack, part: Part = None) -> None:
        self.dataset, self.batch_size, self.unpack, self.part = dataset, batch_size, unpacked, part
        self.rows = len(dataset)  # type: ignore[arg-type]

    def _after(self, done: int) -> Iterator[Batch]:
        return self._in(permutation(self.rows, self.part), done)

    def in_order(self) -> Iterator[Batch]:
        return self._in(torch.arange(self.rows))

    def _in(self, order: Tensor, done: int = 0) -> Iterator[Batch]:
        for chunk in torch.split(order, self.batch_size)[done:]:
            self.indices = mine = chunk if self.part is None else chunk[self.part]
            # A process without a row of a short last batch learns from another row what an empty batch looks like.
            inputs, target = self._fetched(mine if len(mine) else chunk[:1])
            yield (inputs, target) if len(mine) else (empty(inputs), empty(target))

    def _fetched(self, rows: Tensor) -> Batch:
        fetch = getattr(self.dataset, "__getitems__", None)
        indices = rows.tolist()
        items = fetch(indices) if fetch else [self.dataset[i] for i in indices]
        # The protocol's answer is a list of items; one that is a batch already is taken as it is.
        return self.unpack(default_collate(items) if isinstance(items, list) else items)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)


class IterableBatches(Batches):
    """Anything that yields batches, each time it is iterated.

    It goes on in the middle of an epoch by its own `state_dict` and `load_state_dict`, where it has them; else the
    epoch begins again with the same random numbers, and its first batches are passed over.
    """

    def __init__(self, batches: Iterable[Any], unpacked: Unpack) -> None:
        self.batches, self.unpack = batches, unpacked
        self._has_state = hasattr(batches, "state_dict") and hasattr(batches, "load_state_dict")
        self._is_loaded = self._is_begun = False

    def state_dict(self) -> dict[str, Any]:
        known = self._has_state and self._is_begun
        return {**super().state_dict(), "own": self.batches.state_dict() if known else None}  # type: ignore[attr-defined]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if state["own"] is not None:
            self.batches.load_state_dict(state["own"])  # type: ignore[attr-defined]
            self._is_loaded = True

    def _after(self, done: int) -> Iterator[Batch]:
        loaded, self._is_loaded, self._is_begun = self._is_loaded, False, True
        batches = iter(self.batches)
        return map(self.unpack, batches if loaded else passed_over(batches, done))

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
        found = {id(g): g for owner in owners if isinstance(g := getattr(owner, "generator", None), Generator)}
        self.generators = list(found.values())
        self._epochs = 0  # begun, also before this process

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "before": self._epochs - (self.done > 0 and not self._ended)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._epochs = state["before"]
        if self.loader.persistent_workers and self._epochs:
            iter(self.loader)  # the first time it starts its workers, and draws a number that later epochs do not
        super().load_state_dict(state)

    def __len__(self) -> int:
        return len(self.loader) if isinstance(self.loader.dataset, Sized) else 0

    def _after(self, done: int) -> Iterator[Batch]:
        self._epochs += 1
        return self._sliced(done) if self.in_memory else super()._after(done)

    def _sliced(self, done: int) -> Iterator[Batch]:
        """The loader's own batches in its own order, cut from the tensors instead of collated item by item."""
        # A DataLoader draws a seed for its workers before its sampler draws; so the order is the same.
        torch.empty((), dtype=torch.int64).random_(generator=self.loader.generator)
        return self._cut(passed_over(iter(self.loader.batch_sampler or ()), done))

    def _cut(self, chunks: Iterable[list[int]]) -> Iterator[Batch]:
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


def passed_over(batches: Iterator[Any], done: int) -> Iterator[Any]:
    """What is left after so many.

    Raises:
        InputError: there are not so many.
    """
    found = sum(1 for _ in itertools.islice(batches, done))
    if found < done:
        raise InputError(
            f"the checkpoint is from after batch {done} of an epoch, and the data now give {found}: go on with the "
            "data that it began with, or remove the checkpoint"
        )
    return batches


def empty(part: Any) -> Any:
    """The same without rows."""
    return moved(part, lambda tensor: tensor[:0])


def _can_be_sliced(loader: DataLoader[Any]) -> bool:
    """Tensors in memory, read by this process and collated as torch does it by default."""
    return (
        type(loader.dataset) is TensorDataset
        and loader.batch_sampler is not None
        and loader.collate_fn is default_collate
        and loader.num_workers == 0
        and not loader.pin_memory
    )
