"""Logits and probabilities, each from the other, where outputs are one of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchbce.explanation.sketch.points import FARTHEST, Array

CLAMP = 100.0  # the most that a probability can cost, and so the farthest logit that stands for one


def logits_of(outputs: Tensor, from_logits: bool) -> Tensor:
    """Return outputs as logits; those of the probabilities 0 and 1 are infinite."""
    return outputs if from_logits else torch.logit(outputs)


def finite(logits: Tensor, from_logits: bool) -> Tensor:
    """Return logits, or those of probabilities, no farther out than stands for infinity."""
    farthest = FARTHEST if from_logits else CLAMP
    return logits.clamp(-farthest, farthest)


def probabilities_of(outputs: Tensor, from_logits: bool) -> Tensor:
    """Return outputs as probabilities."""
    return torch.sigmoid(outputs) if from_logits else outputs


def sigmoid(z: Array) -> Array:
    """Return the probabilities of an array of logits."""
    return np.asarray(torch.sigmoid(torch.from_numpy(z)).numpy())
