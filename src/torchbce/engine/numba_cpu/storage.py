"""Reading and writing items of every dtype as they lie in memory, without a copy in another dtype.

float16 and bfloat16 are taken as their bits: a compiled loop has no such numbers, and integer operations vectorise.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numba import types

from torchbce.jit.primitives import as_it_is, bits32, float32_of, where
from torchbce.jit.to_llvm import inlined

i4, u2, f4 = np.int32, np.uint16, np.float32

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


@functools.cache
def reader(dtype: torch.dtype, number: Any) -> Any:
    """`read(pointer, position)`: the item as float32 or float64."""
    decode = DECODE.get(dtype, as_it_is)

    @inlined
    def read(pointer, position):
        return number(decode(pointer[position]))

    return read


@functools.cache
def writer(dtype: torch.dtype) -> Any:
    """`write(pointer, position, value)`: the value rounded once."""
    encode = ENCODE.get(dtype, as_it_is)
    number = np.float64 if dtype == torch.float64 else np.float32

    @inlined
    def write(pointer, position, value):
        pointer[position] = encode(number(value))

    return write
