"""Synthetic data of the kinds that the threads are about."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def table(items: int = 48, features: int = 10, *, scale: float = 2.0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Standardised features [N, F], and targets [N, 1] that are drawn from a logistic model of them."""
    x = torch.randn(items, features)
    weights = torch.linspace(-1.0, 1.0, features)
    logits = scale * (x @ weights) / weights.norm() + shift
    return x, torch.bernoulli(torch.sigmoid(logits))[:, None]


def tags(items: int = 48, features: int = 10, labels: int = 6, *, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same with several labels: targets [N, L]."""
    x = torch.randn(items, features)
    weights = torch.randn(features, labels, generator=torch.Generator().manual_seed(7))
    return x, torch.bernoulli(torch.sigmoid(2 * x @ weights / features**0.5 + shift))


def pictures(items: int = 32, size: int = 12) -> tuple[Tensor, Tensor]:
    """Pictures [N, 3, S, S] of which about half have a bright square; targets [N, 1]."""
    x, y = 0.5 * torch.randn(items, 3, size, size), torch.bernoulli(torch.full((items, 1), 0.5))
    for i in range(items):
        if y[i]:
            top, left = torch.randint(0, size - 4, (2,)).tolist()
            x[i, :, top : top + 4, left : left + 4] += 1.5
    return x, y


def masks(items: int = 16, size: int = 12) -> tuple[Tensor, Tensor]:
    """Pictures [N, 3, S, S] with a bright rectangle each, and its mask [N, 1, S, S]."""
    x, y = 0.3 * torch.randn(items, 3, size, size), torch.zeros(items, 1, size, size)
    for i in range(items):
        top, left = torch.randint(0, size - 5, (2,)).tolist()
        height, width = torch.randint(3, 6, (2,)).tolist()
        y[i, :, top : top + height, left : left + width] = 1
    return x + 1.5 * y, y


def series(items: int = 32, steps: int = 12, features: int = 6) -> tuple[Tensor, Tensor]:
    """Sequences [N, T, F]; the target [N, 1] is the sign of the first feature's sum."""
    x = torch.randn(items, steps, features)
    return x, (x[:, :, :1].sum(1) > 0).float()


def perceptron(features: int = 10, outputs: int = 1, *more: nn.Module) -> nn.Sequential:
    """A small network for tables."""
    return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, outputs), *more)


def segmenter(*more: nn.Module) -> nn.Sequential:
    """A small convolutional network with one output per pixel."""
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1), *more)


def classifier(outputs: int = 1, *more: nn.Module) -> nn.Sequential:
    """A small convolutional network with one row of outputs per picture."""
    body = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(3), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(144, outputs), *more)


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss_func: Callable[[Tensor, Tensor], Tensor] = F.binary_cross_entropy_with_logits,
    *,
    steps: int = 200,
    rate: float = 0.05,
) -> nn.Module:
    """Train on the whole data, and switch to evaluation."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_func(model(x), y).backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


class Epochs:
    """Train in batches and note, for each epoch, the mean loss and the size of each batch."""

    def __init__(self, items: int = 1000, batch: int = 64, epochs: int = 5, valid: int = 1000) -> None:
        self.batch, self.items, self.means, self.valid = batch, items, [], []
        x, y = table(items)
        x_valid, y_valid = table(valid)
        model, loss_func = perceptron(), nn.BCEWithLogitsLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for _ in range(epochs):
            means = []
            for rows in torch.randperm(items).split(batch):
                optimizer.zero_grad()
                loss = loss_func(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                means.append(loss.item())
            self.means.append(means)
            pairs = zip(x_valid.split(batch), y_valid.split(batch), strict=True)
            with torch.no_grad():
                parts = [(loss_func(model(a), b), len(a)) for a, b in pairs]
            self.valid.append([loss.item() for loss, _ in parts])
        self.counts = [len(rows) for rows in torch.arange(items).split(batch)]
        self.valid_counts = [count for _, count in parts]

    def mean(self, means: list[float], counts: list[int]) -> float:
        """The mean over items."""
        return sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)

    def train_means(self) -> list[float]:
        """The mean over items of each epoch."""
        return [self.mean(means, self.counts) for means in self.means]

    def valid_means(self) -> list[float]:
        """The same for validation."""
        return [self.mean(means, self.valid_counts) for means in self.valid]
