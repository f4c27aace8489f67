"""Small data with a signal in it, and the plainest network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rows(n: int = 64, features: int = 8, *, rate: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of features [n, features] and targets [n, 1]; the share of ones is `rate`, and one half of it is noise."""
    torch.manual_seed(seed)
    x = torch.randn(n, features)
    score = x @ torch.randn(features) / features**0.5 + 0.5 * torch.randn(n)
    positives = max(1, round(rate * n))
    y = torch.zeros(n).index_fill(0, score.topk(positives).indices, 1.0)
    return x, y[:, None]


def images(n: int = 32, size: int = 16, channels: int = 1, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise [n, channels, size, size], half of it with a bright square somewhere; targets [n, 1]."""
    torch.manual_seed(seed)
    x = 0.5 * torch.randn(n, channels, size, size)
    y = (torch.arange(n) % 2).float()
    for i in range(1, n, 2):
        top, left = torch.randint(0, size - 5, (2,)).tolist()
        x[i, :, top : top + 5, left : left + 5] += 2.0
    return x, y[:, None]


def blobs(n: int = 12, size: int = 16, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures [n, 1, size, size] and the masks, of the same shape, of the rectangle in each."""
    torch.manual_seed(seed)
    mask = torch.zeros(n, 1, size, size)
    for i in range(n):
        top, left = torch.randint(0, size - 6, (2,)).tolist()
        height, width = torch.randint(3, 7, (2,)).tolist()
        mask[i, :, top : top + height, left : left + width] = 1.0
    return mask + 0.4 * torch.randn_like(mask), mask


def sentences(n: int = 64, length: int = 10, vocabulary: int = 50, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [n, length] padded with 0, how many are real, and whether token 7 is among them, [n, 1]."""
    torch.manual_seed(seed)
    tokens = torch.randint(8, vocabulary, (n, length))
    lengths = torch.randint(3, length + 1, (n,))
    lengths[0] = length
    tokens[torch.arange(n) % 2 == 1, 1] = 7
    tokens = tokens.masked_fill(torch.arange(length) >= lengths[:, None], 0)
    return tokens, lengths, (tokens == 7).any(1, keepdim=True).float()


def mlp(features: int = 8, hidden: int = 16, outputs: int = 1) -> nn.Sequential:
    """A network with one hidden layer that gives logits."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
