"""Reading and writing items of every dtype as they lie in memory, without a copy in another dtype.

float16 and bfloat16 are taken as their bits: a compiled loop has no such numbers, and integer operations vectorise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import types

from torchbce.engine.numba_cpu.arguments import CODES, DTYPES
from torchbce.jit.intrinsics import pointer_to
from torchbce.jit.primitives import as_it_is, bits32, float32_of, inlined, where

i4, u2, f4, f8 = np.int32, np.uint16, np.float32, np.float64

ELEMENTS = {  # how each dtype lies in memory
    torch.float16: types.uint16,
    torch.bfloat16: types.uint16,
    torch.float32: types.float32,
    torch.float64: types.float64,
    torch.bool: types.uint8,
    torch.uint8: types.uint8,
    torch.int8: types.int8,
    torch.int16: types.int16,
    torch.int32: types.int32,
    torch.int64: types.int64,
}


@inlined
def from_bfloat16(bits):
    return float32_of(i4(bits) << i4(16))


@inlined
def to_bfloat16(v):
    bits = bits32(v)
    rounded = (bits + i4(0x7FFF) + ((bits >> i4(16)) & i4(1))) >> i4(16)  # to the nearest, ties to even
    return u2(where(v == v, rounded, i4(0x7FC0)))


@inlined
def from_float16(bits):
    # The exponent's bias differs by 112; multiplying by 2^112 does it for subnormal numbers too.
    size = i4(bits) & i4(0x7FFF)
    value = float32_of(size << i4(13)) * f4(2.0**112)
    value = where(size >= i4(0x7C00), float32_of((size << i4(13)) | i4(0x7F800000)), value)
    return float32_of(bits32(value) | ((i4(bits) & i4(0x8000)) << i4(16)))


@inlined
def to_float16(v):
    sign = (bits32(v) >> i4(16)) & i4(0x8000)
    size = bits32(v) & i4(0x7FFFFFFF)
    # Normal: round the mantissa from 23 bits to 10. Subnormal: adding 0.5 leaves the rounded digits in the low bits.
    normal = (size - i4(112 << 23) + i4(0xFFF) + ((size >> i4(13)) & i4(1))) >> i4(13)
    subnormal = bits32(float32_of(size) + f4(0.5)) - i4(0x3F000000)
    half = where(size < i4(0x38800000), subnormal, normal)
    half = where(size >= i4(0x477FF000), i4(0x7C00), half)  # 65520 and more: infinity
    return u2(sign | where(size > i4(0x7F800000), i4(0x7E00), half))


DECODE = {torch.float16: from_float16, torch.bfloat16: from_bfloat16}
ENCODE = {torch.float16: to_float16, torch.bfloat16: to_bfloat16}


FLOAT16, BFLOAT16, FLOAT32 = CODES[torch.float16], CODES[torch.bfloat16], CODES[torch.float32]
to_halves, to_singles, to_doubles = pointer_to(types.uint16), pointer_to(types.float32), pointer_to(types.float64)


def loader(number: Any) -> Any:
    """`load(code, address, first, into, size)`: items of any dtype as float32 or float64."""
    load = inlined(lambda code, address, first, into, size: None)
    for dtype in DTYPES:
        load = _or_loaded(load, CODES[dtype], pointer_to(ELEMENTS[dtype]), DECODE.get(dtype, as_it_is), number)
    return load


def _or_loaded(otherwise: Any, own: int, pointer_of: Any, decode: Any, number: Any) -> Any:
    @inlined
    def load(code, address, first, into, size):
        if code == own:
            pointer = pointer_of(address)
            for j in range(size):
                into[j] = number(decode(pointer[first + j]))
        else:
            otherwise(code, address, first, into, size)

    return load


@inlined
def store(code, address, first, values, size):
    """Items as floating-point numbers of any dtype, rounded once."""
    if code == FLOAT16:
        narrow = to_halves(address)
        for j in range(size):
            narrow[first + j] = to_float16(f4(values[j]))
    elif code == BFLOAT16:
        narrow = to_halves(address)
        for j in range(size):
            narrow[first + j] = to_bfloat16(f4(values[j]))
    elif code == FLOAT32:
        single = to_singles(address)
        for j in range(size):
            single[first + j] = f4(values[j])
    else:
        double = to_doubles(address)
        for j in range(size):
            double[first + j] = f8(values[j])
