"""Calls of losses from features, beside those of stored logits."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as torch_bce
from torch.nn.functional import linear

from torchbce import linear_binary_cross_entropy

ROWS, FEATURES, LABELS = 37, 5, 53


EPS = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def tensors(dtype=torch.float64, rows=ROWS, labels=LABELS, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = (
        torch.randn(*size, generator=g, dtype=torch.float64)
        for size in ((rows, FEATURES), (labels, FEATURES), (labels,))
    )
    return [tensor.to(dtype).requires_grad_() for tensor in made]


def positives(seed=1):
    """(rows, columns), without two alike; row 3 has none."""
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(ROWS, LABELS, generator=g) < 0.1
    chosen[3] = False
    return chosen.nonzero(as_tuple=True)


def matrix(rows, columns, dtype=torch.float64):
    full = torch.zeros(ROWS, LABELS, dtype=dtype)
    full[rows, columns] = 1
    return full


def run(function, given, factor=1.0):
    """The value and the gradients of function(*given)."""
    fresh = [tensor.detach().clone().requires_grad_() for tensor in given]
    value = function(*fresh)
    (value * factor).sum().backward()
    return [value.detach(), *(tensor.grad for tensor in fresh)]


def ours(target, **options):
    return lambda x, w, b: linear_binary_cross_entropy(x, w, target, linear_bias=b, **options)


def stored(target, loss=torch_bce, **options):
    return lambda x, w, b: loss(linear(x, w, b), target, **options)


def assert_close(found, expected, dtype, terms=LABELS):
    """Sums of `terms` products, each rounded: an error of terms * eps of the largest."""
    for ours, theirs in zip(found, expected, strict=True):
        bound = 8 * terms * EPS[dtype] * max(1e-300, float(theirs.abs().max()))
        assert torch.isfinite(ours).all()
        assert float((ours.double() - theirs.double()).abs().max()) <= bound
