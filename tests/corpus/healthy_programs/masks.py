"""Labels that are missing, and losses that leave them out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce import Report

from .common import blobs, mlp, rows
from .registry import healthy


def tasks(n: int = 64, outputs: int = 6) -> tuple[Tensor, Tensor]:
    """Rows with several labels each."""
    x, _ = rows(n)
    return x, (x @ torch.randn(8, outputs) + torch.randn(n, outputs) > 0).float()


@healthy("unknown labels are -1; the loss leaves them out")
def minus_one_is_unknown() -> Report:
    x, y = tasks()
    y = y.masked_fill(torch.rand_like(y) < 0.3, -1)

    def loss_func(z, t):
        known = t >= 0
        return F.binary_cross_entropy_with_logits(z[known], t[known])

    return torchbce.check(mlp(8, 32, 6), (x, y), loss_func)


@healthy("unknown labels are -1; the loss multiplies with a mask and divides by its sum")
def minus_one_times_mask() -> Report:
    x, y = tasks(48)
    y = y.masked_fill(torch.rand_like(y) < 0.3, -1)

    def loss_func(z, t):
        mask = (t != -1).float()
        per_item = F.binary_cross_entropy_with_logits(z, t, reduction="none")
        return (per_item * mask).sum() / mask.sum().clamp(min=1)

    model = mlp(8, 32, 6)
    return torchbce.check(model, (x, y), loss_func, torch.optim.Adam(model.parameters()))


@healthy("pixels labelled 255 are left out, as in segmentation benchmarks")
def ignore_index_255() -> Report:
    x, y = blobs()
    y[:, :, :2] = 255
    y[:, :, -2:] = 255

    def loss_func(z, t):
        valid = t != 255
        loss = F.binary_cross_entropy_with_logits(z, torch.where(valid, t, 0.0), reduction="none")
        return loss[valid].mean()

    model = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    return torchbce.check(model, (x, y), loss_func, torch.optim.Adam(model.parameters()))


@healthy("missing assay results are NaN; the loss takes the others")
def nan_is_unknown() -> Report:
    x, y = tasks(96, 12)
    y = y.masked_fill(torch.rand_like(y) < 0.6, torch.nan)

    def loss_func(z, t):
        measured = ~t.isnan()
        return F.binary_cross_entropy_with_logits(z[measured], t[measured])

    return torchbce.check(mlp(8, 32, 12), (x, y), loss_func)


@healthy("missing labels are NaN in the single target of some rows")
def nan_in_single_target() -> Report:
    x, y = rows(128)
    y[::5] = torch.nan

    def loss_func(z, t):
        keep = torch.isfinite(t)
        loss = F.binary_cross_entropy_with_logits(z, torch.nan_to_num(t), reduction="none")
        return torch.where(keep, loss, 0.0).sum() / keep.sum()

    return torchbce.check(mlp(), (x, y), loss_func)


@healthy("targets hold the label and the item's weight side by side, [N, 2]")
def weight_in_targets() -> Report:
    x, y = rows(96)
    targets = torch.cat([y, 0.5 + 4 * torch.rand(96, 1)], 1)

    def loss_func(z, t):
        return F.binary_cross_entropy_with_logits(z[:, 0], t[:, 0], weight=t[:, 1])

    return torchbce.check(mlp(), (x, targets), loss_func)


@healthy("targets are a pair: labels and a mask")
def targets_and_mask() -> Report:
    x, y = tasks()
    mask = torch.rand_like(y) < 0.7

    def loss_func(z, targets):
        labels, known = targets
        loss = F.binary_cross_entropy_with_logits(z, labels, reduction="none")
        return (loss * known).sum() / known.sum()

    return torchbce.check(mlp(8, 32, 6), (x, (y, mask)), loss_func)


@healthy("targets are a dict of two tasks")
def targets_as_dict() -> Report:
    class TwoTasks(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.click, self.buy = nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(16, 1)

        def forward(self, x):
            hidden = torch.tanh(self.body(x))
            return {"click": self.click(hidden), "buy": self.buy(hidden)}

    def loss_func(out, targets):
        return sum(F.binary_cross_entropy_with_logits(out[task], targets[task]) for task in ("click", "buy"))

    x, y = tasks(64, 2)
    return torchbce.check(TwoTasks(), (x, {"click": y[:, :1], "buy": y[:, 1:]}), loss_func)


@healthy("positive and unlabelled data: the non-negative risk estimator")
def positive_unlabelled() -> Report:
    def loss_func(z, t):
        positive, prior = t == 1, 0.4
        wrong = F.softplus(z)
        right_positive = prior * F.softplus(-z)[positive].mean()
        negative = wrong[~positive].mean() - prior * wrong[positive].mean()
        return right_positive + negative.clamp(min=0)

    x, y = rows(128, rate=0.4)
    y = y * (torch.rand_like(y) < 0.6)
    return torchbce.check(mlp(), (x, y), loss_func)


@healthy("bool targets, made float by the loss")
def bool_targets() -> Report:
    x, y = rows()
    loss_func = lambda z, t: F.binary_cross_entropy_with_logits(z, t.float())  # noqa: E731
    return torchbce.check(mlp(), (x, y.bool()), loss_func)


@healthy("integer targets [N], outputs [N, 1] squeezed by the loss")
def integer_targets() -> Report:
    x, y = rows()
    loss_func = lambda z, t: F.binary_cross_entropy_with_logits(z.squeeze(1), t.float())  # noqa: E731
    return torchbce.check(mlp(), (x, y[:, 0].long()), loss_func)
