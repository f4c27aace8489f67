"""The kernels against mpmath and against the reference: each is forced, so that none can fall back in silence."""

from __future__ import annotations

import math
import random
from itertools import product

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gold
from kernel_calls import ENGINES, LOSSES, both, call, data
from torchbce import functional
from torchbce.engine import select

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


TARGETS = [*FLOATS, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def grid(name, dtype):
    values = gold.PROBABILITIES if name == "bce" else gold.LOGITS
    pairs = torch.tensor(list(product(values, gold.TARGETS)), dtype=dtype)
    return pairs[:, 0].contiguous(), pairs[:, 1].contiguous()


def worst(name, values, x, y, suffix="", *constants):
    errors = []
    for value, a, b in zip(values.tolist(), x.tolist(), y.tolist(), strict=True):
        exact = getattr(gold, name + suffix)(a, b, *constants)
        scale = max(abs(exact), gold.cancelling_terms(name + suffix, a, b, *constants))
        errors.append((gold.ulps(value, exact, values.dtype, scale), a, b))
    return max(errors)


# Exactness


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["exp", "log", "log1p"])
def test_elementary_functions_are_within_their_bounds(name, dtype):
    import numba

    from torchbce.jit import primitives

    single = dtype == torch.float32
    function = (primitives.FLOAT32 if single else primitives.FLOAT64)[name]
    run = numba.vectorize(lambda v: function(v))
    number = np.float32 if single else np.float64
    rng = np.random.default_rng(0)
    low, high = (-103.0, 88.7) if single else (-744.0, 709.7)
    spread = np.exp(rng.uniform(low, high - 1, 1500))  # over all exponents, subnormal numbers among them
    arguments = {
        "exp": [rng.uniform(low, high, 1500), rng.uniform(-1, 1, 1500), -spread[spread < 1]],
        "log": [spread, rng.uniform(0.5, 1.5, 1500)],
        "log1p": [spread, -spread[spread < 0.99], rng.uniform(-0.9, 1, 1500)],
    }[name]
    x = np.concatenate(arguments).astype(number)
    x = x[(x != 0) | (name != "log")]
    with np.errstate(all="ignore"):
        y = run(x)
    assert y.dtype == number
    errors = [
        (gold.ulps(float(b), getattr(mpmath, name)(mpmath.mpf(float(a))), dtype), a) for a, b in zip(x, y, strict=True)
    ]
    assert max(errors)[0] <= (1 if single else 2), max(errors)
    inf, nan = number(np.inf), number(np.nan)
    special = {
        "exp": {inf: inf, -inf: 0, number(0): 1, number(-800): 0},
        "log": {inf: inf, number(0): -inf, number(-0.0): -inf, number(1): 0},
        "log1p": {inf: inf, number(-1): -inf, number(0): 0},
    }[name]
    outside = [nan] if name == "exp" else [nan, number(-2), -inf]
    with np.errstate(all="ignore"):
        assert {a: run(a) for a in special} == special
        assert all(np.isnan(run(a)) for a in outside)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["exp_unit", "log1p_unit", "log_unit of 0", "log_unit of 1"])
