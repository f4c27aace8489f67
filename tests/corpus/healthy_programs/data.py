"""Unusual data: rare, few, wide, or from a loader."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

import torchbce
from torchbce import Report

from .common import mlp, rows, sentences
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


@healthy("1 % positives in a batch of 512")
def one_percent_positives() -> Report:
    return torchbce.check(mlp(), rows(512, rate=0.01), bce)


@healthy("2 % positives, a head bias at the base rate, and pos_weight 49")
def rare_with_head_bias() -> Report:
    batch = rows(512, rate=0.02)
    model = mlp()
    nn.init.constant_(model[2].bias, math.log(0.02 / 0.98))
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(pos_weight=torch.tensor(49.0)))


@healthy("2 % positives and the focal prior of 0.01 as head bias")
def focal_prior_bias() -> Report:
    batch = rows(512, rate=0.02, seed=4)
    model = mlp()
    nn.init.constant_(model[2].bias, -math.log(99))
    return torchbce.check(model, batch, torchbce.FocalWithLogitsLoss())


@healthy("a batch of eight")
def batch_of_eight() -> Report:
    return torchbce.check(mlp(), rows(8), bce)


@healthy("a batch of three with batch norm")
def batch_of_three() -> Report:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    return torchbce.check(model, rows(3), bce)


@healthy("a batch of one")
def batch_of_one() -> Report:
    return torchbce.check(mlp(), rows(1), bce)


@healthy("32 items of a rare class in which no positive occurs")
def no_positive_in_a_small_batch() -> Report:
    x, y = rows(32)
    return torchbce.check(mlp(), (x, torch.zeros_like(y)), bce)


@healthy("1,000 features, most of them without information")
def thousand_features() -> Report:
    x, y = rows(64, 1000)
    return torchbce.check(nn.Linear(1000, 1), (x, y), bce)


@healthy("counts, taken as log(1 + x); most are 0")
def sparse_counts() -> Report:
    torch.manual_seed(2)
    counts = torch.poisson(torch.full((128, 60), 0.1))
    y = (counts[:, :20].sum(1) + torch.randn(128) > 2).float()[:, None]
    return torchbce.check(mlp(60), (counts.log1p(), y), bce)


@healthy("columns of very different size go through a batch norm first")
def unscaled_columns_with_norm() -> Report:
    x, y = rows(128)
    x = x * torch.logspace(-3, 4, 8) + torch.logspace(0, 5, 8)
    return torchbce.check(nn.Sequential(nn.BatchNorm1d(8), mlp()), (x, y), bce)


@healthy("ten values of one category; equal rows have both labels")
def repeated_rows() -> Report:
    torch.manual_seed(0)
    category = torch.randint(0, 10, (300,))
    rate = torch.linspace(0.1, 0.9, 10)
    y = (torch.rand(300) < rate[category]).float()[:, None]

    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(10, 1)

        def forward(self, category):
            return self.table(category)

    return torchbce.check(Lookup(), (category, y), bce)


@healthy("noise in a quarter of the labels")
def noisy_labels() -> Report:
    x, y = rows(256)
    flip = torch.rand_like(y) < 0.25
    return torchbce.check(mlp(8, 64), (x, torch.where(flip, 1 - y, y)), bce)


@healthy("click rates as targets, all between 0 and 0.1")
def small_soft_targets() -> Report:
    x, _ = rows(200)
    y = 0.1 * torch.sigmoid(x @ torch.randn(8, 1))
    return torchbce.check(mlp(), (x, y), bce)


@healthy("a DataLoader of a TensorDataset, shuffled, with a short last batch")
def data_loader() -> Report:
    loader = DataLoader(TensorDataset(*rows(150)), batch_size=64, shuffle=True)
    return torchbce.check(mlp(), loader, bce)


class Records(Dataset):
    """Gives dicts."""

    def __init__(self, n: int):
        self.x, self.y = rows(n)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "label": self.y[i]}


@healthy("a loader of dicts, for training and for validation")
def loader_of_dicts() -> Report:
    class TakesX(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x)

    class Later(Records):
        def __init__(self):
            self.x, self.y = rows(80, seed=9)

    model = TakesX()
    optimizer = torch.optim.Adam(model.parameters())
    return torchbce.check(
        model, DataLoader(Records(120), batch_size=40), bce, optimizer, valid=DataLoader(Later(), batch_size=40)
    )


@healthy("a loader with its own collate function that pads, and gives ((tokens, lengths), targets)")
def collate_that_pads() -> Report:
    tokens, lengths, y = sentences(60)
    items = [(tokens[i, : lengths[i]], y[i]) for i in range(60)]

    def collate(items):
        sequences, targets = zip(*items, strict=True)
        size = torch.tensor([len(s) for s in sequences])
        return (nn.utils.rnn.pad_sequence(sequences, batch_first=True), size), torch.stack(targets)

    class MeanOfTokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 8, padding_idx=0), nn.Linear(8, 1)

        def forward(self, tokens, size):
            return self.head(self.embed(tokens).sum(1) / size[:, None])

    loader = DataLoader(items, batch_size=30, shuffle=True, collate_fn=collate)
    return torchbce.check(MeanOfTokens(), loader, bce)


@healthy("a weighted sampler draws the rare items again and again")
def weighted_sampler() -> Report:
    x, y = rows(400, rate=0.05)
    weight = torch.where(y[:, 0] == 1, 0.95, 0.05)
    sampler = WeightedRandomSampler(weight.tolist(), 400)
    return torchbce.check(mlp(), DataLoader(TensorDataset(x, y), batch_size=128, sampler=sampler), bce)


class Stream(IterableDataset):
    """Rows without an end in sight."""

    def __iter__(self):
        for seed in range(4):
            x, y = rows(32, seed=seed)
            yield from zip(x, y, strict=True)


@healthy("a loader of a stream, whose length is not known")
def stream() -> Report:
    return torchbce.check(mlp(), DataLoader(Stream(), batch_size=32), bce)


@healthy("validation rows of few categories repeat, as training rows do among themselves")
def validation_of_few_categories() -> Report:
    def draw(n: int) -> tuple[Tensor, Tensor]:
        codes = torch.randint(0, 4, (n, 3))
        y = (torch.rand(n) < 0.2 + 0.2 * codes[:, 0]).float()[:, None]
        return nn.functional.one_hot(codes, 4).flatten(1).float(), y

    torch.manual_seed(0)
    return torchbce.check(mlp(12), draw(400), bce, valid=draw(200))


@healthy("a validation batch of other rows")
def validation_of_other_rows() -> Report:
    x, y = rows(300)
    return torchbce.check(mlp(), (x[:200], y[:200]), bce, valid=(x[200:], y[200:]))


@healthy("inputs in half precision, made float by the model")
def half_precision_inputs() -> Report:
    class Upcasts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x.float())

    x, y = rows()
    return torchbce.check(Upcasts(), (x.half(), y), bce)


@healthy("targets [N] and outputs [N], the last layer squeezed")
def flat_outputs() -> Report:
    x, y = rows()
    return torchbce.check(mlp().append(nn.Flatten(0)), (x, y[:, 0]), bce)
