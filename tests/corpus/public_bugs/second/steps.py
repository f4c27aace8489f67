"""Training steps and optimizers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import torchbce
from corpus.public_bugs.data import perceptron, table
from torchbce.checks.report import Report

from .seen import thread, unclaimed

LOSS = nn.BCEWithLogitsLoss()
Batch = tuple[Tensor, Tensor]
Step = Callable[[nn.Module, Batch, torch.optim.Optimizer], None]


def _stepped(step: Step, seed: int, model: nn.Module | None = None) -> Report:
    torch.manual_seed(seed)
    model = perceptron() if model is None else model
    return torchbce.check(model, table(64), LOSS, torch.optim.Adam(model.parameters(), lr=0.01), step=step)


@thread(
    "https://github.com/tientrandinh/Revisiting-Reverse-Distillation/issues/12",
    "zero_grad() before each backward(), and a step in every fourth call only.",
    "zero_grad() after the step.",
    ("BCE018",),
)
def cleared_in_each_call(wrong: bool) -> Report:
    calls = 0

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        nonlocal calls
        if wrong:
            optimizer.zero_grad()
        (LOSS(model(batch[0]), batch[1]) / 4).backward()
        calls += 1
        if calls % 4 == 0:
            optimizer.step()
            if not wrong:
                optimizer.zero_grad()

    return _stepped(step, 0)


@unclaimed(
    "https://github.com/karpathy/nanoGPT/issues/206",
    "The losses of eight parts are added up and not divided: the gradient is eight times as long.",
    "Each is divided by eight.",
    ("BCE018", "BCE036"),
)
def parts_not_divided(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, parts: int = 8) -> None:
        optimizer.zero_grad()
        for x, y in zip(batch[0].chunk(parts), batch[1].chunk(parts), strict=True):
            loss = LOSS(model(x), y)
            (loss if wrong else loss / parts).backward()
        optimizer.step()

    return _stepped(step, 1)


@unclaimed(
    "https://github.com/MILVLG/mcan-vqa/issues/26",
    "The step begins with eval(), as evaluation comes first and nobody calls train().",
    "train() after it.",
    ("BCE018", "BCE038"),
)
def trains_in_eval_mode(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        model.eval()
        with torch.no_grad():
            model(batch[0])
        if not wrong:
            model.train()
        optimizer.zero_grad()
        LOSS(model(batch[0]), batch[1]).backward()
        optimizer.step()

    net = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1))
    return _stepped(step, 2, net)


@unclaimed(
    "https://github.com/guopengf/FL-MRCM/issues/10",
    "The step squashes the outputs before a loss of logits, which the given loss does not.",
    "It takes the logits.",
    ("BCE018", "BCE004", "BCE036"),
)
def squashed_in_the_step(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        out = model(batch[0])
        loss = LOSS(torch.sigmoid(out) if wrong else out, batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _stepped(step, 3)


@unclaimed(
    "https://github.com/taesunwhang/UMS-ResSel/issues/3",
    "The gradient is clipped to a length after step().",
    "Before it.",
    ("BCE018", "BCE037"),
)
def clip_value_after_the_step(wrong: bool) -> Report:
    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        loss = LOSS(model(batch[0]), batch[1])
        loss.backward()
        if not wrong:
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        optimizer.step()
        if wrong:
            nn.utils.clip_grad_value_(model.parameters(), 0.01)
        optimizer.zero_grad()

    return _stepped(step, 4)


@unclaimed(
    "https://github.com/facebookresearch/ParlAI/pull/1812",
    "After a restart the rate is multiplied by 1e-4 again: 1e-10.",
    "1e-3.",
    ("BCE017", "BCE039"),
)
def rate_multiplied_again(wrong: bool) -> Report:
    torch.manual_seed(5)
    model = perceptron()
    return torchbce.check(model, table(64), LOSS, torch.optim.Adam(model.parameters(), lr=1e-10 if wrong else 1e-3))


@unclaimed(
    "https://github.com/mit-ll-responsible-ai/responsible-ai-toolbox/pull/8",
    "The solver ascends: maximize=True.",
    "It descends.",
    ("BCE017", "BCE007", "BCE039"),
)
def optimizer_maximizes(wrong: bool) -> Report:
    torch.manual_seed(6)
    model = perceptron()
    return torchbce.check(
        model, table(64), LOSS, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, maximize=wrong)
    )


@unclaimed(
    "https://github.com/Joker316701882/Additive-Margin-Softmax/issues/16",
    "Whatever the rate, weight decay of 10 pulls the last layers to zero.",
    "1e-4.",
    ("BCE017", "BCE039"),
)
def decay_pulls_to_zero(wrong: bool) -> Report:
    torch.manual_seed(7)
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=10.0 if wrong else 1e-4)
    return torchbce.check(model, table(64), LOSS, optimizer)


@unclaimed(
    "https://github.com/cvignac/SMP/issues/3",
    "Adam with a rate of 10.",
    "0.001.",
    ("BCE017", "BCE034", "BCE039"),
)
def adam_with_a_rate_of_ten(wrong: bool) -> Report:
    torch.manual_seed(8)
    model = perceptron()
    return torchbce.check(model, table(64), LOSS, torch.optim.Adam(model.parameters(), lr=10.0 if wrong else 0.001))


@thread(
    "https://github.com/tenstorrent/tt-blacksmith/pull/711",
    "The trainer's step has a flag for zero_grad that is never set.",
    "It is set.",
    ("BCE018",),
)
def flag_never_set(wrong: bool) -> Report:
    def advance(optimizer: torch.optim.Optimizer, zero_grad: bool = False) -> None:
        optimizer.step()
        if zero_grad:
            optimizer.zero_grad(set_to_none=True)

    def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
        loss = LOSS(model(batch[0]), batch[1])
        loss.backward()
        advance(optimizer, zero_grad=not wrong)
        return loss.item()

    return _stepped(step, 9)
