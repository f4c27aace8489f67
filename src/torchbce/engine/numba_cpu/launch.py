"""Calling the compiled passes on tensors. The functions are those of `select.Kernels`."""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.engine.call import FLOATS, INTEGERS, LossCall, TargetTransform, computed_in_float64
from torchbce.engine.layout import ONCE, ClassNumbers, Pattern, address, class_numbers, in_one_order, pattern
from torchbce.engine.numba_cpu import arguments, buffers, kernels, threads
from torchbce.engine.numba_cpu.arguments import OptionalWords, pack_plain
from torchbce.engine.numba_cpu.variant import CHUNK
from torchbce.formula.powers import PRODUCTS

TWO_WORDS = ctypes.c_double * 2
PIECE = 64  # chunks that a thread takes at a time, at most: 2 MiB of float32, a huge page
SLICE = 1024 * PIECE  # half a billion items: between slices, Ctrl-C is seen
UNCHANGED = TargetTransform()
FLOAT32_MAX = torch.finfo(torch.float32).max


class _Options(NamedTuple):
    """A call's options as a pass takes them.

    variant: the fields of a `Variant` after `checked`. words: packed arguments. owners: the tensors behind the
    addresses, which must live until the pass has ended. classes: how many items share a target.
    """

    variant: tuple[object, ...] = ()
    weight: int = 0
    grad_output: int = 0
    words: bytes = b""
    owners: tuple[Tensor, ...] = ()
    classes: int = 1


NO_OPTIONS = _Options()


def forward(
    input: Tensor, target: Tensor, call: LossCall, *, need_grad: bool = False, scale: Tensor | None = None
) -> tuple[Tensor, Tensor | None, bool]:
    if call.reduction == "none":
        return _items(input, target, call)
    options = NO_OPTIONS
    if not (call.plain and input.is_contiguous() and target.is_contiguous()):
        input, target, options = _prepared(input, target, call)
    grad_input = buffers.new(input, input.dtype) if need_grad else None
    given, factor = call.denominator, 1.0 if scale is None else scale.item()
    divisor = input.numel() if given is None else given.item() if isinstance(given, Tensor) else given
    mean = call.reduction == "mean"
    if mean and divisor:
        factor /= divisor
    sums = _run("total", input, target, call, options, grad_input, factor)
    value = sums[0] if len(sums) == 1 else _add(sums)
    allowed = value == value  # a value that is not allowed makes the sum NaN
    if mean:
        # The mean of no items is NaN, as torch has it; where all are ignored, their sum is 0, and so is the mean.
        value = value / divisor if divisor else value if input.numel() else math.nan
    return _scalar(value, call.result_dtype), grad_input, allowed


def grad(input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor) -> Tensor:
    input, target, options = _prepared(input, target, call, grad_output)
    out = buffers.new(input, input.dtype)
    _run("grad_input", input, target, call, options, out, 1.0)
    return out


