"""What calls of a loss have in common, made ready once; and what the node then asks of Python."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce.engine import reference
from torchbce.engine.call import LossCall, TargetTransform, Weight
from torchbce.engine.numba_cpu import buffers, kernels
from torchbce.engine.numba_cpu.variant import Variant
from torchbce.engine.options import REDUCTIONS, Options
from torchbce.engine.validate import checked, ignored, target_transform
from torchbce.formula.loss import Loss

NUMBERS = ("label_smoothing", "target_threshold", "ignore_index")


class Plans:
    """The plans that a node has, by number.

    Attributes:
        call: ``call(number, input, target, weight, *parameters)``, the loss, or None where the node takes no such call.
        takes: ``takes(input, target, *weights)``, whether it does.
    """

    def __init__(self, node: Any) -> None:
        self._node, self._numbers = node, dict[Any, int]()
        self.call, self.takes = node.call, node.takes

    def number_of(self, loss: Loss, reduction: str, options: Options) -> int:
        """That of a loss with this reduction and these options; -1: the node takes no such call."""
        key = (loss, reduction, *options.items()) if options else (loss, reduction)
        try:
            found = self._numbers.get(key)
        except TypeError:  # an option that is no number may not be hashable
            return -1
        if found is None:
            found = _register(self._node, loss, reduction, options)
            if found >= 0:
                self._numbers[key] = found
        return found


def _register(node: Any, loss: Loss, reduction: str, options: Options) -> int:
    plain = all(name in NUMBERS and type(v) in (int, float) and v == v for name, v in options.items())
    if reduction not in REDUCTIONS or not plain:
        return -1
    transform, left_out = target_transform(options), ignored(options)
    call = LossCall(
        loss=loss,
        parameters=(),
        weight=None,
        reduction=reduction,
        result_dtype=torch.float32,
        checked=checked(options, loss),
        target_transform=transform,
        ignored=left_out,
    )
    exponents = [name in loss.exponents for name in loss.parameters]
    numbers = [*(transform or TargetTransform()), left_out or 0.0]
    return int(node.plan(Plan(call), REDUCTIONS.index(reduction), call.checked, exponents, numbers))


class Plan(NamedTuple):
    """A call without its tensors."""

    call: LossCall

    def address(
        self,
        name: str,
        input: torch.dtype,
        target: torch.dtype,
        out: torch.dtype | None,
        weight: torch.dtype | None,
        grad_output: torch.dtype | None,
        parameters: str,
    ) -> int:
        """Of the compiled pass for tensors of these dtypes."""
        variant = Variant(
            pass_name=name,
            loss=self.call.loss,
            input=input,
            target=target,
            out=out,
            checked=self.call.checked,
            weight=weight,
            grad_output=grad_output,
            parameters=parameters,
            transformed=self.call.target_transform is not None,
            ignoring=self.call.ignored is not None,
        )
        return ctypes.cast(kernels.function(variant), ctypes.c_void_p).value or 0

    def buffer(self, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Memory for a large result."""
        return buffers.new(like, dtype)

    def grad(
        self, input: Tensor, target: Tensor, weight: Weight, parameters: list[Weight], grad_output: Tensor
    ) -> Tensor:
        """The gradient by the reference, which can be differentiated further."""
        call = self.call._replace(weight=weight, parameters=tuple(parameters), result_dtype=input.dtype)
        scale = grad_output / input.numel() if call.reduction == "mean" else grad_output
        return reference.grad(input, target, call, scale)
