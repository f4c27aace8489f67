"""Training steps, each of which does all that it should."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from torchbce import Report

from .common import mlp, rows
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


@healthy("gradients of four parts of the batch are accumulated, each divided by four")
def accumulates_over_parts() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        for x, y in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
            (bce(model(x), y) / 4).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("the optimizer steps in every second call, and clears its gradients then")
def accumulates_over_calls() -> Report:
    calls = 0

    def step(model, batch, optimizer):
        nonlocal calls
        calls += 1
        (bce(model(batch[0]), batch[1]) / 2).backward()
        if calls % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("gradients are cleared at the end of a step")
def clears_at_the_end() -> Report:
    def step(model, batch, optimizer):
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()
        optimizer.zero_grad()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.1), step=step)


@healthy("gradients are cleared by model.zero_grad(set_to_none=False)")
def clears_to_zero() -> Report:
    def step(model, batch, optimizer):
        model.zero_grad(set_to_none=False)
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters()), step=step)


@healthy("gradients are clipped to a norm of 0.01, so that they are always equally long")
def clips_by_norm() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=1.0), step=step)


@healthy("LBFGS with a closure")
def lbfgs() -> Report:
    def step(model, batch, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = bce(model(batch[0]), batch[1])
            loss.backward()
            return loss

        return optimizer.step(closure).item()

    model = nn.Linear(8, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    return torchbce.check(model, rows(), bce, optimizer, step=step)


@healthy("an Adam step by a closure")
def adam_by_closure() -> Report:
    def step(model, batch, optimizer):
        def closure():
            optimizer.zero_grad(set_to_none=True)
            loss = bce(model(batch[0]), batch[1])
            loss.backward()
            return loss

        optimizer.step(closure)

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("a GradScaler that is switched off, as on a machine without a GPU")
def grad_scaler_disabled() -> Report:
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=False):
            loss = bce(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters()), step=step)


@healthy("autocast to bfloat16 around the forward pass")
def autocast_in_step() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = model(batch[0])
        bce(out.float(), batch[1]).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters()), step=step)


@healthy("a moving average of the weights is updated after each step")
def moving_average() -> Report:
    model = mlp()
    average = copy.deepcopy(model).requires_grad_(False)

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.01)

    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("sharpness-aware: a step up, the gradient there, back, and a step down")
def sharpness_aware() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        bce(model(x), y).backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm() + 1e-12
            ups = [0.05 * p.grad / norm for p in model.parameters()]
            for p, up in zip(model.parameters(), ups, strict=True):
                p.add_(up)
        optimizer.zero_grad()
        bce(model(x), y).backward()
        with torch.no_grad():
            for p, up in zip(model.parameters(), ups, strict=True):
                p.sub_(up)
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), step=step)


@healthy("adversarial training: the step adds a perturbation along the input's gradient")
def adversarial_training() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(bce(model(x), y), x)
        optimizer.zero_grad()
        bce(model((x + 0.1 * slope.sign()).detach()), y).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("mixup and input noise are drawn anew in each step")
def mixup_in_step() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        model.train()
        share = torch.distributions.Beta(0.4, 0.4).sample()
        order = torch.randperm(len(x))
        out = model(share * x + (1 - share) * x[order] + 0.1 * torch.randn_like(x))
        loss = share * bce(out, y) + (1 - share) * bce(out, y[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("only the hardest quarter of the items is used")
def hardest_items() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        each = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none").flatten()
        each.topk(len(each) // 4).values.mean().backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("the gradient is taken by torch.autograd.grad and written to .grad")
def writes_gradients() -> Report:
    def step(model, batch, optimizer):
        parameters = list(model.parameters())
        slopes = torch.autograd.grad(bce(model(batch[0]), batch[1]), parameters)
        for p, slope in zip(parameters, slopes, strict=True):
            p.grad = slope
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("a step over a dict batch that moves it to the device first")
def moves_dict_to_device() -> Report:
    class TakesX(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x)

    def step(model, batch, optimizer):
        batch = {key: value.to("cpu", non_blocking=True) for key, value in batch.items()}
        targets = batch.pop("target")
        optimizer.zero_grad()
        bce(model(**batch), targets).backward()
        optimizer.step()

    x, y = rows()
    model = TakesX()
    return torchbce.check(model, {"x": x, "target": y}, bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("two dropout passes in one step, with a penalty on their difference")
def two_dropout_passes() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        first, second = model(x), model(x)
        loss = (bce(first, y) + bce(second, y)) / 2 + 0.1 * (first - second).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1))
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("the gradient's penalty is differentiated a second time")
def gradient_penalty() -> Report:
    def step(model, batch, optimizer):
        x = batch[0].clone().requires_grad_()
        out = model(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        optimizer.zero_grad()
        (bce(out, batch[1]) + 0.1 * slope.square().sum(1).mean()).backward()
        optimizer.step()

    model = nn.Sequential(nn.Linear(8, 16), nn.Softplus(), nn.Linear(16, 1))
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)
