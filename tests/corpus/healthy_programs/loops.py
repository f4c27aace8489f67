"""Training steps and optimizers as repositories have them: each does all that it should, in its own way."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from torchbce import Report

from .common import images, mlp, rows
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


def dropped(features: int = 8) -> nn.Sequential:
    """A network that is another one in evaluation."""
    return nn.Sequential(nn.Linear(features, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))


def plain(model, batch, optimizer):
    """The usual step."""
    optimizer.zero_grad()
    bce(model(batch[0]), batch[1]).backward()
    optimizer.step()


@healthy("an enabled GradScaler with float16-like scaling, unscaled before clipping, as in the AMP examples")
def scaler_with_clipping() -> Report:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step(model, batch, optimizer):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = bce(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters()), step=step)


@healthy("a scaler, and gradients that are accumulated over four calls")
def scaler_with_accumulation() -> Report:
    scaler, calls = torch.amp.GradScaler("cpu"), itertools.count(1)

    def step(model, batch, optimizer):
        scaler.scale(bce(model(batch[0]), batch[1]) / 4).backward()
        if next(calls) % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("the batch is evaluated after each step, and the model goes back to training")
def evaluates_and_goes_back() -> Report:
    def step(model, batch, optimizer):
        plain(model, batch, optimizer)
        model.eval()
        with torch.inference_mode():
            model(batch[0]).sigmoid().round()
        model.train()

    model = dropped()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("pseudo-labels are made in evaluation, and learnt in training")
def pseudo_labels() -> Report:
    def step(model, batch, optimizer):
        model.eval()
        with torch.no_grad():
            sure = model(batch[0]).sigmoid().round()
        model.train()
        optimizer.zero_grad()
        out = model(batch[0] + 0.1 * torch.randn_like(batch[0]))
        (bce(out, batch[1]) + 0.1 * bce(out, sure)).backward()
        optimizer.step()

    model = dropped()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("batch norm is frozen for fine-tuning, while the rest trains")
def batch_norm_stays_frozen() -> Report:
    def step(model, batch, optimizer):
        model.train()
        model[1].eval()
        plain(model, batch, optimizer)

    model = dropped()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters(), lr=1e-4), step=step)


@healthy("rows and targets are shuffled by one order within the step")
def shuffles_both() -> Report:
    def step(model, batch, optimizer):
        order = torch.randperm(len(batch[0]))
        plain(model, (batch[0][order], batch[1][order]), optimizer)

    model = dropped()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.05), step=step)


@healthy("labels are smoothed in the step, and not in the loss that is given")
def smooths_in_the_step() -> Report:
    def step(model, batch, optimizer):
        plain(model, (batch[0], batch[1] * 0.9 + 0.05), optimizer)

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("a tenth of the labels is flipped at random, against memorizing")
def disturbed_labels() -> Report:
    def step(model, batch, optimizer):
        flips = (torch.rand_like(batch[1]) < 0.1).float()
        plain(model, (batch[0], (batch[1] - flips).abs()), optimizer)

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("positives get five times the weight in the step")
def weights_in_the_step() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        x, y = batch
        F.binary_cross_entropy_with_logits(model(x), y, weight=1 + 4 * y).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(128, rate=0.15), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("the step takes BCELoss of a sigmoid, and the loss that is given takes logits")
def same_loss_of_probabilities() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        nn.BCELoss()(torch.sigmoid(model(batch[0])), batch[1]).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("an attack by the sign of the input's gradient, made by a backward pass that is cleared")
def attacked_by_backward() -> Report:
    def step(model, batch, optimizer):
        x = batch[0].clone().requires_grad_()
        bce(model(x), batch[1]).backward()
        x = (x + 0.05 * x.grad.sign()).detach()
        plain(model, (x, batch[1]), optimizer)

    model = dropped()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.1), step=step)


@healthy("the norm of the gradient is logged by clip_grad_norm_ with an infinite limit, after backward")
def logs_the_norm() -> Report:
    norms = []

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), float("inf"))))
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("two losses of one pass, each with its backward pass")
def two_backward_passes() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        out = model(batch[0])
        bce(out, batch[1]).backward(retain_graph=True)
        (1e-3 * out.square().mean()).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("the same pass backward twice, the first time to measure each layer's gradient, which is cleared")
def measures_and_clears() -> Report:
    def step(model, batch, optimizer):
        loss = bce(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        sizes = [p.grad.norm().item() for p in model.parameters()]
        optimizer.zero_grad()
        (loss if max(sizes) < 100 else 0.1 * loss).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("a discriminator learns before the network does, by its own optimizer and its own clipping")
def another_network_first() -> Report:
    judge = nn.Linear(8, 1)
    of_judge = torch.optim.SGD(judge.parameters(), lr=0.01)

    def step(model, batch, optimizer):
        of_judge.zero_grad()
        bce(judge(batch[0]), batch[1]).backward()
        nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        of_judge.step()
        plain(model, batch, optimizer)

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("a mean teacher: consistency with an average of the weights, whose outputs have no gradient")
def mean_teacher() -> Report:
    model = dropped()
    teacher = copy.deepcopy(model).requires_grad_(False)

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        out = model(batch[0])
        with torch.no_grad():
            wanted = teacher(batch[0]).sigmoid()
        (bce(out, batch[1]) + 0.2 * (out.sigmoid() - wanted).square().mean()).backward()
        optimizer.step()
        for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
            slow.data.mul_(0.99).add_(fast.data, alpha=0.01)

    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


class Trainer:
    """As people write them."""

    def __init__(self):
        self.model, self.loss, self.losses, self.seen = dropped(), bce, [], 0
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 100)

    def step(self, model, batch, optimizer):
        """One batch."""
        model.train()
        optimizer.zero_grad()
        loss = self.loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        self.losses.append(loss.item())
        self.seen += len(batch[0])


@healthy("the step is a method of a trainer, which counts and keeps the losses")
def trainer_with_a_method() -> Report:
    trainer = Trainer()
    return torchbce.check(trainer.model, rows(), bce, trainer.optimizer, step=trainer.step)


@healthy("fine-tuning: a rate of 1e-6 with AdamW")
def very_small_rate() -> Report:
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters(), lr=1e-6), step=plain)


@healthy("plain SGD with a rate of 1e-4, as in many tutorials")
def plain_sgd() -> Report:
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=1e-4), step=plain)


@healthy("SGD with a rate of 2 on a batch-norm network")
def large_rate_with_norm() -> Report:
    model = dropped()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=2.0), step=plain)


@healthy("logistic regression on small numbers, which need a rate of 100")
def large_rate_for_small_numbers() -> Report:
    x, y = rows()
    model = nn.Linear(8, 1)
    return torchbce.check(model, (0.05 * x, y), bce, torch.optim.SGD(model.parameters(), lr=100.0), step=plain)


@healthy("RMSprop with its own default rate of 0.01 on a wide network, which jumps at first")
def rmsprop_jumps_first() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
    return torchbce.check(model, rows(), bce, torch.optim.RMSprop(model.parameters()), step=plain)


@healthy("AdamW with a weight decay of 1, as for grokking")
def weight_decay_of_one() -> Report:
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1.0))


@healthy("the optimizer maximizes, and the step gives it the negative of the loss")
def maximizes_the_negative() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        (-bce(model(batch[0]), batch[1])).backward()
        optimizer.step()

    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters(), maximize=True), step=step)


@healthy("a linear rise of the rate from a billionth of it")
def rate_rises_from_nearly_nothing() -> Report:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-9, total_iters=1000)
    return torchbce.check(model, rows(), bce, optimizer, step=plain)


@healthy("pos_weight is negatives / positives, of one label and of several")
def balanced_pos_weight() -> Report:
    x, y = rows(256, rate=0.08)
    pos_weight = (y == 0).sum() / y.sum()
    return torchbce.check(mlp(), (x, y), nn.BCEWithLogitsLoss(pos_weight=pos_weight))


@healthy("pos_weight below 1 for more precision, with a few more zeros than ones")
def pos_weight_for_precision() -> Report:
    return torchbce.check(mlp(), rows(256, rate=0.4), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(0.5)))


@healthy("pictures of night: dark, and scaled once")
def dark_pictures() -> Report:
    x, y = images()
    x = ((x - x.min()) / (x.max() - x.min()) * 40).round() / 255
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    return torchbce.check(nn.Sequential(model, nn.Linear(8, 1)), (x, y), bce)


@healthy("years and pressures, whose spread is a hundredth of their size, behind batch norm")
def large_offsets() -> Report:
    x, y = rows()
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    return torchbce.check(model, (1013 + 10 * x, y), bce)


@healthy("a frozen first layer of random features, and a head that is trained, as in extreme learning machines")
def random_features() -> Report:
    model = mlp(hidden=64)
    model[0].requires_grad_(False)
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model[2].parameters()), step=plain)


@healthy("adapters between frozen layers, which stand for pretrained ones")
def adapters() -> Report:
    torch.manual_seed(0)
    layers = []
    for width in (8, 32, 32):
        frozen = nn.Linear(width, 32).requires_grad_(False)
        layers += [frozen, nn.ReLU(), nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 32), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(32, 1))
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()))
    return torchbce.check(model, rows(), bce, optimizer, step=plain)
