"""The loss of each item of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.functional import binary_cross_entropy, binary_cross_entropy_with_logits

BLOCK = 1 << 17  # items at a time: temporaries stay in the caches


def item_losses(outputs: Tensor, targets: Tensor, from_logits: bool) -> Tensor:
    """Return each item's loss in nats, in the dtype of the outputs, without weights."""
    loss_of = binary_cross_entropy_with_logits if from_logits else binary_cross_entropy
    return loss_of(outputs, targets, reduction="none")


def weighted(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Multiply losses by weights; an item of weight 0 costs nothing, even if its loss is infinite."""
    return losses if weights is None else torch.where(weights == 0, 0.0, losses * weights)
