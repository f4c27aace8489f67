"""The family as modules: `FocalLoss(gamma=2.0)(input, target)`; each is its function with the options kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchbce.family import asymmetric, balanced, focal
from torchbce.options import known

CALL = ("input", "target", "mask")


class FusedModule(torch.nn.Module):
    """A loss function with its options kept: numbers as they are, tensors as buffers.

    Args:
        options: of the function, which a subclass names.
    """

    function: Callable[..., Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        if hasattr(type(self), "function"):
            check_names(self.function, options)
        self.options = {name: value for name, value in options.items() if not isinstance(value, Tensor)}
        for name, value in options.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    def forward(self, input: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.function(input, target, mask=mask, **self.options, **self._buffers)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


def check_names(function: Callable[..., Tensor], options: Any) -> None:
    """Each is an option of the function that a module can keep."""
    own = [name for name in inspect.signature(function).parameters if name not in (*CALL, "options")]
    for name in CALL:
        if name in options:
            raise TypeError(f"a module takes options; {name} goes to the call")
    known(options, own)


class FocalLoss(FusedModule):
    """:func:`torchbce.family.focal.focal_loss` as a module.

    Example:
        >>> FocalLoss(gamma=2.0)(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.1733)
    """

    function = staticmethod(focal.focal_loss)


class FocalWithLogitsLoss(FusedModule):
    """:func:`torchbce.family.focal.focal_loss_with_logits` as a module."""

    function = staticmethod(focal.focal_loss_with_logits)


class QualityFocalLoss(FusedModule):
    """:func:`torchbce.family.focal.quality_focal_loss` as a module."""

    function = staticmethod(focal.quality_focal_loss)


class QualityFocalWithLogitsLoss(FusedModule):
    """:func:`torchbce.family.focal.quality_focal_loss_with_logits` as a module."""

    function = staticmethod(focal.quality_focal_loss_with_logits)


class Poly1Loss(FusedModule):
    """:func:`torchbce.family.focal.poly1_loss` as a module."""

    function = staticmethod(focal.poly1_loss)


class Poly1WithLogitsLoss(FusedModule):
    """:func:`torchbce.family.focal.poly1_loss_with_logits` as a module."""

    function = staticmethod(focal.poly1_loss_with_logits)


class AsymmetricLoss(FusedModule):
    """:func:`torchbce.family.asymmetric.asymmetric_loss` as a module."""

    function = staticmethod(asymmetric.asymmetric_loss)


class AsymmetricWithLogitsLoss(FusedModule):
    """:func:`torchbce.family.asymmetric.asymmetric_loss_with_logits` as a module."""

    function = staticmethod(asymmetric.asymmetric_loss_with_logits)


class LogitAdjustedLoss(FusedModule):
    """:func:`torchbce.family.balanced.logit_adjusted_loss_with_logits` as a module."""

    function = staticmethod(balanced.logit_adjusted_loss_with_logits)


class ClassBalancedLoss(FusedModule):
    """:func:`torchbce.family.balanced.class_balanced_loss_with_logits` as a module."""

    function = staticmethod(balanced.class_balanced_loss_with_logits)


class DistributionBalancedLoss(FusedModule):
    """:func:`torchbce.family.balanced.distribution_balanced_loss_with_logits` as a module."""

    function = staticmethod(balanced.distribution_balanced_loss_with_logits)
