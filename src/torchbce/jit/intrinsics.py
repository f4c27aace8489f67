"""Operations that numba lacks: arrays on the stack, addresses, an atomic counter."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@functools.cache
def stack(element: Any, count: int) -> Any:
    """Return `allocate()`, which gives an array of `count` elements on the stack, for the length of the call."""

    @intrinsic
    def allocate(_context: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            with builder.goto_entry_block():
                address = builder.alloca(context.get_value_type(element), ir.Constant(ir.IntType(32), count))
            address.align = 64
            return address

        return types.CPointer(element)(), generate

    return allocate


@intrinsic
def take_one(_context: Any, counter: Any) -> Any:
    """Increment a counter atomically; return its value before, which no other thread gets."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.CPointer(types.int64)), generate


def _prefetch(_context: Any, pointer: Any, by: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        address = builder.bitcast(builder.gep(args[0], [args[1]]), byte)
        builder.call(ask, [address, *(ir.Constant(word, number) for number in (0, 3, 1))])  # to read, often, data
        return _context.get_dummy_value()

    return types.void(pointer, by), generate


prefetch: Any = intrinsic(_prefetch)  # (pointer, by): the cache line of a later element, that is to be read soon


@functools.cache
def pointer_to(element: Any) -> Any:
    """Return `pointer(address)`."""

    @intrinsic
    def pointer(_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(address), generate

    return pointer


@functools.cache
def offset(element: Any) -> Any:
    """Return `moved(pointer, by)`, which gives the pointer to a later element."""

    @intrinsic
    def moved(_context: Any, pointer: Any, by: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.gep(args[0], [args[1]])

        return types.CPointer(element)(types.CPointer(element), types.int64), generate

    return moved
