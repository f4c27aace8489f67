"""The family as modules: `FocalLoss(gamma=2.0)(input, target)`; each is its function with the options kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchbce.family import asymmetric, balanced, focal
from torchbce.options import CALL, Normalize, check_ranges, in_words, known, spell_out


class FusedModule(torch.nn.Module):
    """A loss function with its options kept: numbers as they are, tensors as buffers.

    Args:
        options: of the function, which a subclass names.

    Raises:
        TypeError: an option that does not exist, or a required one that is missing.
        ValueError: an option out of its range.
    """

    function: Callable[..., Tensor]

    def __init_subclass__(cls) -> None:
        spell_out(cls, cls.function)

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__()
        name = type(self).__name__
        if given:
            own = [n for n in inspect.signature(type(self)).parameters if n not in ("weight", "reduction")]
            example = own[0] if own else "weight"
            raise TypeError(f"{name} takes its options by name, such as {name}({example}={given[0]!r})")
        if hasattr(type(self), "function"):
            check_names(self.function, options, name)
            check_ranges(getattr(self.function, "ranges", {}), options)
        self.options = {name: value for name, value in options.items() if not isinstance(value, Tensor)}
        for name, value in options.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    def forward(
        self, input: Tensor, target: Tensor, mask: Tensor | None = None, *, normalize: Normalize | None = None
    ) -> Tensor:
        own = self.options if normalize is None else {**self.options, "normalize": normalize}
        return self.function(input, target, mask=mask, **own, **self._buffers)

    def extra_repr(self) -> str:
        named = inspect.signature(self.function).parameters.values()
        usual = {p.name: p.default for p in named if p.kind is p.KEYWORD_ONLY and isinstance(p.default, float)}
        return in_words({**usual, **self.options, **self._buffers})


def check_names(function: Callable[..., Tensor], options: Any, module: str) -> None:
    """Each is an option of the function that a module can keep, and none is missing."""
    parameters = inspect.signature(function).parameters
    for name in CALL:
        if name in options:
            raise TypeError(f"a module takes options; {name} goes to the call")
    known(options, [name for name in parameters if name not in (*CALL, "options")])
    for name, parameter in parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty and name not in options:
            raise TypeError(f"{module} misses its option {name!r}: write {module}({name}=...)")


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
