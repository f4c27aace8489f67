"""Calls of the losses that are compared with mpmath."""

from __future__ import annotations

import torch

from torchbce import functional
from torchbce.engine import select

LOSSES = ["bce", "bce_with_logits"]


ENGINES = ["cpu", "gpu"]


def call(name, x, y, **options):
    function = functional.binary_cross_entropy if name == "bce" else functional.binary_cross_entropy_with_logits
    return function(x, y, **options)


def both(engine, name, x, y, grad_output=None, **options):
    """(value, gradient) by the forced engine."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    with select.forced(engine):
        value = call(name, x, y, **options)
        value.backward(torch.ones_like(value) if grad_output is None else grad_output)
    return value.detach(), x.grad


def data(name, shape, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    x = torch.rand(shape, dtype=torch.float64) if name == "bce" else torch.randn(shape, dtype=torch.float64) * 4
    return x.to(dtype), torch.rand(shape, dtype=torch.float64).to(dtype)
