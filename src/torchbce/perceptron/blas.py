"""Call BLAS's matrix products from compiled code, through the address that scipy exports.

All matrices lie row after row. BLAS has them column after column, so it computes the transpose of the product.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from torchbce.jit.primitives import spliced

NOT_TRANSPOSED, TRANSPOSED = ord("N"), ord("T")


@functools.cache
def sgemm_address() -> int | None:
    """Address of the product of float32 matrices; None where this scipy's takes other integers than C's int."""
    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__["sgemm"]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    if not signature.startswith(b"void (char *, char *, int *, int *, int *,"):
        return None
    return int(pointer_of(capsule, signature))


def _sgemm(
    _context: Any,
    sgemm: Any,
    transpose_a: Any,
    transpose_b: Any,
    m: Any,
    n: Any,
    k: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    c: Any,
    ldc: Any,
) -> Any:
    """Compute c = a b, where c has m rows and n columns."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        byte, integer, number = ir.IntType(8), ir.IntType(32), ir.FloatType()

        def by_address(value: Any, kind: Any) -> Any:
            with builder.goto_entry_block():
                address = builder.alloca(kind)
            builder.store(value, address)
            return address

        def character(value: Any) -> Any:
            return by_address(builder.trunc(value, byte), byte)

        def size(value: Any) -> Any:
            return by_address(builder.trunc(value, integer), integer)

        def matrix(value: Any) -> Any:
            return builder.inttoptr(value, number.as_pointer())

        address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc = args
        one, zero = (by_address(ir.Constant(number, value), number) for value in (1.0, 0.0))
        arguments = [
            character(transpose_a),
            character(transpose_b),
            size(m),
            size(n),
            size(k),
            one,
            matrix(a),
            size(lda),
            matrix(b),
            size(ldb),
            zero,
            matrix(c),
            size(ldc),
        ]
        function = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
        builder.call(builder.inttoptr(address, function.as_pointer()), arguments)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12), generate


sgemm_call: Any = intrinsic(_sgemm)


@spliced
def product(sgemm, m, n, k, a, b, c):
    """Compute c[m, n] = a[m, k] b[k, n]"""
    sgemm_call(sgemm, NOT_TRANSPOSED, NOT_TRANSPOSED, n, m, k, b, n, a, k, c, n)


@spliced
def product_by_transpose(sgemm, m, n, k, a, b, c):
    """Compute c[m, n] = a[m, k] b[n, k]^T"""
    sgemm_call(sgemm, TRANSPOSED, NOT_TRANSPOSED, n, m, k, b, k, a, k, c, n)


@spliced
def product_of_transpose(sgemm, m, n, k, a, b, c):
    """Compute c[m, n] = a[k, m]^T b[k, n]"""
    sgemm_call(sgemm, NOT_TRANSPOSED, TRANSPOSED, n, m, k, b, n, a, m, c, n)
