"""torch's SGD and AdamW on flat tensors, rounded as in compiled code (`perceptron/optimizers.py`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from torchbce.perceptron.trainer import Optimizer


def sgd(parameters: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
    """p -= rate (g + decay p)"""
    parameters.sub_(gradient.add(parameters, alpha=decay), alpha=rate)


def adamw(
    parameters: Tensor,
    gradient: Tensor,
    moments: tuple[Tensor, Tensor],
    decayed: Sequence[Tensor],
    optimizer: Optimizer,
    rate: float,
    step: int,
) -> None:
    """p = keep p - rate m / (sqrt(v) + epsilon), with the moments m and v corrected for their start at 0.

    decayed: the parts of the parameters that decay. step: from 1.
    """
    first, second = moments
    first.mul_(optimizer.beta1).add_(gradient, alpha=1.0 - optimizer.beta1)
    second.mul_(optimizer.beta2).addcmul_(gradient, gradient, value=1.0 - optimizer.beta2)
    correction = 1.0 / math.sqrt(1.0 - optimizer.beta2**step)
    for part in decayed:
        part.mul_(1.0 - rate * optimizer.decay)
    parameters.addcdiv_(
        first, second.sqrt().mul_(correction).add_(optimizer.epsilon), value=-rate / (1.0 - optimizer.beta1**step)
    )
