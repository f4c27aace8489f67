"""Training steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.public_bugs.data import perceptron, table
from torchbce.checks.report import Report

from .seen import thread, unclaimed

LOSS = nn.BCEWithLogitsLoss()
Batch = tuple[Tensor, Tensor]
Step = Callable[[nn.Module, Batch, torch.optim.Optimizer], None]


def _stepped(step: Step, model: nn.Module | None = None, *, seed: int = 0, rate: float = 0.01) -> Report:
    torch.manual_seed(seed)
    model = perceptron() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    return torchbce.check(model, table(64), LOSS, optimizer, step=step)


@thread(
    "https://github.com/zhaoyuzhi/deepfillv2/issues/6",
    "The discriminator's loss is differentiated and its optimizer never steps.",
    "optimizer_d.step() is called.",
    ("BCE018",),
)
def discriminator_without_step(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss = LOSS(model(batch[0]), batch[1])
        loss.backward()
        if not wrong:
            optimizer.step()

    return _stepped(step)


@thread(
    "https://github.com/Hsintien-Ng/idinvert_pytorch-reproduced/issues/1",
    "optimizer_D.zero_grad() is missing before backward().",
    "It is there.",
    ("BCE018",),
)
def discriminator_without_zero_grad(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        x, y = batch
        out = model(x)
        real, fake = out[y[:, 0] == 1], out[y[:, 0] == 0]
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        if not wrong:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _stepped(step, seed=1)


@thread(
    "https://github.com/facebookresearch/nwm/issues/16",
    "zero_grad() is in the branch without mixed precision alone.",
    "It is in both.",
    ("BCE018",),
)
def bfloat_branch_without_zero_grad(wrong: bool) -> Report:
    def step(
        model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, bfloat: bool = True, clip: float = 10.0
    ) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat):
            loss = F.binary_cross_entropy_with_logits(model(batch[0]).float(), batch[1])
        if not bfloat or not wrong:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return _stepped(step, seed=2)


@thread(
    "https://github.com/salesforce/corr_based_prediction/issues/1",
    "zero_grad() is called once, before the loop.",
    "In each step.",
    ("BCE018",),
)
def zero_grad_before_the_loop(wrong: bool) -> Report:
    begun = False

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        nonlocal begun
        if not begun or not wrong:
            optimizer.zero_grad()
            begun = True
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return _stepped(step, seed=3)


@thread(
    "https://github.com/bytetriper/RAE/issues/67",
    "zero_grad() is called for each part of the batch: only the last part counts.",
    "Once for the batch.",
    ("BCE018", "BCE037"),
)
def cleared_for_each_part(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, parts: int = 4) -> None:
        optimizer.zero_grad(set_to_none=True)
        for x, y in zip(batch[0].chunk(parts), batch[1].chunk(parts), strict=True):
            if wrong:
                optimizer.zero_grad(set_to_none=True)
            (LOSS(model(x), y) / parts).backward()
        optimizer.step()

    return _stepped(step, seed=4)


@thread(
    "https://github.com/yuval-alaluf/hyperstyle/issues/40",
    "zero_grad() between the passes and step().",
    "Before them.",
    ("BCE018",),
)
def cleared_before_the_step(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        if not wrong:
            optimizer.zero_grad()
        for _ in range(3):
            loss = LOSS(model(batch[0]), batch[1]) / 3
            loss.backward()
        if wrong:
            optimizer.zero_grad()
        optimizer.step()

    return _stepped(step, seed=5)


@unclaimed(
    "https://github.com/awslabs/graphstorm/issues/1366",
    "Gradients are clipped after the step, when nothing uses them any more.",
    "Before it.",
    ("BCE018", "BCE037"),
)
def clipped_after_the_step(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, longest: float = 0.05) -> None:
        optimizer.zero_grad()
        loss = LOSS(model(batch[0]), batch[1])
        loss.backward()
        if not wrong:
            nn.utils.clip_grad_norm_(model.parameters(), longest)
        optimizer.step()
        if wrong:
            nn.utils.clip_grad_norm_(model.parameters(), longest)

    return _stepped(step, seed=6)


@unclaimed(
    "https://github.com/jongwook/onsets-and-frames/issues/24",
    "clip_grad_norm_ stands below step() and the scheduler's step.",
    "Above.",
    ("BCE018", "BCE037"),
)
def clipped_below_the_scheduler(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        predictions = model(batch[0])
        losses = {"onset": LOSS(predictions, batch[1])}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        if not wrong:
            nn.utils.clip_grad_norm_(model.parameters(), 3)
        optimizer.step()
        if wrong:
            nn.utils.clip_grad_norm_(model.parameters(), 3)

    return _stepped(step, seed=7)


@unclaimed(
    "https://github.com/Cranial-XIX/FAMO/issues/4",
    "Gradients are clipped before backward() has made them.",
    "After backward().",
    ("BCE018", "BCE037"),
)
def clipped_before_backward(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss = LOSS(model(batch[0]), batch[1])
        if wrong:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        loss.backward()
        if not wrong:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return _stepped(step, seed=8)


@unclaimed(
    "https://github.com/huggingface/transformers/issues/1563",
    "The gradient that is being accumulated is clipped after each part.",
    "Once before the step.",
    ("BCE018", "BCE037"),
)
def clipped_after_each_part(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        for x, y in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
            (LOSS(model(x), y) / 4).backward()
            if wrong:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        if not wrong:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        model.zero_grad()

    return _stepped(step, seed=9)


def _dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))


@unclaimed(
    "https://github.com/fartashf/vsepp/issues/4",
    "Validation within the epoch calls eval(), and train() is called at the next epoch only.",
    "train() after each validation.",
    ("BCE018", "BCE038"),
)
def validation_leaves_eval(wrong: bool) -> Report:
    torch.manual_seed(10)
    x_valid, y_valid = table(32)

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            LOSS(model(x_valid), y_valid).item()
        if not wrong:
            model.train()

    return _stepped(step, _dropping(), seed=10)


@unclaimed(
    "https://github.com/tk-rusch/coRNN/issues/1",
    "test() switches the model to evaluation, and the training loop never switches back.",
    "Each step begins with train().",
    ("BCE018", "BCE038"),
)
def test_leaves_eval(wrong: bool) -> Report:
    def test(model: nn.Module, batch: Batch) -> float:
        model.eval()
        with torch.no_grad():
            return LOSS(model(batch[0]), batch[1]).item()

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
        if not wrong:
            model.train()
        out = model(batch[0])
        loss = LOSS(out, batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen = test(model, batch)
        if not wrong:
            model.train()
        return seen

    return _stepped(step, _dropping(), seed=11)


@unclaimed(
    "https://github.com/dropreg/R-Drop/issues/8",
    "The backward pass is in the loss and again in the step, so it runs twice.",
    "Once.",
    ("BCE018", "BCE036", "BCE037"),
)
def backward_twice(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss = LOSS(model(batch[0]), batch[1])
        if wrong:
            loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()

    return _stepped(step, seed=12)


@unclaimed(
    "https://github.com/pytorch/pytorch/issues/3495",
    "The gradients are turned before the step, so that the loss rises.",
    "They are not.",
    ("BCE018", "BCE007", "BCE036"),
)
def gradients_turned(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = (-1 if wrong else 1) * p.grad
        optimizer.step()

    return _stepped(step, seed=13)


@unclaimed(
    "https://github.com/xudonmao/VMT/issues/1",
    "Mixup draws one order for the rows and another one for their targets.",
    "One order for both.",
    ("BCE018", "BCE036"),
)
def mixup_of_two_orders(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        x, y = batch
        order = torch.randperm(len(x))
        other = torch.randperm(len(x)) if wrong else order
        share = torch.rand(len(x), 1)
        optimizer.zero_grad()
        loss = LOSS(model(share * x + (1 - share) * x[order]), share * y + (1 - share) * y[other])
        loss.backward()
        optimizer.step()

    return _stepped(step, seed=14)


@unclaimed(
    "https://github.com/atong01/conditional-flow-matching/issues/172",
    "The step reorders the rows of the batch and leaves the labels as they were.",
    "Labels are reordered too.",
    ("BCE018", "BCE036"),
)
def rows_reordered_without_labels(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        order = torch.randperm(len(batch[0]))
        x, y = batch[0][order], batch[1] if wrong else batch[1][order]
        optimizer.zero_grad()
        LOSS(model(x), y).backward()
        optimizer.step()

    return _stepped(step, seed=15)


@unclaimed(
    "https://github.com/jaehyunnn/ViTPose_pytorch/issues/20",
    "The decay by layers is applied to the learning rates in every step, so they go to zero.",
    "Once at the start.",
    ("BCE017", "BCE018", "BCE039"),
)
def rates_decay_in_each_step(wrong: bool) -> Report:
    torch.manual_seed(16)
    model = perceptron()
    groups = [{"params": [p], "lr": 0.01 * 0.75**i} for i, p in enumerate(reversed(list(model.parameters())))]

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        if wrong:
            for i, group in enumerate(optimizer.param_groups):
                group["lr"] *= 0.75 ** (i + 1)
        optimizer.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return torchbce.check(model, table(64), LOSS, torch.optim.AdamW(groups), step=step)
