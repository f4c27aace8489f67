"""Binary cross-entropy as modules: `torch.nn`'s own shells around our functions.

They subclass torch's classes, so that code which asks `isinstance(loss_func, torch.nn.BCEWithLogitsLoss)` (skorch does,
to choose the nonlinearity of its predictions) goes on working. Buffers, `state_dict` keys and pickling are torch's.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from torchbce import functional
from torchbce.options import Normalize, Options, in_words, known, spell_out

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
    the items that count; ``normalize=`` may be given per call, as :func:`torchbce.global_denominator` makes it.

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
        super().__init__(_as_buffer("weight", weight), size_average, reduce, reduction)
        if pos_weight is not None:  # so that torch's own state is loaded without it
            self.register_buffer("pos_weight", _as_buffer("pos_weight", pos_weight))
        self.options = known(options)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, normalize: Normalize | None = None
    ) -> Tensor:
        return functional.binary_cross_entropy(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self._buffers.get("pos_weight"),
            mask=mask,
            **_options(self, normalize),
        )

    def extra_repr(self) -> str:
        return _shown(self)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        _refuse_script(self)
        return torch.nn.BCELoss(self.weight, reduction=self.reduction)


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
    the items that count; ``normalize=`` may be given per call, as :func:`torchbce.global_denominator` makes it.

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
        super().__init__(
            _as_buffer("weight", weight), size_average, reduce, reduction, _as_buffer("pos_weight", pos_weight)
        )
        self.options = known(options)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, normalize: Normalize | None = None
    ) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            mask=mask,
            **_options(self, normalize),
        )

    def extra_repr(self) -> str:
        return _shown(self)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        _refuse_script(self)
        return torch.nn.BCEWithLogitsLoss(self.weight, reduction=self.reduction, pos_weight=self.pos_weight)


def _options(module: torch.nn.Module, normalize: Normalize | None) -> Options:
    """Those that were kept, and the call's own; a module that was pickled by an earlier version has none."""
    kept: Options = module.__dict__.get("options", {})
    return kept if normalize is None else {**kept, "normalize": normalize}


def _shown(module: torch.nn.BCELoss | torch.nn.BCEWithLogitsLoss) -> str:
    """What differs from the plain loss."""
    shown: dict[str, object] = dict(module._buffers)
    if module.reduction != "mean":
        shown["reduction"] = module.reduction
    return in_words({name: value for name, value in shown.items() if value is not None} | dict(_options(module, None)))


def _refuse_script(module: torch.nn.Module) -> None:
    weighed = isinstance(module, BCELoss) and module._buffers.get("pos_weight") is not None
    if _options(module, None) or weighed:
        raise NotImplementedError(
            f"torch.jit.script compiles torch's own loss in place of torchbce's, and that has no such options: "
            f"{module}; "
            "script the model without its loss"
        )


def _as_buffer(name: str, weight: Tensor | float | None) -> Tensor | None:
    if weight is None or isinstance(weight, Tensor):
        return weight
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise TypeError(
            f"{name} must be a Tensor, a number or None, got {type(weight).__name__}; write torch.tensor({name})"
        )
    return torch.tensor(float(weight))


for _module, _function in (
    (BCELoss, functional.binary_cross_entropy),
    (BCEWithLogitsLoss, functional.binary_cross_entropy_with_logits),
):
    spell_out(_module, _function)
