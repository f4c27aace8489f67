"""Prepare once what calls of a loss have in common, and answer the node's calls to Python."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchbce.engine import reference
from torchbce.engine.call import LossCall, TargetTransform, Weight
from torchbce.engine.numba_cpu import buffers
from torchbce.engine.numba_cpu.options import address_of
from torchbce.engine.numba_cpu.variant import Formula, Plain, general_variant
from torchbce.engine.options import REDUCTIONS, Options
from torchbce.engine.validate import checked, ignored, target_transform
from torchbce.formula.loss import Loss

NUMBERS = ("label_smoothing", "target_threshold", "ignore_index")


class Plans:
    """The plans of a node, by number.

    Attributes:
        call: ``call(number, input, target, weight, *parameters)`` returns the loss, or None for other calls.
        takes: ``takes(input, target, *weights)`` returns whether `call` computes the loss.
    """

    def __init__(self, node: Any) -> None:
        self._node, self._numbers = node, dict[Any, int]()
        self.call, self.takes = node.call, node.takes

    def number_of(self, loss: Loss, reduction: str, options: Options) -> int:
        """Return the number of a plan for a loss, reduction and options; -1 if the node takes no such call."""
        key = (loss, reduction, *options.items()) if options else (loss, reduction)
        try:
            number = self._numbers.get(key)
        except TypeError:  # an option that is no number may not be hashable
            return -1
        if number is None:
            number = _register(self._node, loss, reduction, options)
            if number >= 0:
                self._numbers[key] = number
        return number


def _register(node: Any, loss: Loss, reduction: str, options: Options) -> int:
    plain = all(name in NUMBERS and type(v) in (int, float) and v == v for name, v in options.items())
    if reduction not in REDUCTIONS or not plain:
        return -1
    call = LossCall(
        loss=loss,
        parameters=(),
        weight=None,
        reduction=reduction,
        result_dtype=torch.float32,
        checked=checked(options, loss),
        target_transform=target_transform(options),
        ignored=ignored(options),
    )
    return int(node.plan(Plan(call)))


class Plan:
    """A call without its tensors, by the names that the node reads."""

    def __init__(self, call: LossCall) -> None:
        loss, transform = call.loss, call.target_transform
        self.call = call
        self.reduction = REDUCTIONS.index(call.reduction)
        self.checked, self.may_be_product = call.checked, loss.factored is not None
        self.is_plain = call.counts_all and call.checked == loss.checks_input
        self.transformed, self.ignoring = transform is not None, call.ignored is not None
        self.exponents = [name in loss.exponents for name in loss.parameters]
        self.defaults = list(loss.defaults)
        self.threshold, self.factor, self.shift = transform or TargetTransform()
        self.ignored = call.ignored or 0.0

    def addresses(self, is_plain: bool, wide: bool, kinds: str) -> tuple[int, int]:
        """Return the addresses of the compiled pass for parameters of these kinds, and of the formula that it calls."""
        loss = self.call.loss
        if is_plain:
            return address_of(Plain(loss, torch.float64 if wide else torch.float32, kinds)), 0
        return address_of(general_variant(wide, len(kinds))), address_of(Formula(loss, wide, kinds))

    def buffer(self, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Allocate memory for a large result."""
        return buffers.new(like, dtype)

    def grad(
        self, input: Tensor, target: Tensor, weight: Weight, parameters: list[Weight], grad_output: Tensor
    ) -> Tensor:
        """Return the gradient by the reference, which is differentiable."""
        call = self.call._replace(weight=weight, parameters=tuple(parameters), result_dtype=input.dtype)
        scale = grad_output / input.numel() if call.reduction == "mean" else grad_output
        return reference.grad(input, target, call, scale)
