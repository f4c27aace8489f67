"""Training steps, optimizers, and the inputs that go into them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import torchbce
from torchbce.checks.report import Report

from .data import classifier, perceptron, pictures, series, table, tags
from .registry import bug, mended

NO_STEP = "https://github.com/microsoft/nni/pull/3339"
NO_ZERO = "https://github.com/yastrebksv/TennisCourtDetector/issues/7"
ACCUMULATE = "https://github.com/ZiqiaoPeng/DualTalk/issues/9"
OTHER_NET = "https://github.com/pytorch/pytorch/issues/54765"
GROUPS = "https://github.com/zjunlp/HVPNeT/issues/5"
WARM_UP = "https://github.com/Project-MONAI/tutorials/issues/630"
ZERO_VARIANCE = "https://github.com/autogluon/autogluon/issues/4508"
NO_FILL = "https://github.com/pytorch-tabular/pytorch_tabular/issues/173"

LOSS = nn.BCEWithLogitsLoss()
Step = Callable[[nn.Module, tuple[Tensor, Tensor], torch.optim.Optimizer], None]


def _stepped(step: Step) -> Report:
    torch.manual_seed(0)
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return torchbce.check(model, pictures(), LOSS, optimizer, step=step)


def _right(model: nn.Module, batch: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    LOSS(model(batch[0]), batch[1]).backward()
    optimizer.step()


def _no_step(model: nn.Module, batch: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    LOSS(model(batch[0]), batch[1]).backward()


@bug(NO_STEP, "The trainer computes the gradient and never calls optimizer.step().", ("BCE018",))
def trainer_without_step() -> Report:
    return _stepped(_no_step)


@mended(NO_STEP, "optimizer.step() is called.")
def trainer_without_step_mended() -> Report:
    return _stepped(_right)


def _no_zero(model: nn.Module, batch: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> None:
    LOSS(model(batch[0]), batch[1]).backward()
    optimizer.step()


@bug(NO_ZERO, "The trainer never calls optimizer.zero_grad().", ("BCE018",))
def trainer_without_zero_grad() -> Report:
    return _stepped(_no_zero)


@mended(NO_ZERO, "optimizer.zero_grad() is called in each step.")
def trainer_without_zero_grad_mended() -> Report:
    return _stepped(_right)


def _accumulating(right: bool, every: int = 4) -> Step:
    calls = 0

    def step(model: nn.Module, batch: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> None:
        nonlocal calls
        if not right or calls % every == 0:
            optimizer.zero_grad()
        loss = LOSS(model(batch[0]), batch[1])
        (loss / every if right else loss).backward()
        if (calls + right) % every == 0:
            optimizer.step()
            if not right:
                optimizer.zero_grad()
        calls += 1

    return step


@bug(ACCUMULATE, "zero_grad() before each backward() throws away the gradients to be accumulated.", ("BCE018",))
def accumulation_cleared_each_time() -> Report:
    return _stepped(_accumulating(right=False))


@mended(ACCUMULATE, "zero_grad() only after a step, and the loss divided by the number of parts.")
def accumulation_cleared_each_time_mended() -> Report:
    return _stepped(_accumulating(right=True))


def _other_net(again: bool) -> Report:
    torch.manual_seed(1)
    net = perceptron()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    net = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 1))
    if again:
        optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    return torchbce.check(net, table(), LOSS, optimizer)


@bug(OTHER_NET, "The network is replaced after the optimizer was made.", ("BCE017",))
def optimizer_of_another_network() -> Report:
    return _other_net(again=False)


@mended(OTHER_NET, "The optimizer is made again.")
def optimizer_of_another_network_mended() -> Report:
    return _other_net(again=True)


class _Entities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bert, self.fc = nn.GRU(6, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.bert(x)[1][0])


def _groups(both: bool) -> Report:
    torch.manual_seed(2)
    model = _Entities()
    groups = []
    for name, rate in (("bert", 0.001), ("fc", 0.05)):
        params = {"params": [p for n, p in model.named_parameters() if name in n], "lr": rate}
        if both or name == "bert":
            groups.append(params)
    return torchbce.check(model, series(), LOSS, torch.optim.AdamW(groups))


@bug(GROUPS, "The group of the last layer is made, but not appended.", ("BCE017",))
def group_not_appended() -> Report:
    return _groups(both=False)


@mended(GROUPS, "It is appended.")
def group_not_appended_mended() -> Report:
    return _groups(both=True)


def _warm_up(first: int) -> Report:
    torch.manual_seed(3)
    model = perceptron(10, 14)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: min(1.0, (epoch + first) / 3))
    return torchbce.check(model, tags(labels=14), LOSS, optimizer)


@bug(WARM_UP, "The warm-up by epochs starts at a learning rate of 0, for a whole epoch.", ("BCE017",))
def warm_up_from_zero() -> Report:
    return _warm_up(0)


@mended(WARM_UP, "The warm-up starts at one step.")
def warm_up_from_zero_mended() -> Report:
    return _warm_up(1)


def _standardised(smallest: float) -> Report:
    torch.manual_seed(4)
    x, y = table()
    x[:, 3] = 7.0
    x = (x - x.mean(0)) / x.std(0).clamp(min=smallest)
    return torchbce.check(perceptron(), (x, y), LOSS)


@bug(ZERO_VARIANCE, "A constant column is divided by its standard deviation of 0.", ("BCE002",))
def column_without_variance() -> Report:
    return _standardised(0.0)


@mended(ZERO_VARIANCE, "The standard deviation is at least a small number.")
def column_without_variance_mended() -> Report:
    return _standardised(1e-6)


def _filled(fill: bool) -> Report:
    torch.manual_seed(5)
    x, y = table()
    holes = torch.rand_like(x) < 0.05
    return torchbce.check(perceptron(), (x.masked_fill(holes, 0.0 if fill else float("nan")), y), LOSS)


@bug(NO_FILL, "Missing numbers are passed on as NaN.", ("BCE002",))
def missing_numbers_not_filled() -> Report:
    return _filled(fill=False)


@mended(NO_FILL, "They are filled with the mean.")
def missing_numbers_not_filled_mended() -> Report:
    return _filled(fill=True)
