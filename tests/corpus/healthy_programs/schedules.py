"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
import warnings

import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

import torchbce
from torchbce import Report

from .common import images, mlp, rows
from .registry import healthy


def train_step(model, batch, optimizer):
    """The usual step."""
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    loss.backward()
    optimizer.step()


@healthy("a linear warm-up by LambdaLR starts at a learning rate of exactly 0")
def linear_warmup_from_zero() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer)


@healthy("a linear warm-up from 0, with the scheduler stepped in the training step")
def linear_warmup_in_step() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))

    def step(model, batch, optimizer):
        train_step(model, batch, optimizer)
        scheduler.step()

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Detected call of `lr_scheduler.step", UserWarning
        )  # steps a copy's optimizer
        return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=step)


@healthy("a warm-up from 0 and then a cosine, in one lambda as transformers has it")
def cosine_with_warmup() -> Report:
    batch = rows(seed=1)
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)

    def rate(step: int) -> float:
        if step < 50:
            return step / 50
        return 0.5 * (1 + math.cos(math.pi * (step - 50) / 950))

    lr_scheduler.LambdaLR(optimizer, rate)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("OneCycleLR changes learning rate and momentum")
def one_cycle() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=500)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("cosine annealing with warm restarts has come to its first restart")
def cosine_with_restarts() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10)
    for _ in range(10):
        train_step(model, batch, optimizer)
        scheduler.step()
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("SequentialLR: linear warm-up, then exponential decay")
def sequential_schedule() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    warm = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=20)
    lr_scheduler.SequentialLR(optimizer, [warm, lr_scheduler.ExponentialLR(optimizer, 0.99)], milestones=[20])
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("SGD with Nesterov momentum and weight decay has already a momentum buffer")
def sgd_with_momentum_under_way() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for _ in range(5):
        train_step(model, batch, optimizer)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("AdamW with one group that decays and one, of biases and norms, that does not")
def weight_decay_groups() -> Report:
    batch = rows()
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1))
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95))
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("a lower learning rate for each earlier layer")
def layerwise_learning_rates() -> Report:
    batch = rows()
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    groups = [{"params": layer.parameters(), "lr": 1e-2 * 0.1 ** (2 - i)} for i, layer in enumerate(layers)]
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), torch.optim.Adam(groups), step=train_step)


@healthy("a frozen backbone, and an optimizer that has the new head alone")
def frozen_backbone() -> Report:
    x, y = images(channels=3)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
    backbone.requires_grad_(False)
    model = nn.Sequential(backbone, nn.Linear(128, 1))
    optimizer = torch.optim.Adam(model[1].parameters(), lr=1e-3)
    return torchbce.check(model, (x, y), nn.BCEWithLogitsLoss(), optimizer, step=train_step)


class FrozenFeatures(nn.Module):
    """A backbone that stays in eval mode and is run without gradients."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(32, 1)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True):
        """Keep the backbone's running statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        """Features without a graph, then the head."""
        with torch.no_grad():
            features = self.backbone(x)
        return self.head(features)


@healthy("a frozen backbone that stays in eval mode, run under no_grad")
def frozen_backbone_no_grad() -> Report:
    batch = rows()
    model = FrozenFeatures()
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("the optimizer also has the frozen parameters, which stay without a gradient")
def optimizer_with_frozen_parameters() -> Report:
    batch = rows()
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("RMSprop, centered, with ReduceLROnPlateau")
def rmsprop_on_plateau() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, centered=True, momentum=0.9)
    lr_scheduler.ReduceLROnPlateau(optimizer, patience=3)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("the learning rate is a tensor")
def tensor_learning_rate() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(1e-3), foreach=False)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


class SignOfMomentum(torch.optim.Optimizer):
    """Lion, written out."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        """Move by the sign of the momentum."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                first, second = group["betas"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(average.lerp(p.grad, 1 - first).sign(), alpha=-group["lr"])
                average.lerp_(p.grad, 1 - second)


@healthy("a hand-written optimizer, Lion")
def lion() -> Report:
    batch = rows()
    model = mlp()
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), SignOfMomentum(model.parameters()), step=train_step)


@healthy("Adadelta with a learning rate of 1, since it scales its own steps")
def adadelta() -> Report:
    batch = rows()
    model = mlp()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)


@healthy("an average of the weights is kept in AveragedModel beside the model")
def averaged_weights() -> Report:
    batch = rows()
    model = mlp()
    average = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(model, batch, optimizer):
        train_step(model, batch, optimizer)
        average.update_parameters(model)

    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=step)


@healthy("the weights were trained for 200 steps before they are looked at")
def checked_after_training() -> Report:
    batch = rows(256)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(200):
        train_step(model, batch, optimizer)
    return torchbce.check(model, batch, nn.BCEWithLogitsLoss(), optimizer, step=train_step)
