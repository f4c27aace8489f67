"""Training steps, optimizers, schedules, logs and predictions."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import mlp, rows
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


def _net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))


@healthy(
    "the step clips to a norm of 1 and steps OneCycleLR",
    "https://github.com/Jujie-YANG/knowledge_tracing/blob/main/log/paper.md",
)
def one_cycle_with_clipping() -> Report:
    model = _net(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.002, total_steps=200)

    def step(model, batch, optimizer):
        model.train()
        optimizer.zero_grad()
        loss = bce(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if scheduler.last_epoch < 190:
            scheduler.step()
        return loss.detach()

    return torchbce.check(model, rows(), bce, optimizer, step=step)


@healthy(
    "an averaged teacher and a consistency loss beside BCE",
    "https://github.com/park-cheol/Semi_Supervised-Mean_Teachers",
)
def mean_teacher() -> Report:
    model = _net(1)
    teacher = copy.deepcopy(model).requires_grad_(False)

    def step(model, batch, optimizer):
        x, y = batch
        out = model(x + 0.05 * torch.randn_like(x))
        with torch.no_grad():
            said = teacher(x + 0.05 * torch.randn_like(x))
        loss = bce(out, y) + 0.1 * F.mse_loss(out.sigmoid(), said.sigmoid())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.mul_(0.99).add_(fast, alpha=0.01)

    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "gradients over two micro-batches of different size, each weighted by its share",
    "https://github.com/huggingface/accelerate/issues/1299",
)
def uneven_micro_batches() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        for a, b in ((x[:40], y[:40]), (x[40:], y[40:])):
            (bce(model(a), b) * len(a) / len(x)).backward()
        optimizer.step()
        optimizer.zero_grad()

    torch.manual_seed(2)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters()), step=step)


@healthy(
    "bfloat16 autocast around model and loss, with a GradScaler that is not enabled",
    "https://github.com/HFtion/Env_set/blob/main/pytorch/autocast.py",
)
def autocast_around_the_loss() -> Report:
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = bce(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    model = _net(3)
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), step=step)


@healthy(
    "the step validates in eval mode now and then, and goes back to training",
    "https://github.com/fartashf/vsepp/issues/4",
)
def validates_and_goes_back() -> Report:
    held, calls = rows(32, seed=5), 0

    def step(model, batch, optimizer):
        nonlocal calls
        model.train()
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()
        calls += 1
        if calls % 2 == 0:
            model.eval()
            with torch.no_grad():
                bce(model(held[0]), held[1])
            model.train()

    model = _net(4)
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "the step shuffles the batch, rows and targets alike, and goes through it in quarters",
    "https://github.com/affaan-m/ECC/pull/3122",
)
def four_steps_in_one() -> Report:
    def step(model, batch, optimizer):
        for part in torch.randperm(len(batch[0])).chunk(4):
            optimizer.zero_grad()
            bce(model(batch[0][part]), batch[1][part]).backward()
            optimizer.step()

    torch.manual_seed(5)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "two optimizers in one step, one for the body and one for the head",
    "https://github.com/wiseodd/controlled-text-generation/issues/15",
)
def optimizer_for_the_head_beside() -> Report:
    torch.manual_seed(6)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

    def step(model, batch, optimizer):
        optimizer.zero_grad(set_to_none=True)
        loss = bce(model(batch[0]), batch[1]) + 1e-4 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()

    return torchbce.check(model, rows(), bce, optimizer, step=step)


@healthy(
    "a loss per row is backpropagated with a gradient of 1 / n",
    "https://github.com/mosaicml/composer/pull/1240",
)
def backward_of_a_vector() -> Report:
    each = nn.BCEWithLogitsLoss(reduction="none")

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        losses = each(model(batch[0]), batch[1])
        losses.backward(torch.full_like(losses, 1 / losses.numel()))
        optimizer.step()

    torch.manual_seed(7)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "the step skips batches with a loss that is not finite",
    "https://github.com/cvignac/SMP/issues/3",
)
def skips_what_is_not_finite() -> Report:
    def step(model, batch, optimizer):
        loss = bce(model(batch[0]), batch[1])
        if not torch.isfinite(loss):
            return
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)
        optimizer.step()

    torch.manual_seed(8)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.NAdam(model.parameters()), step=step)


@healthy(
    "label smoothing and token-wise noise of the targets within the step",
    "https://github.com/soumith/ganhacks/issues/11",
)
def noisy_targets_in_the_step() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        soft = y * 0.9 + 0.05
        flipped = torch.where(torch.rand_like(y) < 0.05, 1 - soft, soft)
        optimizer.zero_grad()
        bce(model(x), flipped).backward()
        optimizer.step()

    torch.manual_seed(9)
    model = mlp()
    return torchbce.check(model, rows(256), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "SGD with momentum 0.9, a rate of 0.1 and weight decay of 5e-4 at a network with batch norm",
    "https://github.com/KaiyangZhou/deep-person-reid/issues/150",
)
def sgd_as_in_papers() -> Report:
    model = _net(10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60], gamma=0.1)
    return torchbce.check(model, rows(), bce, optimizer)


@healthy(
    "AdamW with 2e-5, as for a pretrained encoder",
    "https://github.com/facebookresearch/DPR/issues/196",
)
def adamw_of_a_small_rate() -> Report:
    model = _net(11)
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01))


@healthy(
    "AdamW with a weight decay of 0.1 and betas 0.9 and 0.95",
    "https://github.com/shariqfarooq123/AdaBins/issues/42",
)
def adamw_with_strong_decay() -> Report:
    model = _net(12)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, betas=(0.9, 0.95))
    return torchbce.check(model, rows(), bce, optimizer)


@healthy(
    "Adam with a rate of 0.01 on a small model, and cosine annealing",
    "https://github.com/viGor027/SongsRecommenderSystem/blob/main/prototyping/trainer_module.py",
)
def adam_with_cosine() -> Report:
    torch.manual_seed(13)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    return torchbce.check(model, rows(), bce, optimizer)


@healthy(
    "a warm-up that begins at a thousandth of the rate",
    "https://github.com/Oneflow-Inc/libai/issues/37",
)
def warm_up_from_a_thousandth() -> Report:
    model = _net(14)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.001, total_iters=500)
    return torchbce.check(model, rows(), bce, optimizer)


@healthy(
    "the loss stays at log 2 for six epochs of warm-up and then falls",
    "https://discuss.pytorch.org/t/loss-not-converging-on-a-binary-classification-problem/177433",
)
def long_plateau_then_fall() -> Report:
    train = [0.6932, 0.6931, 0.6931, 0.6930, 0.6929, 0.6924, 0.6871, 0.6512, 0.5803, 0.5211, 0.4902, 0.4703]
    return torchbce.check_log(train, [v + 0.01 for v in train], base_rate=0.5)


@healthy(
    "a saw-toothed loss of small batches that falls on the whole",
    "https://discuss.pytorch.org/t/loss-not-converging-on-a-binary-classification-problem/177433",
)
def saw_teeth() -> Report:
    torch.manual_seed(15)
    noise = 0.04 * torch.randn(40)
    train = [0.69 * 0.97**i + 0.08 + float(noise[i]) for i in range(40)]
    return torchbce.check_log(train)


@healthy(
    "probabilities of a network that was trained with early stopping, on rows it has not seen",
    "https://github.com/catalyst-team/classification/issues/12",
)
def stopped_early() -> Report:
    x, y = rows(1200, seed=3)
    torch.manual_seed(16)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        bce(model(x[:800]), y[:800]).backward()
        optimizer.step()
    return torchbce.check_predictions(model(x[800:]).detach().sigmoid(), y[800:], from_logits=False)
