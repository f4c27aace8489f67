"""Networks for tables, with layers that start at zero, are shared, normed or routed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import torchbce
from torchbce import Report

from .common import mlp, rows
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """Adam for what is not frozen."""
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)


@healthy("logistic regression without a bias, on one feature")
def single_feature() -> Report:
    x, y = rows(64, 1)
    return torchbce.check(nn.Linear(1, 1, bias=False), (x, y), bce)


class LowRank(nn.Module):
    """A frozen linear layer plus a low-rank update that starts at zero."""

    def __init__(self, base: nn.Linear, rank: int = 2):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        """The base's output and the update."""
        return self.base(x) + x @ self.down.T @ self.up.T


@healthy("low-rank adapters whose second matrix starts at zero, so the first has no gradient in the first step")
def lora() -> Report:
    batch = rows()
    model = nn.Sequential(LowRank(nn.Linear(8, 32)), nn.ReLU(), LowRank(nn.Linear(32, 32)), nn.ReLU(), nn.Linear(32, 1))
    return torchbce.check(model, batch, bce, adam(model))


@healthy("the head starts at zero, so all outputs are 0 and no other layer has a gradient in the first step")
def zero_head() -> Report:
    batch = rows()
    model = mlp()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return torchbce.check(model, batch, bce, adam(model))


class ReZero(nn.Module):
    """A residual block that a factor, 0 at the start, switches on."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """Nothing but x at the start."""
        return x + self.factor * self.inner(x)


@healthy("residual blocks with a factor that starts at 0")
def rezero() -> Report:
    batch = rows()
    model = nn.Sequential(nn.Linear(8, 16), *[ReZero(16) for _ in range(4)], nn.Linear(16, 1))
    return torchbce.check(model, batch, bce, adam(model))


class DropPath(nn.Module):
    """Stochastic depth: a residual branch is left out for whole items."""

    def __init__(self, inner: nn.Module, rate: float):
        super().__init__()
        self.inner, self.rate = inner, rate

    def forward(self, x):
        """All branches in evaluation."""
        if not self.training:
            return x + self.inner(x)
        keep = (torch.rand(len(x), 1) >= self.rate).float() / (1 - self.rate)
        return x + keep * self.inner(x)


@healthy("stochastic depth leaves out branches for single items")
def stochastic_depth() -> Report:
    batch = rows()
    blocks = [DropPath(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()), 0.1 * i) for i in range(5)]
    model = nn.Sequential(nn.Linear(8, 16), *blocks, nn.Linear(16, 1))
    return torchbce.check(model, batch, bce, adam(model))


class LayerDrop(nn.Module):
    """A residual branch is left out for the whole batch."""

    def __init__(self, inner: nn.Module, rate: float):
        super().__init__()
        self.inner, self.rate = inner, rate

    def forward(self, x):
        """The branch then has no gradient at all."""
        if self.training and torch.rand(()) < self.rate:
            return x
        return x + self.inner(x)


@healthy("layer drop leaves out a block for the whole batch, so its parameters have no gradient then")
def layer_drop() -> Report:
    batch = rows()
    blocks = [LayerDrop(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()), 0.5) for _ in range(6)]
    model = nn.Sequential(nn.Linear(8, 16), *blocks, nn.Linear(16, 1))
    return torchbce.check(model, batch, bce, adam(model))


class Experts(nn.Module):
    """A mixture of experts in which each item goes to its best k."""

    def __init__(self, experts: int, k: int):
        super().__init__()
        self.k = k
        self.gate = nn.Linear(8, experts)
        self.experts = nn.ModuleList(mlp(8, 16, 8) for _ in range(experts))
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        """Experts without items are not called."""
        weights, chosen = self.gate(x).softmax(1).topk(self.k, dim=1)
        mixed = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            item, place = torch.where(chosen == i)
            if len(item):
                mixed = mixed.index_add(0, item, weights[item, place, None] * expert(x[item]))
        return self.head(x + mixed)


@healthy("a mixture of 16 experts, top 1: some experts get no item of a batch")
def experts_top_1() -> Report:
    batch = rows(32)
    model = Experts(16, 1)
    return torchbce.check(model, batch, bce, adam(model))


@healthy("a mixture of 24 experts, top 2: some experts get no item of a batch")
def experts_top_2() -> Report:
    batch = rows(24, seed=3)
    model = Experts(24, 2)
    return torchbce.check(model, batch, bce, adam(model))


@healthy("spectral norm on each layer, old style, with power iterations in training mode")
def spectral_norm_hook() -> Report:
    batch = rows()
    norm = nn.utils.spectral_norm
    model = nn.Sequential(norm(nn.Linear(8, 32)), nn.LeakyReLU(0.2), norm(nn.Linear(32, 1)))
    return torchbce.check(model, batch, bce, adam(model))


@healthy("spectral norm by parametrizations")
def spectral_norm_parametrization() -> Report:
    batch = rows()
    norm = parametrizations.spectral_norm
    model = nn.Sequential(norm(nn.Linear(8, 32)), nn.LeakyReLU(0.2), norm(nn.Linear(32, 1)))
    return torchbce.check(model, batch, bce, adam(model))


@healthy("weight norm by parametrizations")
def weight_norm_parametrization() -> Report:
    batch = rows()
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 32)), nn.ReLU(), nn.Linear(32, 1))
    return torchbce.check(model, batch, bce, adam(model))


@healthy("orthogonal weights by parametrizations")
def orthogonal_weights() -> Report:
    batch = rows()
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 1))
    return torchbce.check(model, batch, bce, adam(model))


class Tied(nn.Module):
    """An autoencoder that shares its matrix, with a classifier on its code."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(8, 6)
        self.decode = nn.Linear(6, 8)
        self.decode.weight = nn.Parameter(self.encode.weight.T.contiguous())
        self.refine = nn.Linear(6, 6)
        self.refine_again = nn.Linear(6, 6)
        self.refine_again.weight = self.refine.weight
        self.head = nn.Linear(14, 1)

    def forward(self, x):
        """The code and what the reconstruction misses."""
        code = torch.tanh(self.refine_again(torch.tanh(self.refine(torch.tanh(self.encode(x))))))
        return self.head(torch.cat([code, x - self.decode(code)], 1))


