"""What goes into a model, and in which shape it comes out."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce import Report

from .common import mlp, rows
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


class Siamese(nn.Module):
    """Whether two inputs belong together, by one encoder."""

    def __init__(self):
        super().__init__()
        self.encoder = mlp(8, 16, 8).append(nn.Tanh())  # a last bias would cancel in the difference
        self.head = nn.Linear(8, 1)

    def forward(self, left, right):
        """From the distance per dimension."""
        return self.head((self.encoder(left) - self.encoder(right)).abs())


def pairs(n: int = 48) -> tuple[Tensor, Tensor, Tensor]:
    """Two views of the same thing, or of different ones."""
    left, _ = rows(n)
    same = torch.arange(n) % 2 == 0
    right = torch.where(same[:, None], left + 0.3 * torch.randn(n, 8), torch.randn(n, 8))
    return left, right, same.float()[:, None]


@healthy("a siamese network takes two inputs; the batch is ((left, right), targets)")
def siamese() -> Report:
    left, right, y = pairs()
    model = Siamese()
    return torchbce.check(model, ((left, right), y), bce, torch.optim.Adam(model.parameters()))


@healthy("a model takes one argument that is a pair")
def one_argument_that_is_a_pair() -> Report:
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Siamese()

        def forward(self, pair):
            left, right = pair
            return self.net(left, right)

    left, right, y = pairs()
    return torchbce.check(Pair(), ((left, right), y), bce)


class WideAndDeep(nn.Module):
    """A linear part on crossed features, and a deep part on numbers and an embedded category."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(20, 1)
        self.embed = nn.Embedding(12, 4)
        self.deep = mlp(12, 16)

    def forward(self, wide, numbers, category):
        """Both parts' logits are added."""
        deep = self.deep(torch.cat([numbers, self.embed(category)], 1))
        return (self.wide(wide) + deep).squeeze(1)


@healthy("a wide and deep network with three inputs, one of them integers; outputs [N]")
def wide_and_deep() -> Report:
    numbers, y = rows()
    wide = (torch.rand(64, 20) < 0.1).float()
    category = torch.randint(0, 12, (64,))
    model = WideAndDeep()
    return torchbce.check(model, ((wide, numbers, category), y[:, 0]), bce, torch.optim.Adagrad(model.parameters()))


