"""Binary cross-entropy as modules: `torch.nn`'s own shells around our functions.

They subclass torch's classes, so that code which asks `isinstance(loss_func, torch.nn.BCEWithLogitsLoss)` (skorch does,
to choose the nonlinearity of its predictions) goes on working. Buffers, `state_dict` keys and pickling are torch's.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from torchbce import functional
from torchbce.options import Options, known

__all__ = ["BCELoss", "BCEWithLogitsLoss"]


class BCELoss(torch.nn.BCELoss):
    r"""Binary cross-entropy of probabilities, in nats; see :func:`torchbce.functional.binary_cross_entropy`.

    Args:
        weight: a number or a tensor that broadcasts to the target; kept as a buffer.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        pos_weight: a number or a tensor with one weight per class; kept as a buffer.
        options: as for the function: ``label_smoothing``, ``target_threshold``, ``num_classes``, ``ignore_index``,
            ``normalize``, ``class_dim``, ``validate``.

    Shape: input and target alike; the loss is 0-d, or of the same shape for ``'none'``. A third argument is the mask of
    the items that count.

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
        *,
        pos_weight: Tensor | float | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(_as_buffer(weight), size_average, reduce, reduction)
        if pos_weight is not None:  # so that torch's own state is loaded without it
            self.register_buffer("pos_weight", _as_buffer(pos_weight))
        self.options = known(options)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.binary_cross_entropy(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self._buffers.get("pos_weight"),
            mask=mask,
            **self.__dict__.get("options", {}),  # a module that was pickled before has none
        )


class BCEWithLogitsLoss(torch.nn.BCEWithLogitsLoss):
    r"""Binary cross-entropy of logits, in nats; see :func:`torchbce.functional.binary_cross_entropy_with_logits`.

    Args:
        weight: a number or a tensor that broadcasts to the target; kept as a buffer.
        size_average, reduce: deprecated by torch; they override ``reduction``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        pos_weight: a number or a tensor with one weight per class; kept as a buffer.
        options: as for the function: ``label_smoothing``, ``target_threshold``, ``num_classes``, ``ignore_index``,
            ``normalize``, ``class_dim``, ``validate``.

    Shape: input and target alike; the loss is 0-d, or of the same shape for ``'none'``. A third argument is the mask of
    the items that count.

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
        **options: Unpack[Options],
    ) -> None:
        super().__init__(_as_buffer(weight), size_average, reduce, reduction, _as_buffer(pos_weight))
        self.options = known(options)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            mask=mask,
            **self.__dict__.get("options", {}),
        )


def _as_buffer(weight: Tensor | float | None) -> Tensor | None:
    return torch.tensor(float(weight)) if isinstance(weight, int | float) else weight