def test_functions_of_the_unit_interval_are_within_their_bounds(name, dtype):
    import numba

    from torchbce.jit import primitives

    single = dtype == torch.float32
    number, table = (np.float32, primitives.FLOAT32) if single else (np.float64, primitives.FLOAT64)
    function, base = table[name.split()[0]], number(name[-1] == "1")
    run, exact = {
        "exp_unit": (numba.vectorize(lambda v: function(v)), mpmath.exp),
        "log1p_unit": (numba.vectorize(lambda v: function(v)), mpmath.log1p),
        "log_unit of 0": (numba.vectorize(lambda v: function(base, v)), mpmath.log),
        "log_unit of 1": (numba.vectorize(lambda v: function(base, -v)), lambda v: mpmath.log1p(-v)),
    }[name]
    rng = np.random.default_rng(0)
    low = -103.0 if single else -744.0
    over = rng.uniform(low, 0, 3000)
    ends = [0.0, 0.5, np.nextafter(number(0.5), number(1)), np.nextafter(number(0.5), number(0))]
    near_one = 1 - np.exp(rng.uniform(low / 8, 0, 500))
    x = np.concatenate([over, rng.uniform(-1, 0, 500)] if name == "exp_unit" else [np.exp(over), near_one, ends])
    x = np.unique(x.astype(number))
    if name.startswith("log_unit"):
        x = x[(x > 0) & (x < 1)]
        assert run(number(base)) < -100  # log(0): some number below every floor
    y = run(x)
    assert y.dtype == number
    errors = [(gold.ulps(float(b), exact(mpmath.mpf(float(a))), dtype), a) for a, b in zip(x, y, strict=True)]
    # log1p(1) = 1 - (1/2 - s ...): the three roundings of 1, of the difference and of the square may add up.
    bound = 1.25 if name == "log1p_unit" else 1
    assert max(errors)[0] <= (bound if single else 2), max(errors)
    if name == "exp_unit":
        assert run(number(0)) == 1
        assert run(number(-np.inf)) == 0
    if not name.startswith("log_unit"):
        with np.errstate(all="ignore"):
            assert np.isnan(run(number(np.nan)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("engine", ENGINES)
def test_items_and_slopes_match_mpmath(engine, name, dtype):
    x, y = grid(name, dtype)
    items, slopes = both(engine, name, x, y, reduction="none")
    ulps, at_x, at_y = worst(name, items, x, y)
    assert ulps <= (3 if dtype == torch.float32 else 6), f"loss at x={at_x}, y={at_y}"
    ulps, at_x, at_y = worst(name, slopes, x, y, "_dx")
    assert ulps <= 7, f"slope at x={at_x}, y={at_y}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("pos_weight", [1e-8, 1e-3, 0.25, 7.0, 1e5])
def test_pos_weight_matches_mpmath(engine, name, pos_weight):
    pos_weight = torch.tensor(pos_weight).item()  # the float32 that the kernel is given
    x, y = grid(name, torch.float32)
    items, slopes = both(engine, name, x, y, reduction="none", pos_weight=pos_weight)
    # Half a unit of a subnormal exp(-104) or probability, times pos_weight, is the most that can be lost.
    assert worst(name, items, x, y, "", pos_weight)[0] <= max(3, pos_weight / 2)
    assert worst(name, slopes, x, y, "_dx", pos_weight)[0] <= max(7, pos_weight / 2)


@pytest.mark.parametrize("count", [1, 31, 33, 200])  # item by item, in rows, as a product
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_means_match_mpmath(name, dtype, count):
    for a, b in zip(*(v.tolist() for v in grid(name, dtype)), strict=True):
        mean, slopes = both("cpu", name, torch.full((count,), a, dtype=dtype), torch.full((count,), b, dtype=dtype))
        exact = getattr(gold, name)(a, b)
        # In float64 1 - y, the product, the sum and the division by the count are four roundings of half a unit each.
        assert gold.ulps(mean.item(), exact, dtype) <= (2 if dtype == torch.float32 else 2.5), (
            f"mean of {count} items at x={a}, y={b}"
        )
        slope = getattr(gold, name + "_dx")(a, b) / count
        scale = max(abs(slope), gold.cancelling_terms(name + "_dx", a, b) / count)
        assert gold.ulps(slopes[-1].item(), slope, dtype, scale) <= 8, f"slope of {count} items at x={a}, y={b}"


@pytest.mark.parametrize("name", LOSSES)
def test_means_of_mixed_items_match_mpmath(name):
    rng = random.Random(0)
    values = gold.PROBABILITIES if name == "bce" else [v for v in gold.LOGITS if abs(v) < 1e3]
    for targets in ([0.0, 1.0], gold.TARGETS):
        pairs = [(rng.choice(values), rng.choice(targets)) for _ in range(3000)]
        x, y = torch.tensor(pairs).T.contiguous()
        exact = sum(getattr(gold, name)(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)) / len(pairs)
        for engine in ENGINES:
            assert gold.ulps(both(engine, name, x, y)[0].item(), exact, torch.float32) <= 2


@pytest.mark.parametrize("logit", [-15.0, -40.0, -80.0, -100.0])
def test_means_of_confident_negatives_keep_their_digits(logit):
    x = torch.full((1000,), logit)
    for y in (torch.zeros(1000), torch.zeros(1000, dtype=torch.bool)):
        mean = both("cpu", "bce_with_logits", x, y)[0]
        assert gold.ulps(mean.item(), gold.bce_with_logits(logit, 0), torch.float32) <= 2
    probability = torch.full((1000,), math.exp(logit))
    mean = both("cpu", "bce", probability, torch.zeros(1000))[0]
    assert gold.ulps(mean.item(), gold.bce(probability[0].item(), 0), torch.float32) <= 2


# Every way that tensors can lie in memory


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("engine", ENGINES)
def test_targets_of_every_dtype_are_read_as_they_are(engine, target):
    # Targets are read apart from the loss; torch refuses floating-point ones of another dtype than probabilities.
    for name in LOSSES if engine == "gpu" or target in (torch.bool, torch.int64) else ["bce_with_logits"]:
        x, y = data(name, 300)
        y = (y < 0.4).to(target)
        if name == "bce" and target in (torch.float16, torch.bfloat16, torch.float64):
            continue
        mine, theirs = both(engine, name, x, y), both("reference", name, x, y)
        assert mine[0].dtype == theirs[0].dtype
        torch.testing.assert_close(mine[0], theirs[0])
        torch.testing.assert_close(mine[1], theirs[1])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_of_every_dtype_are_rounded_once(engine, name, dtype):
    # Items and slopes are some ten roundings of their terms, in float32 or wider, and one of the result. A slope may be
    # the small difference of two terms, so its error is measured by these (gold.cancelling_terms).
    x, y = data(name, 300, dtype)
    pairs = list(zip(x.double().tolist(), y.double().tolist(), strict=True))
    items = [getattr(gold, name)(*pair) for pair in pairs]
    exact_slopes = [getattr(gold, f"{name}_dx")(*pair) for pair in pairs]
    terms = [
        abs(slope) + gold.cancelling_terms(f"{name}_dx", *pair) for slope, pair in zip(exact_slopes, pairs, strict=True)
    ]
    eps, inner = torch.finfo(dtype).eps, torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    tiny = torch.finfo(dtype).smallest_normal * eps
    reductions = {"none": 1, "mean": 300}
    if engine == "cpu" and name == "bce" and dtype in (torch.float16, torch.bfloat16):
        del reductions["none"]  # items are read and written apart from the loss
    for reduction, n in reductions.items():
        value, slopes = both(engine, name, x, y, reduction=reduction)
        assert value.dtype == slopes.dtype == dtype
        found = [*value.double().flatten().tolist(), *slopes.double().tolist()]
        exact = [*(items if n == 1 else [sum(items) / n]), *(slope / n for slope in exact_slopes)]
        sizes = [*(items if n == 1 else [sum(items) / n]), *(term / n for term in terms)]
        for one, other, size in zip(found, exact, sizes, strict=True):
            assert abs(one - other) <= eps * abs(other) + 10 * inner * size + tiny, (one, other)


def each(numba, signature, function):
    run = numba.vectorize([signature])(lambda v: function(v))

    def quietly(values):
        with np.errstate(all="ignore"):
            return torch.from_numpy(run(values.numpy()))

    return quietly


def test_half_precision_bits_round_like_torch():
    # Every float16 and bfloat16 is read, and every kind of float32 is written, through none's values.
    import numba

    from torchbce.engine.numba_cpu import storage

    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16)
    values = torch.cat(
        [torch.randn(20000) * 10.0**k for k in range(-9, 6)] + [torch.tensor([65519.9, 65520, math.inf])]
    )
    for dtype in (torch.float16, torch.bfloat16):
        decode, encode = storage.DECODE[dtype], storage.ENCODE[dtype]
        read, write = each(numba, "float32(uint16)", decode), each(numba, "uint16(float32)", encode)
        expected = every.view(dtype).float()
        torch.testing.assert_close(read(every), expected, rtol=0, atol=0, equal_nan=True)
        again = write(expected).view(dtype).float()
        torch.testing.assert_close(again, expected, rtol=0, atol=0, equal_nan=True)
        for v in (values, -values):
            assert torch.equal(write(v).view(dtype), v.to(dtype))


shapes = st.lists(st.integers(1, 5), min_size=0, max_size=4)


@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from(["none", "sum"]))
def test_weights_broadcast_from_any_shape_to_any_layout(shape, seed, reduction):
    name, rng = "bce_with_logits", random.Random(seed)
    x, y = data(name, shape, seed=seed)
    order = rng.sample(range(len(shape)), len(shape))
    inverse = [order.index(d) for d in range(len(shape))]
    x = x.permute(order).contiguous().permute(inverse)
    if rng.random() < 0.5:
        y = y.permute(order).contiguous().permute(inverse)
    options = {"weight": some_weight(rng, shape)}
    if reduction == "sum" and rng.random() < 0.5:
        options["pos_weight"] = some_weight(rng, shape)
    mine, theirs = (both(engine, name, x, y, reduction=reduction, **options) for engine in ("cpu", "reference"))
    assert mine[0].stride() == theirs[0].stride()
    torch.testing.assert_close(mine[0], theirs[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine[1], theirs[1])


def some_weight(rng, shape):
    sizes = [rng.choice([1, size]) for size in shape][rng.randint(0, len(shape)) :]
    weight = torch.rand(sizes, generator=torch.Generator().manual_seed(rng.randint(0, 1000))) + 0.5
    if rng.random() < 0.3:
        return weight.expand(shape)
    return weight.item() if weight.numel() == 1 and rng.random() < 0.5 else weight


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sizes", [(7,), (3000, 1), (1,), (3000, 7), (1, 7)])
def test_weights_of_tables_of_many_rows(engine, sizes):
    # Long enough for several chunks, and for patterns shorter and longer than a chunk.
    x, y = data("bce_with_logits", (3000, 7))
    weight = torch.rand(sizes) + 0.5
    for options in ({"weight": weight}, {"pos_weight": weight}, {"weight": weight, "pos_weight": weight.double()}):
        mine, theirs = (both(e, "bce_with_logits", x, y, **options) for e in (engine, "reference"))
        torch.testing.assert_close(mine[0], theirs[0])
        torch.testing.assert_close(mine[1], theirs[1])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sizes", [(3, 1, 1), (3, 1, 7), (6, 1), (4, 1, 1, 1), (1, 3, 6, 1)])
def test_weights_of_images_repeat(engine, sizes):
    x, y = data("bce_with_logits", (4, 3, 6, 7))
    weight = torch.rand(sizes) + 0.5
    mine, theirs = (both(e, "bce_with_logits", x, y, weight=weight, reduction="none") for e in (engine, "reference"))
    torch.testing.assert_close(mine[0], theirs[0])
    torch.testing.assert_close(mine[1], theirs[1])


@pytest.mark.parametrize(("count", "times"), [(8192, 20), (400_000, 5)])
@pytest.mark.parametrize("name", LOSSES)
def test_float64_sums_lose_nothing_on_the_way(name, count, times):
    for seed in range(times):
        x, y = data(name, (count,), torch.float64, seed)
        with select.forced("cpu"):
            total, items = (call(name, x, y, reduction=reduction) for reduction in ("sum", "none"))
        exact = math.fsum(items.tolist())
        assert abs(total.item() - exact) <= math.ulp(exact)


def test_small_losses_count_beside_a_huge_one():
    x = torch.full((8192,), 0.5, dtype=torch.float64)
    x[0] = 1e16
    with select.forced("cpu"):
        total, items = (call("bce_with_logits", x, 0 * x, reduction=reduction) for reduction in ("sum", "none"))
    assert total.item() == math.fsum(items.tolist())


@pytest.mark.parametrize("name", LOSSES)
def test_layouts_give_the_same_values(name):
    x, y = data(name, (4, 3, 8, 8))
    expected = both("reference", name, x, y, reduction="none")
    spread = torch.empty(4, 3, 8, 16)[..., ::2].copy_(x)  # not dense
    for other in (x.to(memory_format=torch.channels_last), x.transpose(0, 3).contiguous().transpose(0, 3), spread):
        for target in (y, y.to(memory_format=torch.channels_last), y.transpose(1, 2).contiguous().transpose(1, 2)):
            for found, want in zip(both("cpu", name, other, target, reduction="none"), expected, strict=True):
                torch.testing.assert_close(found, want)
            torch.testing.assert_close(both("cpu", name, other, target)[0], expected[0].mean())


def test_expanded_inputs_have_right_values():
    x, y = data("bce", (5, 1))
    wide = x.expand(5, 3)
    with select.forced("cpu"):
        value = functional.binary_cross_entropy(wide, y.expand(5, 3), reduction="none")
    torch.testing.assert_close(value, functional.binary_cross_entropy(x, y, reduction="none").expand(5, 3))
    leaf = x.clone().requires_grad_()
    with select.forced("cpu"):
        functional.binary_cross_entropy(leaf.expand(5, 3), y.expand(5, 3), reduction="sum").backward()
    torch.testing.assert_close(leaf.grad, 3 * both("reference", "bce", x, y, reduction="sum")[1])
