"""A call and its options as compiled passes take them."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce.engine.call import FLOATS, INTEGERS, LossCall, TargetTransform, Weight, computed_in_float64
from torchbce.engine.layout import ClassNumbers, address, class_numbers, in_one_order, pattern
from torchbce.engine.numba_cpu import kernels
from torchbce.engine.numba_cpu.arguments import ABSENT, CODES, NUMBER, RESULTS, Column, OptionArguments, pack_options
from torchbce.engine.numba_cpu.variant import (
    PLAIN_DTYPES,
    Formula,
    Plain,
    Variant,
    formula_kinds,
    general_variant,
    plain_kinds,
)

UNCHANGED = TargetTransform()
NOTHING = Column(0, ABSENT)


class Prepared(NamedTuple):
    """A call with the pass that computes it.

    Attributes:
        function: the compiled pass.
        input, target: in one order.
        classes: how many items share a target.
        options: packed, if the pass takes any.
        owners: the tensors behind the addresses, which must live until the pass has ended.
    """

    function: Any
    input: Tensor
    target: Tensor
    classes: int = 1
    options: bytes = b""
    owners: tuple[Tensor, ...] = ()


def prepared(
    result: int,
    input: Tensor,
    target: Tensor,
    call: LossCall,
    out_dtype: torch.dtype | None,
    grad_output: Tensor | None = None,
) -> Prepared:
    """A call that is asked for one of `RESULTS`, which is written in `out_dtype`."""
    numbers: ClassNumbers | None = None
    if call.class_dim is None:
        input, target = in_one_order(input, target)
    else:
        input, target, numbers = class_numbers(input, target, call.class_dim)
        target = target.to(torch.int64)
    plain = plain_function(input, target, call) if result == RESULTS.total else None
    if plain is not None:
        return Prepared(plain, input, target)
    loss, wide = call.loss, computed_in_float64(input, target)
    values = [
        default if value is None else value for value, default in zip(call.parameters, loss.defaults, strict=True)
    ]
    owners = list[Tensor]()
    columns = [
        _of_items(input),
        _of_items(target),
        _column(call.weight, input, owners),
        _column(grad_output, input, owners),
        _column(None if call.mask is None else call.mask.to(torch.bool), input, owners),
        *(_parameter(value, input, wide, owners) for value in values),
    ]
    transform = call.target_transform or UNCHANGED
    options = OptionArguments(
        formula=address_of(Formula(loss, wide, formula_kinds(loss, values))),
        result=result,
        by_product=result == RESULTS.total and _may_be_product(call, wide),
        checked=call.checked,
        out_dtype=ABSENT if out_dtype is None else CODES[out_dtype],
        transformed=call.target_transform is not None,
        threshold=transform.threshold,
        factor=transform.factor,
        shift=transform.shift,
        ignoring=call.ignored is not None,
        ignored=0.0 if call.ignored is None else call.ignored,
        classes=0 if numbers is None else numbers.classes,
        class_inner=1 if numbers is None else numbers.inner,
        columns=len(columns),
    )
    function = kernels.function(general_variant(wide, len(values)))
    classes = 1 if numbers is None else numbers.classes
    return Prepared(function, input, target, classes, pack_options(options, columns), tuple(owners))


def plain_function(input: Tensor, target: Tensor, call: LossCall) -> Any | None:
    """The pass for a total without options; None where the call has some, or its tensors need the general pass."""
    loss, dtype = call.loss, input.dtype
    if target.dtype is not dtype or dtype not in PLAIN_DTYPES or call.checked != loss.checks_input:
        return None
    if call.plain:
        return kernels.function(Plain(loss, dtype, "-" * len(loss.parameters)))
    if call.weight is not None or not call.counts_all:
        return None
    kinds = plain_kinds(loss, call.parameters)
    return None if kinds is None else kernels.function(Plain(loss, dtype, kinds))


@functools.cache
def address_of(variant: Variant) -> int:
    """Where a variant's machine code begins."""
    return ctypes.cast(kernels.function(variant), ctypes.c_void_p).value or 0


def _may_be_product(call: LossCall, wide: bool) -> bool:
    has_parameters = any(parameter is not None for parameter in call.parameters)
    return call.loss.factored is not None and call.weight is None and not (wide or has_parameters)


def _of_items(tensor: Tensor) -> Column:
    return Column(address(tensor, tensor.numel()), CODES[tensor.dtype], 1, max(1, tensor.numel()))


def _column(weight: Weight, like: Tensor, owners: list[Tensor]) -> Column:
    if weight is None:
        return NOTHING
    if not isinstance(weight, Tensor):
        return Column(float(weight), NUMBER)
    found = pattern(weight if weight.dtype in FLOATS + INTEGERS else weight.double(), like)
    owners.append(found.values)
    return Column(address(found.values, found.period), CODES[found.values.dtype], found.inner, found.period)


def _parameter(value: Weight, like: Tensor, wide: bool, owners: list[Tensor]) -> Column:
    if isinstance(value, Tensor):
        if value.numel() == 1:
            return Column(float(value), NUMBER)
        value = value.to(torch.float64 if wide else torch.float32)
    return _column(value, like, owners)
