"""Trainings by `fit` that are cut and gone on with."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from torchbce import fit

ROWS, BATCH, EPOCHS = 53, 10, 3


STEPS = -(-ROWS // BATCH)


class Killed(Exception):
    """Stands for the end of the process."""


class Items(Dataset):
    """Dicts, changed at random as they are read: by the numbers of all three libraries."""

    def __init__(self, x, y, noise=False):
        self.x, self.y, self.noise = x, y, noise

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        moved = random.random() + np.random.rand() if self.noise else 0.0
        return {"x": self.x[i] + moved, "target": self.y[i]}


class Stream(IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        order = torch.randperm(len(self.x))
        return zip(self.x[order], self.y[order], strict=True)


class Counted:
    """Batches that know where they are; `read` counts them."""

    def __init__(self, x, y):
        self.x, self.y, self.place, self.read = x, y, 0, 0

    def __iter__(self):
        while self.place * BATCH < len(self.x):
            rows = slice(self.place * BATCH, (self.place + 1) * BATCH)
            self.place += 1
            self.read += 1
            yield self.x[rows], self.y[rows]
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def loader(dataset, **options):
    return DataLoader(dataset, batch_size=BATCH, **options)


def own_generator():
    return torch.Generator().manual_seed(8)


SOURCES = {
    "tensors": lambda x, y: (x, y),
    "dataset": Items,
    "noisy dataset": lambda x, y: Items(x, y, noise=True),
    "loader of tensors": lambda x, y: loader(TensorDataset(x, y), shuffle=True),
    "loader in order": lambda x, y: loader(Items(x, y)),
    "shuffled loader": lambda x, y: loader(Items(x, y, noise=True), shuffle=True),
    "loader with a generator": lambda x, y: loader(TensorDataset(x, y), shuffle=True, generator=own_generator()),
    "loader of dicts with a generator": lambda x, y: loader(Items(x, y), shuffle=True, generator=own_generator()),
    "sampler with a generator": lambda x, y: loader(
        Items(x, y), sampler=RandomSampler(x, replacement=True, generator=own_generator())
    ),
    "loader that drops the last": lambda x, y: loader(TensorDataset(x, y), shuffle=True, drop_last=True),
    "loader of a stream": lambda x, y: loader(Stream(x, y)),
    "list": lambda x, y: list(zip(x.split(BATCH), y.split(BATCH), strict=True)),
    "own state": Counted,
}


WORKERS = {
    "workers": lambda x, y: loader(Items(x, y), shuffle=True, num_workers=2),
    "persistent workers": lambda x, y: loader(Items(x, y), shuffle=True, num_workers=1, persistent_workers=True),
}


def data(rows: int = ROWS):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=drawn)
    return x, (x[:, :1] + torch.randn(rows, 1, generator=drawn) > 0).float()


def network(dtype=torch.float32):
    torch.manual_seed(1)
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)]
    return nn.Sequential(*layers).to(dtype)


def seeded():
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)


class Run:
    """One run, undisturbed or in pieces; each piece with everything made anew, as in a new process."""

    def __init__(self, source="tensors", optimizer=None, schedule=None, make=network, **options):
        self.source, self.make, self.options = {**SOURCES, **WORKERS}[source], make, options
        self.optimizer = optimizer or (lambda p: torch.optim.AdamW(p, lr=0.02))
        self.schedule = schedule

    def piece(self, on_step=None, on_epoch=None, **options):
        seeded()
        self.module = self.make()
        x, y = data()
        self.data = self.source(x, y)
        self.kept = self.optimizer(self.module.parameters())
        schedule = self.schedule(self.kept) if self.schedule else None
        seeded()
        given = {"epochs": EPOCHS, "batch_size": BATCH, "valid": data(20), "seed": 3, **self.options, **options}
        return fit(
            self.module,
            self.data,
            optimizer=self.kept,
            scheduler=schedule,
            on_step=on_step or (lambda done, steps: None),
            on_epoch=on_epoch,
            **given,
        )

    def undisturbed(self, **options):
        return self._ended(self.piece(**options))

    def cut(self, folder, *places, **options):
        """Killed after these steps in all, each time gone on with; a checkpoint after every batch."""
        options = {"checkpoint": folder, "checkpoint_every": 0.0, **options}
        for place in places:
            count = 0

            def kill(done, steps, place=place):
                nonlocal count
                count += 1
                if count == place:
                    raise Killed

            with pytest.raises(Killed):
                self.piece(on_step=kill, **options)
        return self._ended(self.piece(**options))

    def _ended(self, history):
        return (
            [{**vars(epoch), "seconds": 0} for epoch in history],
            self.module.state_dict(),
            self.kept.state_dict(),
            torch.rand(3),
            np.random.rand(3).tolist(),
        ), history


def assert_same(one, other):
    """To the last bit, and in the same types."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other or (one != one and other != other)


def momentum(p):
    return torch.optim.SGD(p, lr=0.1, momentum=0.9)
