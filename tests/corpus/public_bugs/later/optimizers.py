"""Optimizers and weights of the two classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.public_bugs.data import classifier, perceptron, pictures, table, tags
from torchbce.checks.report import Report

from .seen import thread, unclaimed

LOSS = nn.BCEWithLogitsLoss()


class _Judges(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mrd, self.mpd = perceptron(), perceptron()

    def forward(self, x: Tensor) -> Tensor:
        return self.mrd(x) + self.mpd(x)


@thread(
    "https://github.com/line/open-universe/issues/5",
    "The optimizer gets the parameters of one discriminator twice, and none of the other.",
    "Those of both.",
    ("BCE017",),
)
def one_discriminator_twice(wrong: bool) -> Report:
    torch.manual_seed(17)
    model = _Judges()
    params = list(model.mrd.parameters()) + list((model.mrd if wrong else model.mpd).parameters())
    return torchbce.check(model, table(), LOSS, torch.optim.AdamW(params, lr=2e-4))


@thread(
    "https://github.com/zhaoyuzhi/deepfillv2/pull/3",
    "The discriminator's optimizer has the generator's parameters.",
    "It has the discriminator's.",
    ("BCE017",),
)
def optimizer_of_the_generator(wrong: bool) -> Report:
    torch.manual_seed(18)
    generator, judge = nn.Sequential(nn.Linear(4, 10), nn.Tanh()), classifier()
    optimizer = torch.optim.Adam((generator if wrong else judge).parameters(), lr=1e-4, betas=(0.5, 0.999))
    return torchbce.check(judge, pictures(), LOSS, optimizer)


@unclaimed(
    "https://github.com/paultsw/nice_pytorch/issues/2",
    "Adam's beta_2 is 0.01.",
    "0.999.",
    ("BCE017", "BCE039"),
)
def adam_forgets_at_once(wrong: bool) -> Report:
    torch.manual_seed(19)
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, betas=(0.9, 0.01 if wrong else 0.999))
    return torchbce.check(model, table(), LOSS, optimizer)


@unclaimed(
    "https://github.com/gurkirt/FPN.pytorch1.0/issues/7",
    "The learning rate is so high that the loss is NaN from the first steps on.",
    "A lower rate.",
    ("BCE017", "BCE034", "BCE039"),
)
def rate_far_too_high(wrong: bool) -> Report:
    torch.manual_seed(20)
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=100.0 if wrong else 0.01, momentum=0.9)
    return torchbce.check(model, pictures(), LOSS, optimizer)


@unclaimed(
    "https://github.com/facebookresearch/maskrcnn-benchmark/issues/295",
    "The learning rate of eight processes on one, with a loss that is a sum: training explodes.",
    "It is lowered.",
    ("BCE017", "BCE034", "BCE039"),
)
def rate_of_a_large_batch(wrong: bool) -> Report:
    torch.manual_seed(21)
    model = perceptron(10, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0 if wrong else 0.001, momentum=0.9)
    return torchbce.check(model, tags(256), nn.BCEWithLogitsLoss(reduction="sum"), optimizer)


@unclaimed(
    "https://discuss.pytorch.org/t/loss-not-converging-on-a-binary-classification-problem/177433",
    "SGD with a learning rate of 0.0001 on sixty items: a thousand epochs do not move the loss.",
    "A rate of 0.1.",
    ("BCE017", "BCE039"),
)
def rate_far_too_low(wrong: bool) -> Report:
    torch.manual_seed(22)
    x, y = table(60, 7)
    model = nn.Sequential(nn.Linear(7, 60), nn.ReLU(), nn.Linear(60, 100), nn.ReLU(), nn.Linear(100, 2))
    for layer in model[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6 if wrong else 0.1)
    return torchbce.check(model, (x, y[:, 0].long()), nn.CrossEntropyLoss(), optimizer)


@unclaimed(
    "https://github.com/offbit/evo-design/issues/3",
    "The learning rate is passed as weight_decay, so SGD has a decay of 3 and its own rate.",
    "lr=.",
    ("BCE017", "BCE039"),
)
def rate_is_the_decay(wrong: bool) -> Report:
    torch.manual_seed(23)
    model, rate = perceptron(), 3.0
    options = {"weight_decay": rate} if wrong else {"lr": rate / 10}
    return torchbce.check(model, table(), LOSS, torch.optim.SGD(model.parameters(), **options))


@unclaimed(
    "https://github.com/clcarwin/focal_loss_pytorch/issues/10",
    "alpha is the weight of the zeros in the code and of the ones in the paper: here 0.95 for 95 % zeros.",
    "It is the weight of the ones.",
    ("BCE009", "BCE007", "BCE040"),
)
def alpha_upside_down(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor, alpha: float = 0.95) -> Tensor:
        at = (1 - alpha) * t + alpha * (1 - t) if wrong else alpha * t + (1 - alpha) * (1 - t)
        each = F.binary_cross_entropy_with_logits(o, t, reduction="none")
        return (at * each).mean()

    torch.manual_seed(24)
    return torchbce.check(perceptron(), table(400, shift=-5.0), loss)


@unclaimed(
    "https://github.com/ownstyledu/Translate-to-Recognize-Networks/issues/8",
    "The weights rise with a class's share: the frequent one gets the larger weight.",
    "Negatives over positives.",
    ("BCE009", "BCE007", "BCE040"),
)
def pos_weight_upside_down(wrong: bool) -> Report:
    torch.manual_seed(25)
    x, y = table(400, shift=-5.0)
    ones, zeros = y.sum(), (1 - y).sum()
    weight = ones / zeros if wrong else zeros / ones
    return torchbce.check(perceptron(), (x, y), nn.BCEWithLogitsLoss(pos_weight=weight))
