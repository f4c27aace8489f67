"""The losses of the family with their options, and their formulas by hand."""

from __future__ import annotations

import pytest
import torch

import torchbce

# The engines are shown to agree; what holds for one holds for all, and nothing has to be compiled.
by_reference = pytest.mark.usefixtures("reference")


ENGINES = ["cpu", "gpu", "reference"]


FAMILY = {  # name: (function, its options)
    "focal": (torchbce.focal_loss_with_logits, {"gamma": 1.7, "alpha": 0.3}),
    "focal of probabilities": (torchbce.focal_loss, {"gamma": 1.7, "alpha": 0.3}),
    "quality focal": (torchbce.quality_focal_loss_with_logits, {"beta": 2.0}),
    "quality focal of probabilities": (torchbce.quality_focal_loss, {"beta": 2.0}),
    "poly-1": (torchbce.poly1_loss_with_logits, {"epsilon": 1.5, "gamma": 1.2}),
    "poly-1 of probabilities": (torchbce.poly1_loss, {"epsilon": 1.5, "gamma": 1.2}),
    "asymmetric": (torchbce.asymmetric_loss_with_logits, {}),
    "asymmetric, detached": (torchbce.asymmetric_loss_with_logits, {"detach_focus": True}),
    "asymmetric without margin": (torchbce.asymmetric_loss_with_logits, {"clip": 0.0}),
    "asymmetric of probabilities": (torchbce.asymmetric_loss, {}),
    "logit-adjusted": (torchbce.logit_adjusted_loss_with_logits, {"prior": 0.1}),
    "class-balanced": (torchbce.class_balanced_loss_with_logits, {"positives": 20, "negatives": 300, "gamma": 1.0}),
    "distribution-balanced": (
        torchbce.distribution_balanced_loss_with_logits,
        {"class_counts": torch.tensor([3.0, 20.0, 70.0]), "num_samples": 100},
    ),
}


def data(name, shape=(70, 3), dtype=torch.float64, seed=0, scale=3.0):
    torch.manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64) * scale
    x = x if "logits" in name else torch.sigmoid(x)
    return x.to(dtype), (torch.rand(shape, dtype=torch.float64) > 0.6).to(dtype)


def both(function, x, y, **options):
    """Value and gradient."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = function(x, y, **options)
    (slopes,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slopes


# Peers


def beside(ours, theirs, x, y, **tolerance):
    """Ours in float64 beside a peer, which may compute in float32 itself."""
    a, b = both(ours, x, y), [found.double() for found in both(theirs, x, y)]
    torch.testing.assert_close(a, tuple(b), **({"rtol": 1e-9, "atol": 1e-12} | tolerance))
