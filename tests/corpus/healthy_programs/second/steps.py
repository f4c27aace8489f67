"""Training steps and optimizers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import mlp, rows
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


@healthy(
    "the loss of each of four unrolled steps has its own backward pass, and the graph is kept",
    "https://github.com/Paper99/SRFBN_CVPR19/issues/4",
)
def four_backward_passes() -> Report:
    class Unrolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.step, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 1)

        def forward(self, x):
            h, outs = torch.tanh(self.inner(x)), []
            for _ in range(4):
                h = h + torch.tanh(self.step(h))
                outs.append(self.head(h))
            return outs

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        outs = model(batch[0])
        for i, out in enumerate(outs):
            (bce(out, batch[1]) / 4).backward(retain_graph=i < 3)
        optimizer.step()

    torch.manual_seed(0)
    model = Unrolled()
    return torchbce.check(
        model, rows(), lambda outs, t: sum(bce(o, t) for o in outs) / 4, torch.optim.Adam(model.parameters()), step=step
    )


@healthy(
    "the made rows are detached and need a gradient again, for a penalty",
    "https://github.com/NVlabs/SPADE/issues/130",
)
def penalty_on_detached_rows() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        made = x.detach()
        made.requires_grad_()
        out = model(made)
        (slope,) = torch.autograd.grad(out.sum(), made, create_graph=True)
        loss = bce(out, y) + 0.1 * slope.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 1))
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters(), betas=(0.0, 0.9)), step=step)


@healthy(
    "half of the sum of both kinds' losses",
    "https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix/issues/916",
)
def half_of_both_kinds() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        real, fake = model(x[y[:, 0] == 1]), model(x[y[:, 0] == 0])
        loss = (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) * 0.5
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    torch.manual_seed(2)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters(), 2e-4, (0.5, 0.999)), step=step)


@healthy(
    "a gradient is scaled by 1024 and back by hand",
    "https://github.com/suvojit-0x55aa/mixed-precision-pytorch/issues/1",
)
def scaled_by_hand() -> Report:
    def step(model, batch, optimizer, scale=1024.0):
        optimizer.zero_grad()
        (bce(model(batch[0]), batch[1]) * scale).backward()
        for p in model.parameters():
            p.grad.div_(scale)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    torch.manual_seed(3)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.05), step=step)


@healthy(
    "a loss that is weighted twice as much in the step as it was given",
    "https://github.com/pytorch/examples/issues/652",
)
def twice_the_loss() -> Report:
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        (2.0 * bce(model(batch[0]), batch[1])).backward()
        optimizer.step()

    torch.manual_seed(4)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("CutMix within the step: the target follows the area", "https://github.com/open-mmlab/mmpretrain/pull/1525")
def cut_and_mix() -> Report:
    def step(model, batch, optimizer):
        x, y = batch
        order = torch.randperm(len(x))
        taken = torch.rand(x.shape[1]) < 0.3
        mixed = torch.where(taken, x[order], x)
        share = taken.float().mean()
        optimizer.zero_grad()
        bce(model(mixed), (1 - share) * y + share * y[order]).backward()
        optimizer.step()

    torch.manual_seed(5)
    model = mlp()
    return torchbce.check(model, rows(256), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy(
    "the step takes another loss, focal, than the one to be looked at", "https://github.com/achaiah/pywick/issues/8"
)
def focal_in_the_step() -> Report:
    def step(model, batch, optimizer):
        each = F.binary_cross_entropy_with_logits(model(batch[0]), batch[1], reduction="none")
        loss = ((1 - torch.exp(-each)) ** 2 * each).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    torch.manual_seed(6)
    model = mlp()
    return torchbce.check(model, rows(), bce, torch.optim.Adam(model.parameters()), step=step)


@healthy("Adagrad with a rate of 0.1 and an embedding", "https://github.com/ChenYang-1996/pytorch_CTR")
def adagrad_of_embeddings() -> Report:
    torch.manual_seed(7)
    model = nn.Sequential(nn.EmbeddingBag(30, 8), nn.Linear(8, 1))
    x = torch.randint(30, (96, 5))
    return torchbce.check(
        model, (x, ((x < 8).sum(1, keepdim=True) > 1).float()), bce, torch.optim.Adagrad(model.parameters(), lr=0.1)
    )


@healthy(
    "SGD with a rate of 1 on a linear model of standardised columns",
    "https://github.com/sarthakm402/controlled_lab/blob/main/core/scripts/train_logistics.py",
)
def rate_of_one_on_a_linear_model() -> Report:
    torch.manual_seed(8)
    model = nn.Linear(8, 1)
    return torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=1.0))


@healthy(
    "a rate of 1e-5 for a fine-tuned network that is good already", "https://github.com/facebookresearch/DPR/issues/196"
)
def fine_tuned_slowly() -> Report:
    x, y = rows(256)
    torch.manual_seed(9)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        bce(model(x), y).backward()
        optimizer.step()
    return torchbce.check(model, (x, y), bce, torch.optim.AdamW(model.parameters(), lr=1e-5))


@healthy("RAdam, decoupled decay of 0.3 on weights only", "https://github.com/notGiGi/EIGN/blob/main/notes.md")
def decay_of_weights_only() -> Report:
    torch.manual_seed(10)
    model = mlp()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.3},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torchbce.check(model, rows(), bce, torch.optim.AdamW(groups, lr=1e-3))
