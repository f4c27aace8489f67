"""The passes over the items as Triton kernels: partial sums with or without slopes, their sum, items, slopes.

Each program sums its own block in float64 and one program adds the blocks in order: no atomics, so the same bits every
time. Nothing waits for the host.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_weight(pointer, i, inside, inner, period, number: tl.constexpr):
    """The broadcast weight of item i; see `layout.Pattern`."""
    return tl.load(pointer + (i // inner) % period, mask=inside, other=0.0).to(number)


@triton.jit
def apply(formula: tl.constexpr, x, y, pos_weight, takes_pos_weight: tl.constexpr):
    return formula(x, y, pos_weight) if takes_pos_weight else formula(x, y)


@triton.jit
def store(pointer, value, inside):
    """Rounded to what the pointer holds; float64 does not become a 16-bit number in one step."""
    if pointer.dtype.element_ty != tl.float64:
        value = value.to(tl.float32)
    tl.store(pointer, value.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def item_pass(
    X,
    Y,
    W,
    P,
    G,
    OUT,
    SUMS,
    WRONGS,
    n,
    divisor,  # whole: Triton passes a Python float as float32
    w_inner,
    w_period,
    p_inner,
    p_period,
    g_inner,
    g_period,
    value: tl.constexpr,
    slope: tl.constexpr,
    defined: tl.constexpr,
    takes_pos_weight: tl.constexpr,
    what: tl.constexpr,  # "total", "total and slopes", "items" or "slopes"
    number: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One block of items: their sum, and into OUT their losses, or their slopes times G / divisor."""
    program = tl.program_id(0)
    i = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    x = tl.load(X + i, mask=inside, other=0.5).to(number)
    y = tl.load(Y + i, mask=inside, other=0.0).to(number)
    pos_weight = tl.full((BLOCK,), 1.0, number)
    if P is not None:
        pos_weight = load_weight(P, i, inside, p_inner, p_period, number)
    if what != "slopes":
        loss = apply(value, x, y, pos_weight, takes_pos_weight)
        if W is not None:
            loss = loss * load_weight(W, i, inside, w_inner, w_period, number)
        allowed = defined(x, y) if WRONGS is not None else inside
        wrong = tl.sum(tl.where(inside & (allowed == 0), 1, 0), axis=0)
        if WRONGS is not None:
            tl.store(WRONGS + program, wrong)
        if what == "items":
            store(OUT + i, loss, inside)
        else:
            total = tl.sum(tl.where(inside, loss.to(tl.float64), 0.0), axis=0)
            tl.store(SUMS + program, tl.where(wrong > 0, float("nan"), total))
    if what == "slopes" or what == "total and slopes":
        step = apply(slope, x, y, pos_weight, takes_pos_weight) * (1.0 / tl.full((), divisor, number))
        if G is not None:
            step = step * load_weight(G, i, inside, g_inner, g_period, number)
        if W is not None:
            step = step * load_weight(W, i, inside, w_inner, w_period, number)
        store(OUT + i, step, inside)


@triton.jit
def add_up(SUMS, WRONGS, RESULT, WRONG, blocks, divisor, BLOCK: tl.constexpr):
    """The blocks' sums, in order, divided; and how many values were not allowed."""
    total = tl.zeros((BLOCK,), dtype=tl.float64)
    wrong = tl.zeros((BLOCK,), dtype=tl.int32)
    for start in range(0, blocks, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(SUMS + i, mask=i < blocks, other=0.0)
        if WRONGS is not None:
            wrong += tl.load(WRONGS + i, mask=i < blocks, other=0)
    store(RESULT, tl.sum(total, axis=0) / tl.full((), divisor, tl.float64), None)
    if WRONGS is not None:
        tl.store(WRONG, tl.sum(wrong, axis=0))


@triton.jit
def multiply(SLOPES, FACTOR, n, BLOCK: tl.constexpr):
    """Slopes times a factor in place; where it is 1, as after `loss.backward()`, memory is not touched."""
    factor = tl.load(FACTOR)
    if factor != 1.0:
        i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        store(SLOPES + i, tl.load(SLOPES + i, mask=i < n) * factor, i < n)
