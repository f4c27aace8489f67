"""Calling the compiled passes on tensors."""

from __future__ import annotations

import ctypes
import functools
import math
import struct
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.call import Call, Labels, wide
from torchbce.kernels.cpu import buffers, machine_code, threads
from torchbce.kernels.cpu.variant import CHUNK, FLOATS, INTEGERS
from torchbce.kernels.layout import ClassNumbers, Pattern, class_numbers, in_one_order, pattern

TWO_WORDS = ctypes.c_double * 2
PIECE = 64  # chunks that a thread takes at a time, at most: 2 MiB of float32, a huge page
SLICE = 1024 * PIECE  # half a billion items: between slices, Ctrl-C is seen
NO_RUNS = (1, 1)
NO_LABELS = Labels()


class Options(NamedTuple):
    """A call's options: a variant's fields after `checked`, words, and the tensors that must live until the end."""

    fields: tuple[object, ...] = ()
    addresses: tuple[int, int] = (0, 0)  # weight and grad_output
    words: tuple[int | float, ...] = ()
    layout: str = ""
    alive: tuple[Tensor, ...] = ()


NONE = Options()


def total(
    input: Tensor, target: Tensor, call: Call, *, with_slopes: bool, scale: Tensor | None = None
) -> tuple[Tensor, Tensor | None, bool]:
    """The sum or mean; its derivative by every item's input, times `scale`; whether all values were allowed."""
    mean, options = call.reduction == "mean", NONE
    if not _is_simple(call):
        input, target, options = _options(input, target, call)
    elif not (input.is_contiguous() and target.is_contiguous()):
        input, target = in_one_order(input, target)
    slopes = buffers.new(input, input.dtype) if with_slopes else None
    given = call.denominator
    divisor = input.numel() if given is None else given.item() if isinstance(given, Tensor) else given
    factor = 1.0 if scale is None else scale.item()
    if mean and divisor:
        factor /= divisor
    sums = _run("total", input, target, call, options, slopes, factor)
    value = sums[0] if len(sums) == 1 else _add(sums)
    allowed = value == value  # a value that is not allowed makes the sum NaN
    if mean:
        # The mean of no items is NaN, as torch has it; where all are ignored, their sum is 0, and so is the mean.
        value = value / divisor if divisor else value if input.numel() else math.nan
    return torch.scalar_tensor(value, dtype=call.result_dtype), slopes, allowed


def items(input: Tensor, target: Tensor, call: Call) -> tuple[Tensor, bool]:
    """Every item's loss, and whether all values were allowed."""
    input, target, options = _options(input, target, call)
    out = buffers.new(input, call.result_dtype)
    sums = _run("items", input, target, call, options, out, 1.0)
    return out, not any(map(math.isnan, sums))


def slopes(input: Tensor, target: Tensor, call: Call, grad_output: Tensor) -> Tensor:
    """The derivative of every item's loss by its input, times `grad_output`."""
    input, target, options = _options(input, target, call, grad_output)
    out = buffers.new(input, input.dtype)
    _run("slopes", input, target, call, options, out, 1.0)
    return out


def count(input: Tensor, target: Tensor, call: Call) -> Tensor:
    """How many items count, or what they weigh together if there are weights; 0-d float64."""
    input, target, options = _options(input, target, call)
    return torch.scalar_tensor(_add(_run("count", input, target, call, options, None, 1.0)), dtype=torch.float64)


def scale(slopes: Tensor, factor: Tensor) -> bool:
    """Multiplies in place; False where that would round 16-bit slopes twice, or lose them to underflow."""
    number = factor.item()
    if number == 1.0:
        return True
    if slopes.dtype in (torch.float16, torch.bfloat16):
        return False
    slopes.mul_(number)
    return True


def _is_simple(call: Call) -> bool:
    """Whether a call has no options but its reduction; its last fields compared at once, in few steps."""
    return call.weight is None and call[6:] == SIMPLE and not any(p is not None for p in call.parameters)


SIMPLE = (None,) * 5


