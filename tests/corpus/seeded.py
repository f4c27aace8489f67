"""Models, predictions and logs with one known bug each, and healthy ones."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import dropout

import torchbce

LOGITS = torchbce.BCEWithLogitsLoss()


def batch(n=64, features=4, share=0.5, seed=0, scale=1.0):
    torch.manual_seed(seed)
    x = torch.randn(n, features)
    cut = x[:, :1].quantile(1 - share)
    y = (x[:, :1] + 0.3 * torch.randn(n, 1) > cut).float()
    return x * scale, y


def net(*last, features=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, 1), *last)


class Wrapped(nn.Module):
    def __init__(self, change, inner=None):
        super().__init__()
        self.inner = inner or net()
        self.change = change

    def forward(self, x):
        return self.change(self.inner, x)


def unused():
    model = Wrapped(lambda inner, x: inner(x))
    model.spare = nn.Linear(4, 4)
    return model


def dead():
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    nn.init.constant_(model[0].bias, -100.0)
    return model


def large_head():
    model = net()
    model[2].weight.data *= 60
    return model


X, Y = batch()
BUGS = {
    "targets -1, 1": (net(), (X, 2 * Y - 1), LOGITS, "BCE001"),
    "targets 0, 255": (net(), (X, 255 * Y), LOGITS, "BCE001"),
    "targets 1, 2": (net(), (X, 1 + Y), LOGITS, "BCE001"),
    "NaN in the inputs": (net(), (torch.where(X > 1.5, torch.nan, X), Y), LOGITS, "BCE002"),
    "NaN from the model": (net(), (X, Y), lambda z, y: bce(z, y) * torch.nan, "BCE002"),
    "N x N": (
        Wrapped(lambda inner, x: inner(x).squeeze(1)),
        (X, Y),
        lambda z, y: nn.functional.softplus(z.reshape(-1, 1) * (1 - 2 * y.reshape(1, -1))).mean(),
        "BCE003",
    ),
    "sigmoid and logits loss": (net(nn.Sigmoid()), (X, Y), LOGITS, "BCE004"),
    "sigmoid behind a view": (Wrapped(lambda inner, x: inner(x).sigmoid().view(-1, 1)), (X, Y), LOGITS, "BCE004"),
    "log-sigmoid": (net(nn.LogSigmoid()), (X, Y), LOGITS, "BCE004"),
    "softmax over one output": (net(nn.Softmax(1)), (X, Y), LOGITS, "BCE004"),
    "sigmoid behind torch.compile": (torch.compile(net(nn.Sigmoid()), backend="aot_eager"), (X, Y), LOGITS, "BCE004"),
    "relu at the end": (net(nn.ReLU()), (X, Y), LOGITS, "BCE004"),
    "tanh at the end": (net(nn.Tanh()), (X, Y), LOGITS, "BCE004"),
    "no sigmoid": (net(), (X, Y), torchbce.BCELoss(), "BCE005"),
    "turned targets": (net(), (X, Y), lambda z, y: bce(z, 1 - y), "BCE007"),
    "wrong sign": (net(), (X, Y), lambda z, y: -bce(z, y), "BCE007"),
    "pos_weight per item": (
        Wrapped(lambda inner, x: inner(x).squeeze(1)),
        (X, Y[:, 0]),
        torchbce.BCEWithLogitsLoss(pos_weight=torch.ones(64)),
        "BCE009",
    ),
    "inputs 0 to 255": (large_head(), (X * 100, Y), LOGITS, "BCE011"),
    "large head": (large_head(), (X, Y), LOGITS, "BCE011"),
    "input ignored": (Wrapped(lambda inner, x: inner(0 * x)), (X, Y), LOGITS, "BCE015"),
    "dead relu": (dead(), (X, Y), LOGITS, "BCE015"),
    "detached": (Wrapped(lambda inner, x: inner(x).detach().requires_grad_()), (X, Y), LOGITS, "BCE016"),
    "frozen": (net().requires_grad_(False), (X, Y), LOGITS, "BCE016"),
    "unused layer": (unused(), (X, Y), LOGITS, "BCE016"),
    "dropout in evaluation": (Wrapped(lambda inner, x: dropout(inner(x), 0.5)), (X, Y), LOGITS, "BCE019"),
    "statistics of the batch": (Wrapped(lambda inner, x: inner(x - x.mean(0))), (X, Y), LOGITS, "BCE019"),
}


def ordered(*order, every=1):
    """A training step that does these in this order; the optimizer moves every so many batches."""
    calls = 0

    def step(model, data, optimizer):
        nonlocal calls
        calls += 1
        for action in order:
            if action == "backward":
                LOGITS(model(data[0]), data[1]).backward()
            elif calls % every == 0:
                {"zero": optimizer.zero_grad, "step": optimizer.step}[action]()

    return step


STEP_BUGS = {
    "no zero_grad": ordered("backward", "step"),
    "no zero_grad, accumulating": ordered("backward", "step", every=4),
    "no step": ordered("zero", "backward"),
    "zero_grad after backward": ordered("backward", "zero", "step"),
    "step before backward": ordered("zero", "step", "backward"),
    "one batch late": ordered("step", "zero", "backward"),
}
STEPS = {
    "zero_grad first": ordered("zero", "backward", "step"),
    "zero_grad last": ordered("backward", "step", "zero"),
    "accumulating": ordered("backward", "step", "zero", every=4),
}

KINDS = ("linear", "mlp", "deep", "norm", "dropout", "layernorm")
LOSSES = ("logits", "probabilities", "pos_weight", "smoothed")


def healthy(kind, loss, share, *, width=32, n=256, seed=0, dtype=torch.float32):
    """(model, batch, loss_func, optimizer)"""
    torch.manual_seed(seed)
    layers = {
        "linear": [nn.Linear(6, 1)],
        "mlp": [nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 1)],
        "deep": [nn.Linear(6, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)],
        "norm": [nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1)],
        "dropout": [nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 1)],
        "layernorm": [nn.LayerNorm(6), nn.Linear(6, width), nn.SiLU(), nn.Linear(width, 1)],
    }[kind]
    last = [nn.Sigmoid()] if loss == "probabilities" else []
    model = nn.Sequential(*layers, *last).to(dtype)
    loss_func = {
        "logits": LOGITS,
        "probabilities": torchbce.BCELoss(),
        "pos_weight": torchbce.BCEWithLogitsLoss(pos_weight=3.0),
        "smoothed": lambda z, y: bce(z, 0.9 * y + 0.05),
    }[loss]
    optimizers = (torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop)
    optimizer = optimizers[seed % 3](model.parameters(), lr=0.01)
    x, y = batch(n, 6, share, seed)
    return model, (x.to(dtype), y.to(dtype)), loss_func, optimizer


def predictions(n=5000, slope=1.0, shift=0.0, mean=-1.0, scale=1.5, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(mean, scale, n)
    return z, (rng.random(n) < 1 / (1 + np.exp(-(slope * z + shift)))).astype(float)


PREDICTION_BUGS = [
    (predictions()[0], 2 * predictions()[1] - 1, True, "BCE001"),
    (predictions()[0], 255 * predictions()[1], True, "BCE001"),
    (predictions()[0], 1 + predictions()[1], True, "BCE001"),
    (predictions()[0], np.arange(5000) % 4, True, "BCE001"),
    (np.append(predictions()[0][1:], math.nan), predictions()[1], True, "BCE002"),
    (predictions()[0], np.append(predictions()[1][1:], math.nan), True, "BCE002"),
    (np.where(np.arange(5000) % 9 == 0, 1.0, 0.3), np.zeros(5000), False, "BCE010"),
    (predictions()[0], predictions(seed=1)[1], True, "BCE027"),
    (3 * predictions()[0], predictions()[1], True, "BCE028"),
    (predictions()[0] + math.log(5), predictions()[1], True, "BCE028"),
    (predictions()[0], predictions()[1], False, "BCE029"),
    (1 / (1 + np.exp(-predictions()[0])), predictions()[1], True, "BCE029"),
    (1 / (1 + np.exp(-1 / (1 + np.exp(-predictions()[0])))), predictions()[1], False, "BCE029"),
    (-predictions(mean=0)[0], predictions(mean=0)[1], True, "BCE029"),
    (np.zeros((5000, 2)), predictions()[1], True, "BCE029"),
    (20 * (predictions()[1] - 0.5), predictions()[1], True, "BCE030"),
]

LOG_BUGS = [
    ([0.6, -0.2], {}, "BCE021"),
    ([0.6, math.nan], {}, "BCE021"),
    ([170.0, 150.0], {"from_logits": False}, "BCE021"),
    ([0.9, 0.693, 0.6931, 0.6932], {}, "BCE020"),
    ([0.5, 0.3252, 0.325, 0.3251], {"base_rate": 0.1}, "BCE020"),
    ([0.6, 0.5, 0.4], {"valid": [0.6 * 1.4427, 0.5 * 1.4427, 0.4 * 1.4427]}, "BCE023"),
    ([0.6, 0.5, 0.4], {"valid": [19.2, 16.0, 12.8], "batch_size": 32}, "BCE023"),
    ([1.0], {"batch_losses": [[0.5, 1.5]], "batch_counts": [100, 1]}, "BCE022"),
    ([0.5], {"items_seen": 1026, "dataset_size": 1025}, "BCE024"),
    ([0.6, 0.4, 0.3, 0.2, 0.1, 0.05], {"valid": [0.6, 0.5, 0.45, 0.5, 0.6, 0.8]}, "BCE026"),
]
