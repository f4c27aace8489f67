"""Binary cross-entropy as modules: `torch.nn`'s own shells around our functions.

They subclass torch's classes, so that code which asks `isinstance(loss_func, torch.nn.BCEWithLogitsLoss)` (skorch does,
to choose the nonlinearity of its predictions) goes on working. Buffers, `state_dict` keys and pickling are torch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce import functional

__all__ = ["BCELoss", "BCEWithLogitsLoss"]


class BCELoss(torch.nn.BCELoss):
    r"""Binary cross-entropy of probabilities, in nats; see :func:`torchbce.functional.binary_cross_entropy`.

    Args:
        weight: a number or a tensor that broadcasts to the target; kept as a buffer.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.

    Shape: input and target alike; the loss is 0-d, or of the same shape for ``'none'``.

    Example:
        >>> loss_func = BCELoss()
        >>> loss_func(torch.tensor([[0.60], [0.20], [0.70]]), torch.tensor([[1.0], [0.0], [1.0]]))
        tensor(0.3635)
    """

    def __init__(
        self,
        weight: Tensor | float | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(_as_buffer(weight), size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    r"""Binary cross-entropy of logits, in nats; see :func:`torchbce.functional.binary_cross_entropy_with_logits`.

    Args:
        weight: a number or a tensor that broadcasts to the target; kept as a buffer.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        pos_weight: a number or a tensor with one weight per class; kept as a buffer.

    Shape: input and target alike; the loss is 0-d, or of the same shape for ``'none'``.

    Example:
        >>> loss_func = BCEWithLogitsLoss(pos_weight=2.0)
        >>> loss_func(torch.tensor([0.0, 0.0]), torch.tensor([1, 0]))
        tensor(1.0397)
    """

    def __init__(
        self,
        weight: Tensor | float | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | float | None = None,
    ) -> None:
        super().__init__(_as_buffer(weight), size_average, reduce, reduction, _as_buffer(pos_weight))

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


def _as_buffer(weight: Tensor | float | None) -> Tensor | None:
    return torch.tensor(float(weight)) if isinstance(weight, int | float) else weight
