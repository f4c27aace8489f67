"""What every collector of predictions needs of a batch: the loss of each item, and its logit at a finite place."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.explanation.sketch.points import FARTHEST
from torchbce.functional import binary_cross_entropy, binary_cross_entropy_with_logits

CLAMP = 100.0  # the most that a probability can cost, and so the farthest logit that stands for one
BLOCK = 1 << 17  # items at a time: temporaries stay in the caches


def item_losses(outputs: Tensor, targets: Tensor, from_logits: bool) -> Tensor:
    """In nats, in the dtype of the outputs, without weights."""
    loss_of = binary_cross_entropy_with_logits if from_logits else binary_cross_entropy
    return loss_of(outputs, targets, reduction="none")


def weighted(losses: Tensor, weights: Tensor | None) -> Tensor:
    """An item of no weight costs nothing, an infinite loss included."""
    return losses if weights is None else torch.where(weights == 0, 0.0, losses * weights)


def finite(logits: Tensor, from_logits: bool) -> Tensor:
    """Logits, or those of probabilities, no farther out than stands for infinity."""
    farthest = FARTHEST if from_logits else CLAMP
    return logits.clamp(-farthest, farthest)
