"""Layers that change their weights, keep tensors, draw numbers or define their own gradient."""

from __future__ import annotations

import copy
import functools
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import prune

import torchbce
from torchbce import Report

from .common import images, mlp, rows, sentences
from .registry import healthy

bce = nn.BCEWithLogitsLoss()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    """Adam for all parameters."""
    return torch.optim.Adam(model.parameters(), lr=1e-3)


@healthy("half of the weights are pruned, so `weight` is computed from a parameter and a mask")
def pruned() -> Report:
    model = mlp(8, 32)
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("a forward hook collects activations in a list of the module")
def hook_collects_activations() -> Report:
    batch = rows()
    model = mlp()
    model.activations = []
    model[1].register_forward_hook(lambda module, args, out: model.activations.append(out))
    model(batch[0])
    return torchbce.check(model, batch, bce, adam(model))


@healthy("an fx graph module")
def fx_graph_module() -> Report:
    model = fx.symbolic_trace(mlp())
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("an embedding with max_norm shortens its own rows in forward")
def embedding_with_max_norm() -> Report:
    class Shortens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 8, padding_idx=0, max_norm=1.0), nn.Linear(8, 1)

        def forward(self, tokens):
            return self.head(self.embed(tokens).amax(1))

    tokens, _, y = sentences()
    model = Shortens()
    return torchbce.check(model, (tokens, y), bce, adam(model))


class Codebook(nn.Module):
    """Nearest of 16 code vectors, a buffer that follows the data in training; the gradient goes straight through."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 4), nn.Linear(4, 1)
        self.register_buffer("codes", torch.randn(16, 4))

    def forward(self, x):
        """Codes move by a tenth of the way."""
        z = self.first(x)
        nearest = torch.cdist(z.detach(), self.codes).argmin(1)
        chosen = self.codes[nearest]
        if self.training:
            with torch.no_grad():
                hit = F.one_hot(nearest, 16).float()
                mean = hit.T @ z / hit.sum(0).clamp(min=1)[:, None]
                self.codes = torch.where(hit.sum(0)[:, None] > 0, self.codes.lerp(mean, 0.1), self.codes)
        return self.head(z + (chosen - z).detach())


@healthy("vector quantization: a buffer is exchanged in each training pass, and the gradient goes straight through")
def vector_quantization() -> Report:
    model = Codebook()
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("a layer that takes the Fourier transform, so numbers are complex inside")
def fourier_mixing() -> Report:
    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.head = mlp(8, 16, 8), nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.net(torch.fft.fft2(x).real / 4).mean(1))

    torch.manual_seed(0)
    x, y = torch.randn(48, 6, 8), (torch.arange(48) % 2).float()[:, None]
    x[1::2] += 0.5
    model = Mixes()
    return torchbce.check(model, (x, y), bce, adam(model))


class Reverse(torch.autograd.Function):
    """The identity, whose gradient is flipped."""

    @staticmethod
    def forward(ctx, x):
        """x itself."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx, slope):
        """The other way, and weaker."""
        return -0.1 * slope