def count(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    input, target, options = _prepared(input, target, call)
    return torch.scalar_tensor(_add(_run("count", input, target, call, options, None, 1.0)), dtype=torch.float64)


def rescale(grad_input: Tensor, factor: Tensor, input: Tensor, target: Tensor, call: LossCall) -> bool:
    """False where it would round a 16-bit gradient twice, or lose it to underflow."""
    number = factor.item()
    if number == 1.0:
        return True
    if grad_input.dtype in (torch.float16, torch.bfloat16):
        return False
    grad_input.mul_(number)
    return True


def _scalar(value: float, dtype: torch.dtype) -> Tensor:
    if FLOAT32_MAX < abs(value) < math.inf:  # scalar_tensor refuses it; a sum of that dtype would be infinite
        return torch.scalar_tensor(value, dtype=torch.float64).to(dtype)
    return torch.scalar_tensor(value, dtype=dtype)


def _items(input: Tensor, target: Tensor, call: LossCall) -> tuple[Tensor, None, bool]:
    input, target, options = _prepared(input, target, call)
    out = buffers.new(input, call.result_dtype)
    sums = _run("items", input, target, call, options, out, 1.0)
    return out, None, not any(map(math.isnan, sums))


def _is_plain(call: LossCall) -> bool:
    """Whether a call has no option but its reduction."""
    return (
        call.weight is None
        and call.counts_all
        and call.denominator is None
        and all(parameter is None for parameter in call.parameters)
    )


def _prepared(
    input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor | None = None
) -> tuple[Tensor, Tensor, _Options]:
    """Input and target in one order, and the call's options for them."""
    numbers: ClassNumbers | None = None
    if call.class_dim is None:
        input, target = in_one_order(input, target)
    else:
        input, target, numbers = class_numbers(input, target, call.class_dim)
    if grad_output is None and _is_plain(call):
        return input, target, NO_OPTIONS
    wide = computed_in_float64(input, target)
    weight = None if call.weight is None else _pattern(call.weight, input, wide)
    incoming = None if grad_output is None else _pattern(grad_output, input, wide)
    mask = None if call.mask is None else pattern(call.mask.to(torch.bool).view(torch.uint8), input)
    kinds, parameters, owners = _parameters(call, input, wide)
    transform, ignored = call.target_transform, call.ignored
    words = OptionalWords(
        _address(mask),
        *(ONCE if weight is None else weight[1:]),
        *(ONCE if incoming is None else incoming[1:]),
        *(ONCE if mask is None else mask[1:]),
        *(numbers or ONCE),
        *(transform or UNCHANGED),
        0.0 if ignored is None else ignored,
    )
    variant = (
        None if weight is None else weight.values.dtype,
        None if incoming is None else incoming.values.dtype,
        kinds,
        transform is not None,
        ignored is not None,
        mask is not None,
        numbers is not None,
    )
    options = _Options(
        variant,
        _address(weight),
        _address(incoming),
        arguments.pack_optional(words, kinds, parameters),
        (*owners, *(found.values for found in (weight, incoming, mask) if found is not None)),
        1 if numbers is None else numbers.classes,
    )
    return input, target, options


def _parameters(call: LossCall, input: Tensor, wide: bool) -> tuple[str, list[float], list[Tensor]]:
    """The kinds of the loss's parameters (see `Variant`), the words of those that are given, and their tensors."""
    kinds, words, owners = "", list[float](), list[Tensor]()
    for name, value in zip(call.loss.parameters, call.parameters, strict=True):
        if value is None:
            kinds += "-"
        elif isinstance(value, Tensor) and value.numel() != 1:
            found = pattern(value.to(torch.float64 if wide else torch.float32), input)
            owners.append(found.values)
            words += _address(found), *found[1:]
            kinds += "t"
        else:
            number = float(value)
            words += number, 0, 0
            kinds += str(int(number)) if number in PRODUCTS and name in call.loss.exponents else "n"
    return kinds, words, owners


def _run(
    name: str, input: Tensor, target: Tensor, call: LossCall, options: _Options, out: Tensor | None, scale: float
) -> list[float]:
    """The sum of each chunk."""
    items = input.numel()
    if items == 0:
        return [0.0]
    out_dtype, out_address = (None, 0) if out is None else (out.dtype, address(out, items))
    input_address, target_address = address(input, items), address(target, items // options.classes)
    function = kernels.function((name, call.loss, input.dtype, target.dtype, out_dtype, call.checked, *options.variant))
    chunks = (items + CHUNK - 1) // CHUNK
    small = chunks <= 1
    results = TWO_WORDS() if small else (ctypes.c_double * (chunks + 1))()  # the sums, and the counter of pieces
    place = ctypes.addressof(results)
    counter = place + 8 * max(1, chunks)
    piece = PIECE if chunks >= 8 * PIECE else max(1, chunks // 16)
    for first in range(0, max(1, chunks), SLICE):
        last = min(first + SLICE, max(1, chunks))
        words = pack_plain(
            input=input_address,
            target=target_address,
            weight=options.weight,
            grad_output=options.grad_output,
            out=out_address,
            sums=place,
            next_piece=counter,
            piece=piece,
            end=last,
            items=items,
            scale=scale,
        )
        packed = words + options.words
        if small:  # overhead is what a call of ten items costs
            function(packed)
            return [results[0]]
        ctypes.c_int64.from_address(counter).value = first // piece
        threads.run_together(function, packed, -(-(last - first) // piece), (input, target, options, out, results))
    return list(results)[:chunks]


def _address(found: Pattern | None) -> int:
    return 0 if found is None else address(found.values, found.period)


def _pattern(weight: Tensor | float, like: Tensor, wide: bool) -> Pattern:
    if not isinstance(weight, Tensor):  # read in the width that the items are computed in: no variant of its own
        weight = torch.scalar_tensor(weight, dtype=torch.float64 if wide else torch.float32)
    return pattern(weight if weight.dtype in FLOATS + INTEGERS else weight.double(), like)


def _add(sums: list[float]) -> float:
    """The exactly rounded sum; with infinities and NaN, what they make of it."""
    try:
        return math.fsum(sums)
    except (ValueError, OverflowError):
        return sum(sums)