@healthy("two layers share one weight")
def tied_weights() -> Report:
    batch = rows()
    model = Tied()
    return torchbce.check(model, batch, bce, adam(model))


@healthy("one block is applied four times, as in a universal transformer")
def block_used_four_times() -> Report:
    batch = rows()
    block = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.ReLU())
    model = nn.Sequential(nn.Linear(8, 16), block, block, block, block, nn.Linear(16, 1))
    return torchbce.check(model, batch, bce, adam(model))


@healthy("batch norm and dropout between all layers")
def batch_norm_and_dropout() -> Report:
    batch = rows()
    model = nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1),
    )  # fmt: skip
    return torchbce.check(model, batch, bce, adam(model))


@healthy("narrow ReLU layers, in which some units are dead by chance")
def relu_units_dead_by_chance() -> Report:
    batch = rows(16, 4)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))
    return torchbce.check(model, batch, bce, adam(model))


@healthy("a double-precision network and data")
def float64() -> Report:
    x, y = rows()
    model = mlp().double()
    return torchbce.check(model, (x.double(), y.double()), bce, adam(model))


@healthy("a bfloat16 network; the loss is computed in float32")
def bfloat16() -> Report:
    x, y = rows()
    model = mlp().bfloat16()
    return torchbce.check(model, (x.bfloat16(), y), lambda z, t: bce(z.float(), t), adam(model))


@healthy("logits are clamped at 20 on both sides")
def clamped_logits() -> Report:
    class Clamped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x).clamp(-20, 20)

    model = Clamped()
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("logits are capped softly by 30 tanh(z / 30)")
def soft_capped_logits() -> Report:
    class Capped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return 30 * torch.tanh(self.net(x) / 30)

    model = Capped()
    return torchbce.check(model, rows(), bce, adam(model))


class Additive(nn.Module):
    """A small network per feature, and their sum: a generalized additive model."""

    def __init__(self, features: int):
        super().__init__()
        self.parts = nn.ModuleList(mlp(1, 8) for _ in range(features))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """The sum over features."""
        return sum(part(x[:, [i]]) for i, part in enumerate(self.parts)) + self.bias


@healthy("a network per feature; outputs [N, 1], targets [N, 1]")
def additive_model() -> Report:
    model = Additive(5)
    return torchbce.check(model, rows(64, 5), bce, adam(model))


class Monotone(nn.Module):
    """Weights pass through softplus, so the output rises with each input."""

    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(16, 8) - 2)
        self.shift = nn.Parameter(torch.randn(16))
        self.head = nn.Parameter(torch.randn(1, 16) - 2)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """Two layers of positive weights."""
        hidden = torch.tanh(F.linear(x, F.softplus(self.raw), self.shift))
        return F.linear(hidden, F.softplus(self.head), self.bias)


@healthy("a network that can only rise with each feature")
def monotone_network() -> Report:
    torch.manual_seed(5)
    x = torch.randn(64, 8)
    y = (x.sum(1, keepdim=True) + torch.randn(64, 1) > 0).float()
    model = Monotone()
    return torchbce.check(model, (x, y), bce, adam(model))


@healthy("five networks in one, and the mean of their logits")
def ensemble() -> Report:
    class Ensemble(nn.Module):
        def __init__(self):
            super().__init__()
            self.members = nn.ModuleList(mlp() for _ in range(5))

        def forward(self, x):
            return torch.stack([member(x) for member in self.members]).mean(0)

    model = Ensemble()
    return torchbce.check(model, rows(), bce, adam(model))