@healthy("a domain head behind a gradient reversal; both logits side by side, [N, 2]")
def gradient_reversal() -> Report:
    class TwoDomains(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.label, self.domain = nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(16, 1)

        def forward(self, x):
            hidden = torch.tanh(self.body(x))
            return torch.cat([self.label(hidden), self.domain(Reverse.apply(hidden))], 1)

    x, y = rows()
    domain = (x[:, :1] + torch.randn(64, 1) > 0).float()
    model = TwoDomains()
    return torchbce.check(model, (x, torch.cat([y, domain], 1)), bce, adam(model))


@healthy("weights are binary by their sign, and the gradient goes straight through a hard tanh")
def binary_weights() -> Report:
    class BinaryLinear(nn.Linear):
        def forward(self, x):
            w = self.weight
            soft = w.clamp(-1, 1)
            return F.linear(x, soft + (w.sign() - soft).detach(), self.bias) / self.in_features**0.5

    model = nn.Sequential(BinaryLinear(8, 32), nn.BatchNorm1d(32), nn.Hardtanh(), nn.Linear(32, 1))
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("a hard choice of one branch by Gumbel softmax in training, by the maximum in evaluation")
def gumbel_choice() -> Report:
    class Chooses(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.branches = nn.Linear(8, 3), nn.ModuleList(mlp() for _ in range(3))

        def forward(self, x):
            z = torch.cat([branch(x) for branch in self.branches], 1)
            gate = self.gate(x)
            choice = F.gumbel_softmax(gate, hard=True) if self.training else F.one_hot(gate.argmax(1), 3).float()
            return (choice * z).sum(1, keepdim=True)

    model = Chooses()
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("a hypernetwork: one part computes the weights of the other from the inputs")
def hypernetwork() -> Report:
    class Hyper(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = mlp(8, 16, 9)

        def forward(self, x):
            w = self.weights(x)
            return (w[:, :8] * x).sum(1, keepdim=True) + w[:, 8:]

    model = Hyper()
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("a GRU cell in a loop that stops after as many steps as the inputs have")
def cell_in_a_loop() -> Report:
    class Loops(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(2, 8), nn.Linear(8, 1)

        def forward(self, x):
            state = x.new_zeros(len(x), 8)
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return self.head(state)

    torch.manual_seed(0)
    x = torch.randn(40, 6, 2)
    y = (x[..., 0].sum(1, keepdim=True) > 0).float()
    model = Loops()
    return torchbce.check(model, (x, y), bce, adam(model))


@healthy("the model draws noise from its own generator, in training")
def own_generator() -> Report:
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.generator = mlp(), torch.Generator().manual_seed(3)

        def forward(self, x):
            if self.training:
                x = x + 0.1 * torch.randn(x.shape, generator=self.generator)
            return self.net(x)

    model = Noisy()
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("four networks in one call by functional_call and vmap; the mean of their logits")
def stacked_networks() -> Report:
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            nets = [mlp() for _ in range(4)]
            state, _ = torch.func.stack_module_state(nets)
            self.names = list(state)
            self.stacked = nn.ParameterList(nn.Parameter(state[name].detach().clone()) for name in self.names)
            self.shape = [copy.deepcopy(nets[0]).requires_grad_(False).to("meta")]

        def forward(self, x):
            state = dict(zip(self.names, self.stacked, strict=True))
            run = lambda state: torch.func.functional_call(self.shape[0], state, (x,))  # noqa: E731
            return torch.vmap(run)(state).mean(0)

    model = Stacked()
    return torchbce.check(model, rows(), bce, adam(model))


class UncertaintyWeighted(nn.Module):
    """Weights of two tasks that are learned with the model."""

    def __init__(self):
        super().__init__()
        self.log_var = nn.Parameter(torch.zeros(2))

    def forward(self, z, t):
        """A rare task gets the weight it can bear."""
        each = F.binary_cross_entropy_with_logits(z, t, reduction="none").mean(0)
        return (each * (-self.log_var).exp() + self.log_var).sum()


@healthy("the loss has parameters of its own, which the optimizer has too")
def loss_with_parameters() -> Report:
    x, _ = rows()
    y = (x @ torch.randn(8, 2) + torch.randn(64, 2) > 0).float()
    model, loss_func = mlp(8, 16, 2), UncertaintyWeighted()
    optimizer = torch.optim.Adam([*model.parameters(), *loss_func.parameters()], lr=1e-3)
    return torchbce.check(model, (x, y), loss_func, optimizer)


@healthy("the loss is a functools.partial")
def partial_loss() -> Report:
    loss_func = functools.partial(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(2.0))
    return torchbce.check(mlp(), rows(rate=0.3), loss_func)


@healthy("the loss warms up: its weight of positives grows with the number of its calls")
def loss_with_a_counter() -> Report:
    class WarmsUp(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, z, t):
            self.calls += self.training
            weight = torch.tensor(1 + min(1.0, self.calls / 1000))
            return F.binary_cross_entropy_with_logits(z, t, pos_weight=weight)

    return torchbce.check(mlp(), rows(), WarmsUp())


@healthy("the optimizer also has the parameters of another model")
def optimizer_of_two_models() -> Report:
    model, other = mlp(), mlp()
    optimizer = torch.optim.Adam([*model.parameters(), *other.parameters()], lr=1e-3)
    return torchbce.check(model, rows(), bce, optimizer)


class Batch(NamedTuple):
    """A batch with names."""

    x: Tensor
    y: Tensor


@healthy("the batch is a named tuple")
def named_tuple_batch() -> Report:
    return torchbce.check(mlp(), Batch(*rows()), bce)


@healthy("quantization-aware: weights and activations are rounded to eight bits in the forward pass")
def quantization_aware() -> Report:
    class Rounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(8, 16), nn.Linear(16, 1)

        def forward(self, x):
            scale = float(self.first.weight.detach().abs().amax()) / 127
            weight = torch.fake_quantize_per_tensor_affine(self.first.weight, scale, 0, -128, 127)
            hidden = F.relu(F.linear(x, weight, self.first.bias))
            return self.head(torch.fake_quantize_per_tensor_affine(hidden, 0.05, 0, -128, 127))

    model = Rounds()
    return torchbce.check(model, rows(), bce, adam(model))


@healthy("a volume: 3-d convolutions, squeeze and excitation")
def squeeze_and_excitation() -> Report:
    class Excites(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate, self.head = nn.Conv3d(1, 8, 3), mlp(8, 4, 8), nn.Linear(8, 1)

        def forward(self, x):
            x = F.relu(self.conv(x))
            x = x * self.gate(x.mean((2, 3, 4))).sigmoid()[:, :, None, None, None]
            return self.head(x.amax((2, 3, 4)))

    x, y = images(16, 8)
    model = Excites()
    return torchbce.check(model, (x[:, :, None].repeat(1, 1, 4, 1, 1), y), bce, adam(model))
