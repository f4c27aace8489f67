"""Other libraries' losses, as oracles. timm is read file by file, since all of it needs torchvision."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import torch
from torch.nn import functional as F


def timm_module(name):
    """One file of `timm.loss`, which needs torch alone."""
    file = importlib.metadata.distribution("timm").locate_file(f"timm/loss/{name}.py")
    spec = importlib.util.spec_from_file_location(f"timm_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torchvision_focal(x, y, gamma=2.0, alpha=None):
    """torchvision.ops.sigmoid_focal_loss 0.28, reduction none, as published in Lin et al. 2017, equation 5."""
    p = torch.sigmoid(x)
    loss = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    loss = loss * (1 - (p * y + (1 - p) * (1 - y))) ** gamma
    return loss if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * loss


def quality_focal(x, y, beta=2.0):
    """Li et al. 2020, equation 2: -|y - p|^beta ((1 - y) log(1 - p) + y log p)."""
    p = torch.sigmoid(x)
    return -((y - p).abs() ** beta) * ((1 - y) * F.logsigmoid(-x) + y * F.logsigmoid(x))


def logit_adjusted(x, y, prior, tau=1.0):
    """Menon et al. 2021, equation 10, for two classes."""
    return F.binary_cross_entropy_with_logits(x + tau * torch.logit(prior), y, reduction="none")


def class_balanced(x, y, positives, negatives, beta=0.999, gamma=0.0):
    """Cui et al. 2019, equations 2 and 13, the weights of the two classes adding up to 2."""
    yes, no = ((1 - beta) / (1 - beta**n) for n in (positives, negatives))
    weight = (yes * y + no * (1 - y)) * 2 / (yes + no)
    return weight * torchvision_focal(x, y, gamma)


def keras_smoothed(y, smoothing):
    """keras.losses.BinaryCrossentropy(label_smoothing=...), Keras 3."""
    return y * (1 - smoothing) + 0.5 * smoothing


def optax_poly(x, y, epsilon=2.0):
    """The sigmoid form of Leng et al. 2022, equation 5, which optax has for softmax."""
    p = torch.sigmoid(x)
    return F.binary_cross_entropy_with_logits(x, y, reduction="none") + epsilon * (1 - (p * y + (1 - p) * (1 - y)))