def _options(
    input: Tensor, target: Tensor, call: Call, grad_output: Tensor | None = None
) -> tuple[Tensor, Tensor, Options]:
    """Input and target in one order, and the call's options for them."""
    numbers: ClassNumbers | None = None
    if call.class_dim is None:
        input, target = in_one_order(input, target)
    else:
        input, target, numbers = class_numbers(input, target, call.class_dim)
    if _is_simple(call) and grad_output is None:
        return input, target, NONE
    is_wide = wide(input, target)
    weight, incoming = (None if t is None else _pattern(t, input, is_wide) for t in (call.weight, grad_output))
    mask = None if call.mask is None else pattern(call.mask.to(torch.bool).view(torch.uint8), input)
    words = [
        0 if mask is None else mask.values.data_ptr(),
        *(size for found in (weight, incoming, mask) for size in (NO_RUNS if found is None else found[1:])),
        *(NO_RUNS if numbers is None else numbers),
        *(call.labels or NO_LABELS),
        0.0 if call.ignored is None else call.ignored,
    ]
    layout = "9q4d"
    alive = [found.values for found in (weight, incoming, mask) if found is not None]
    kinds = ""
    dtype = torch.float64 if is_wide else torch.float32
    for given in call.parameters:
        if given is None:
            kinds += "-"
        elif isinstance(given, Tensor) and given.numel() > 1:
            found = pattern(given.to(dtype), input)
            alive.append(found.values)
            words += found.values.data_ptr(), *found[1:]
            kinds, layout = kinds + "t", layout + "3q"
        else:
            words += float(given), 0, 0
            kinds, layout = kinds + "n", layout + "d2q"
    fields = (
        None if weight is None else weight.values.dtype,
        None if incoming is None else incoming.values.dtype,
        kinds,
        call.labels is not None,
        call.ignored is not None,
        mask is not None,
        numbers is not None,
    )
    addresses = tuple(0 if found is None else found.values.data_ptr() for found in (weight, incoming))
    return input, target, Options(fields, addresses, tuple(words), layout, tuple(alive))  # type: ignore[arg-type]


def _run(
    name: str, input: Tensor, target: Tensor, call: Call, options: Options, out: Tensor | None, scale: float
) -> list[float]:
    """The sum of each chunk."""
    n = input.numel()
    out_dtype, out_address = (None, 0) if out is None else (out.dtype, out.data_ptr())
    function = machine_code.function(
        (name, call.loss, input.dtype, target.dtype, out_dtype, call.checked, *options.fields)
    )
    pack = _layout(options.layout).pack
    addresses = input.data_ptr(), target.data_ptr(), *options.addresses, out_address
    if n <= CHUNK:  # in few steps, as a call of ten items is all steps
        result = TWO_WORDS()  # the sum, and the counter of pieces
        place = ctypes.addressof(result)
        function(pack(*addresses, place, place + 8, 1, 1, n, scale, *options.words))
        return [result[0]]
    chunks = (n + CHUNK - 1) // CHUNK
    sums, counter = (ctypes.c_double * chunks)(), ctypes.c_int64(0)
    places = *addresses, ctypes.addressof(sums), ctypes.addressof(counter)
    alive = input, target, options, out, sums, counter
    piece = PIECE if chunks >= 8 * PIECE else max(1, chunks // 16)
    for first in range(0, chunks, SLICE):
        last = min(first + SLICE, chunks)
        counter.value = first // piece
        arguments = pack(*places, piece, last, n, scale, *options.words)
        threads.together(function, arguments, -(-(last - first) // piece), alive)
    return list(sums)


@functools.cache
def _layout(words: str) -> struct.Struct:
    """How arguments lie, see `variant`."""
    return struct.Struct("=7q3qd" + words)


def _pattern(weight: Tensor | float, like: Tensor, is_wide: bool) -> Pattern:
    if not isinstance(weight, Tensor):  # read in the width that the items are computed in: no variant of its own
        weight = torch.scalar_tensor(weight, dtype=torch.float64 if is_wide else torch.float32)
    return pattern(weight if weight.dtype in FLOATS + INTEGERS else weight.double(), like)


def _add(sums: list[float]) -> float:
    """The exactly rounded sum; with infinities and NaN, what they make of it."""
    try:
        return math.fsum(sums)
    except (ValueError, OverflowError):
        return sum(sums)
