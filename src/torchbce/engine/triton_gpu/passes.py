"""The passes over the items as Triton kernels: partial sums with or without gradient, their sum, items, gradient.

Each program sums its own blocks in float64 and one program adds these sums in order: no atomics, so the same bits every
time. Nothing waits for the host.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_weight(pointer, i, inside, inner, period, number: tl.constexpr):
    """Return the broadcast weight of item i; see `layout.Pattern`."""
    return tl.load(pointer + (i // inner) % period, mask=inside, other=0.0).to(number)


@triton.jit
def load_parameters(values, runs, i, inside, number: tl.constexpr):
    """Return the loss's parameters of item i, a tuple."""
    parameters = ()
    for k in tl.static_range(len(values)):
        inner, period = runs[k]
        parameters = parameters + (load_weight(values[k], i, inside, inner, period, number),)  # type: ignore[assignment]  # noqa: RUF005
    return parameters


@triton.jit
def load_target(
    Y,
    MASK,
    i,
    inside,
    mask_run,
    classes,
    OPTIONS,
    number: tl.constexpr,
    ignoring: tl.constexpr,
    transformed: tl.constexpr,
    by_class: tl.constexpr,
):
    """Return an item's target before smoothing and after, and whether it counts; `classes` is (inner, count)."""
    if ignoring:
        ignored = tl.load(OPTIONS + 3)
    if by_class:
        inner, count = classes
        position = i // (inner * count) * inner + i % inner
        own = tl.load(Y + position, mask=inside, other=0).to(tl.float64)
        counted = own != ignored if ignoring else inside
        here = ((i // inner) % count).to(tl.float64)
        known = (own >= 0) & (own < count)
        y = tl.where(known, tl.where(own == here, 1.0, 0.0), float("nan")).to(number)
    else:
        y = tl.load(Y + i, mask=inside, other=0.0).to(number)
        counted = inside
        if ignoring:
            ignored = ignored.to(number)
            missing = tl.where(ignored != ignored, tl.where(y != y, 1, 0), tl.where(y == ignored, 1, 0))
            counted = inside & (missing == 0)
    if MASK is not None:
        inner, period = mask_run
        counted = counted & (tl.load(MASK + (i // inner) % period, mask=inside, other=0) != 0)
    if ignoring or MASK is not None:
        y = tl.where(counted, y, 0.0)
    checked = y
    if transformed:
        threshold, factor, shift = (
            tl.load(OPTIONS).to(number),
            tl.load(OPTIONS + 1).to(number),
            tl.load(OPTIONS + 2).to(number),
        )
        hard = tl.where(y > threshold, 1.0, 0.0).to(number)
        checked = tl.where(threshold != threshold, y, tl.where(y != y, y, hard))
        y = checked * factor + shift
    return checked, y, counted


@triton.jit
def store(pointer, value, inside):
    """Store a value in the pointer's dtype; float64 does not become a 16-bit number in one step."""
    if pointer.dtype.element_ty != tl.float64:
        value = value.to(tl.float32)
    tl.store(pointer, value.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def divisor_of(n, DIVISOR, by_count: tl.constexpr):
    """Return the divisor of a sum, in float64: the number of items, a number on the device, or 1."""
    divisor = tl.full((), 1.0, tl.float64)
    if DIVISOR is not None:
        divisor = tl.load(DIVISOR)
        divisor = tl.where(divisor == 0, 1.0, divisor)  # nothing counts: a mean of 0
    elif by_count:
        divisor = divisor * n
    return divisor


@triton.jit
def item_pass(
    X,
    Y,
    W,
    G,
    MASK,
    OUT,
    SUMS,
    WRONGS,
    RESULT,
    DIVISOR,  # a number on the device, as the count of items that count may be; Triton passes floats as float32
    TARGET_OPTIONS,  # four numbers, where there are any: threshold, factor, shift, ignored
    parameters,
    n,
    w_run,
    g_run,
    mask_run,
    parameter_runs,
    classes,
    value: tl.constexpr,
    derivative: tl.constexpr,
    defined: tl.constexpr,
    what: tl.constexpr,  # "total", "total and gradient", "items", "gradient" or "count"
    number: tl.constexpr,
    ignoring: tl.constexpr,
    transformed: tl.constexpr,
    by_class: tl.constexpr,
    by_count: tl.constexpr,  # a mean of n items
    unless_one: tl.constexpr,  # there is nothing to do where G is 1
    BLOCKS: tl.constexpr,  # of each program
    BLOCK: tl.constexpr,
):
    """Compute the sum of some blocks of items, and write to OUT their losses or their derivatives times G / divisor.

    The sum goes to SUMS, or where one program does all, divided to RESULT.
    """
    if unless_one:  # noqa: SIM102 - Triton decides the outer one when it compiles
        if tl.load(G) == 1.0:
            return
    program = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float64)
    wrong = tl.zeros((BLOCK,), tl.int32)
    divisor = divisor_of(n, DIVISOR, by_count)
    for block in range(BLOCKS):
        i = (program.to(tl.int64) * BLOCKS + block) * BLOCK + tl.arange(0, BLOCK)
        inside = i < n
        checked, y, counted = load_target(
            Y, MASK, i, inside, mask_run, classes, TARGET_OPTIONS, number, ignoring, transformed, by_class
        )
        weight = tl.full((BLOCK,), 1.0, number)
        if W is not None:
            weight = load_weight(W, i, inside, w_run[0], w_run[1], number)
        if what == "count":
            total += tl.where(inside & counted, weight.to(tl.float64), 0.0)
        else:
            x = tl.load(X + i, mask=inside, other=0.5).to(number)
            if ignoring or MASK is not None:
                x = tl.where(counted, x, 0.5)
            p = load_parameters(parameters, parameter_runs, i, inside, number)
            if what != "gradient":
                loss = value(x, y, *p)
                if W is not None:
                    loss = loss * weight
                if ignoring or MASK is not None:
                    loss = tl.where(counted, loss, 0.0)
                wrong += tl.where(inside & (defined(x, checked) == 0), 1, 0)
                if what == "items":
                    store(OUT + i, loss, inside)
                else:
                    total += tl.where(inside, loss.to(tl.float64), 0.0)
            if what == "gradient" or what == "total and gradient":
                step = derivative(x, y, *p) * (1.0 / divisor.to(number))
                if G is not None:
                    step = step * load_weight(G, i, inside, g_run[0], g_run[1], number)
                if W is not None:
                    step = step * weight
                if ignoring or MASK is not None:
                    step = tl.where(counted, step, 0.0)
                store(OUT + i, step, inside)
    wrongs = tl.sum(wrong, axis=0)
    if WRONGS is not None:
        tl.store(WRONGS + program, wrongs)
    if what != "items" and what != "gradient":
        block_sum = tl.sum(total, axis=0)
        if WRONGS is not None:
            block_sum = tl.where(wrongs > 0, float("nan"), block_sum)
        if RESULT is not None:
            store(RESULT, block_sum / divisor, None)
        else:
            tl.store(SUMS + program, block_sum)


@triton.jit
def add_up(SUMS, WRONGS, RESULT, WRONG, DIVISOR, n, programs, by_count: tl.constexpr, BLOCK: tl.constexpr):
    """Add the programs' sums in order and divide; count the values that are not allowed."""
    total = tl.zeros((BLOCK,), dtype=tl.float64)
    wrong = tl.zeros((BLOCK,), dtype=tl.int32)
    for start in range(0, programs, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(SUMS + i, mask=i < programs, other=0.0)
        if WRONGS is not None:
            wrong += tl.load(WRONGS + i, mask=i < programs, other=0)
    store(RESULT, tl.sum(total, axis=0) / divisor_of(n, DIVISOR, by_count), None)
    if WRONGS is not None:
        tl.store(WRONG, tl.sum(wrong, axis=0))


@triton.jit
def multiply(GRAD_INPUT, FACTOR, n, BLOCKS: tl.constexpr, BLOCK: tl.constexpr):
    """Multiply a gradient in place; where the factor is 1, as after `loss.backward()`, memory is not touched."""
    factor = tl.load(FACTOR)
    if factor != 1.0:
        for block in range(BLOCKS):
            i = (tl.program_id(0).to(tl.int64) * BLOCKS + block) * BLOCK + tl.arange(0, BLOCK)
            store(GRAD_INPUT + i, tl.load(GRAD_INPUT + i, mask=i < n) * factor, i < n)