@healthy("the model takes the whole dict of inputs as its one argument; the batch is (dict, targets)")
def dict_as_one_argument() -> Report:
    class TakesDict(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.net = mlp(11)

        def forward(self, features):
            return self.net(torch.cat([features["numbers"], self.embed(features["shop"])], 1))

    x, y = rows()
    return torchbce.check(TakesDict(), ({"numbers": x, "shop": torch.randint(0, 5, (64,))}, y), bce)


@healthy("the model takes the whole batch, a dict with the targets in it, as its one argument")
def whole_batch_as_one_argument() -> Report:
    class TakesBatch(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(9)

        def forward(self, batch):
            return self.net(torch.cat([batch["x"], batch["age"][:, None]], 1))

    x, y = rows()
    return torchbce.check(TakesBatch(), {"x": x, "age": torch.rand(64), "target": y}, bce)


@healthy("the model takes keyword arguments named as the batch's keys")
def keyword_arguments() -> Report:
    class TakesKeywords(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(9)

        def forward(self, *, x, age):
            return self.net(torch.cat([x, age[:, None]], 1))

    x, y = rows()
    return torchbce.check(TakesKeywords(), {"x": x, "age": torch.rand(64), "label": y}, bce)


@healthy("a dict batch also has strings and row numbers, which the model swallows by **rest")
def batch_with_strings() -> Report:
    class Swallows(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x, **rest):
            return self.net(x)

    x, y = rows()
    names = [f"patient-{i}" for i in range(64)]
    return torchbce.check(Swallows(), {"x": x, "name": names, "row": torch.arange(64), "y": y}, bce)


class AttentionPooling(nn.Module):
    """A weighted mean over a set; the weights are returned too."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(8, 1)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        """Logits and attention."""
        attention = self.score(x).softmax(1)
        return self.head((attention * x).sum(1)), attention


def bags(n: int = 48) -> tuple[Tensor, Tensor]:
    """Sets of six vectors; a positive set has one that stands out."""
    torch.manual_seed(0)
    x = torch.randn(n, 6, 8)
    y = (torch.arange(n) % 2).float()[:, None]
    x[1::2, 2] += 1.5
    return x, y


@healthy("the model returns (logits, attention); the loss takes the first")
def returns_tuple() -> Report:
    model = AttentionPooling()
    return torchbce.check(model, bags(), lambda out, y: bce(out[0], y), torch.optim.Adam(model.parameters()))


@healthy("the model returns a dict; the loss takes its logits")
def returns_dict() -> Report:
    class ReturnsDict(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = AttentionPooling()

        def forward(self, x):
            logits, attention = self.pool(x)
            return {"logits": logits, "attention": attention, "probabilities": logits.sigmoid().detach()}

    return torchbce.check(ReturnsDict(), bags(), lambda out, y: bce(out["logits"], y))


@dataclass
class Output:
    """What a model gives."""

    logits: Tensor
    hidden: Tensor | None = None


@healthy("the model returns a dataclass; the loss takes its logits")
def returns_dataclass() -> Report:
    class ReturnsDataclass(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 1)

        def forward(self, x):
            hidden = torch.tanh(self.body(x))
            return Output(self.head(hidden), hidden)

    model = ReturnsDataclass()
    loss_func = lambda out, y: bce(out.logits, y)  # noqa: E731
    return torchbce.check(model, rows(), loss_func, torch.optim.Adam(model.parameters()))


class DeepSets(nn.Module):
    """The mean over a set, with two networks."""

    def __init__(self):
        super().__init__()
        self.item, self.whole = mlp(8, 16, 16), mlp(16, 16)

    def forward(self, x):
        """Sets [N, items, features]."""
        return self.whole(self.item(x).mean(1)).flatten()


@healthy("deep sets on [N, items, features]; outputs and targets [N]")
def deep_sets() -> Report:
    x, y = bags()
    return torchbce.check(DeepSets(), (x, y[:, 0]), bce)


@healthy("missing values are NaN; the model fills them in and says so in indicators")
def nan_inputs() -> Report:
    class Fills(nn.Module):
        def __init__(self):
            super().__init__()
            self.fill = nn.Parameter(torch.zeros(8))
            self.net = mlp(16)

        def forward(self, x):
            gone = x.isnan()
            return self.net(torch.cat([torch.where(gone, self.fill, x), gone.float()], 1))

    x, y = rows()
    x = x.masked_fill(torch.rand_like(x) < 0.1, torch.nan)
    return torchbce.check(Fills(), (x, y), bce)


@healthy("an additive attention mask with minus infinity is one of the inputs")
def minus_infinity_in_inputs() -> Report:
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.score, self.head = nn.Linear(8, 1), nn.Linear(8, 1)

        def forward(self, x, mask):
            attention = (self.score(x).squeeze(2) + mask).softmax(1)
            return self.head((attention[:, :, None] * x).sum(1))

    x, y = bags()
    mask = torch.zeros(48, 6).masked_fill(torch.rand(48, 6) < 0.3, -torch.inf)
    mask[:, 2] = 0
    return torchbce.check(Attends(), ((x, mask), y), bce)


@healthy("the model keeps a lock, a logger and a lambda, which cannot be copied by pickle")
def keeps_a_lock() -> Report:
    class KeepsLock(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.lock, self.log, self.scale = threading.Lock(), logging.getLogger(__name__), lambda z: 1.5 * z
            self.calls = 0

        def forward(self, x):
            with self.lock:
                self.calls += 1
            return self.scale(self.net(x))

    return torchbce.check(KeepsLock(), rows(), bce)


@healthy("features that were computed with a graph are detached by the model")
def inputs_with_a_graph() -> Report:
    class Detaches(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(F.normalize(x.detach(), dim=1) * 3)

    x, y = rows()
    features = nn.Linear(8, 8)(x)
    return torchbce.check(Detaches(), (features, y), bce)


@healthy("one-hot rows of three categories, as float")
def one_hot_inputs() -> Report:
    torch.manual_seed(1)
    codes = torch.randint(0, 6, (200, 3))
    x = F.one_hot(codes, 6).flatten(1).float()
    y = (torch.rand(200) < torch.where((codes[:, 0] < 3) ^ (codes[:, 1] > 3), 0.8, 0.2)).float()
    return torchbce.check(mlp(18), (x, y[:, None]), bce)
