"""What torch does around the formula - dtypes, shapes, strides, weights, errors - and where ours accepts more."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from torchbce import functional

PAIRS = [
    (functional.binary_cross_entropy, F.binary_cross_entropy),
    (functional.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
]
OURS = [ours for ours, _ in PAIRS]
both = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["probabilities", "logits"])
each = pytest.mark.parametrize("ours", OURS, ids=["probabilities", "logits"])


EPS = torch.finfo(torch.float32).eps


def assert_exact(mine: torch.Tensor, theirs, *tensors: torch.Tensor, **options) -> None:
    """Ours in float32 beside torch's in float64, relatively: an item is three roundings, of terms of one sign, and the
    result one more.
    """
    wide = [t.double() for t in tensors]
    options = {name: t.double() if isinstance(t, torch.Tensor) else t for name, t in options.items()}
    torch.testing.assert_close(mine.double(), theirs(*wide, **options), rtol=4 * EPS, atol=0)


def data(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(shape).to(dtype), torch.rand(shape).to(dtype)


# Results


@both
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 4, 5)])
def test_same_result_as_torch(ours, theirs, reduction, shape):
    x, y = data(*shape)
    assert_exact(ours(x, y, reduction=reduction), theirs, x, y, reduction=reduction)


@both
@pytest.mark.parametrize(("reduction", "value"), [("mean", math.nan), ("sum", 0.0), ("none", None)])
def test_empty(ours, theirs, reduction, value):
    result = ours(torch.empty(0, 3), torch.empty(0, 3), reduction=reduction)
    assert result.shape == theirs(torch.empty(0, 3), torch.empty(0, 3), reduction=reduction).shape
    assert value is None or result.item() == pytest.approx(value, nan_ok=True)


@both
def test_item_losses_are_laid_out_as_torch_lays_them_out(ours, theirs):
    x, y = data(2, 3, 4, 5)
    last = torch.channels_last
    layouts = [
        (x, y),
        (x.to(memory_format=last), y),
        (x, y.to(memory_format=last)),
        (x[:, :, ::2], y[:, :, ::2]),
        (x.transpose(0, 3), y.transpose(0, 3)),
        (x.transpose(0, 1), y.transpose(0, 1).contiguous()),
        (x[:, :1].expand(2, 3, 4, 5), y),
        (x, y[..., :1].expand(2, 3, 4, 5)),
    ]
    for a, b in layouts:
        mine, other = ours(a, b, reduction="none"), theirs(a, b, reduction="none")
        assert mine.stride() == other.stride()
        assert_exact(mine, theirs, a, b, reduction="none")


@both
def test_the_callers_tensors_are_untouched(ours, theirs):
    x, y = data(50)
    weight = torch.rand(50)
    kept = x.clone(), y.clone(), weight.clone()
    leaf = x.requires_grad_()
    ours(leaf, y, weight).backward()
    assert all(torch.equal(a, b) for a, b in zip((x.detach(), y, weight), kept, strict=True))


@both
def test_weights_scale_items_and_stay_out_of_the_denominator(ours, theirs):
    x, y = data(4, 3)
    for weight in (torch.rand(3), torch.rand(4, 1), torch.rand(4, 3), torch.tensor(2.5)):
        assert_exact(ours(x, y, weight), theirs, x, y, weight)
    assert ours(x, y, 2.0).item() == pytest.approx(2 * ours(x, y).item(), rel=1e-6)


def test_pos_weight_matches_torch_and_may_be_a_number():
    x, y = data(4, 3)
    weight = torch.tensor([0.5, 2.0, 3.0])
    ours, theirs = PAIRS[1]
    assert_exact(ours(x, y, pos_weight=weight), theirs, x, y, pos_weight=weight)
    assert_exact(ours(x, y, pos_weight=3.0), theirs, x, y, pos_weight=torch.tensor(3.0))
    assert torch.equal(ours(x, y, pos_weight=1), ours(x, y))


def test_swapping_the_classes_is_flipping_the_logit():
    x, y = data(100)
    loss = functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(loss(-x, 1 - y, reduction="none"), loss(x, y, reduction="none"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype, reference):
    x, y = data(1000, dtype=dtype)
    for ours in OURS:
        exact = ours(x.float(), y.float(), reduction="none")
        assert torch.equal(ours(x, y, reduction="none"), exact.to(dtype))
        assert torch.equal(ours(x, y), ours(x.float(), y.float()).to(dtype))


def test_float16_items_that_agree_have_gradient_zero_where_torch_has_nan():
    x = torch.tensor([1.0, 0.0], dtype=torch.float16, requires_grad=True)
    y = torch.tensor([1.0, 0.0], dtype=torch.float16)
    assert torch.autograd.grad(functional.binary_cross_entropy(x, y), x)[0].tolist() == [0, 0]
    assert torch.autograd.grad(F.binary_cross_entropy(x, y), x)[0].isnan().any()


def test_saturated_gradients_are_torchs():
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([0.0, 0.0, 1.0, 1.0, 1e-20], dtype=dtype, requires_grad=True)
        y = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0], dtype=dtype)
        mine, other = (torch.autograd.grad(f(x, y, reduction="sum"), x, create_graph=True)[0] for f in PAIRS[0])
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=0)
        assert mine[:4].tolist() == pytest.approx([0, -1 / 9.99999996e-13, 1 / 9.99999996e-13, 0])


def test_a_mean_of_many_items_is_summed_in_float64():
    x = torch.full((2**24 + 2,), 0.1)
    y = torch.zeros(1).expand(x.shape)
    exact = -math.log1p(-float(torch.tensor(0.1)))
    assert functional.binary_cross_entropy(x, y).item() == pytest.approx(exact, rel=1e-7)


def test_small_items_are_not_lost_beside_a_large_one():
    # In float32 each log 2 that is added to 2**24 alone would vanish.
    logits = torch.tensor([2.0**24] + [0.0] * 1000)
    total = functional.binary_cross_entropy_with_logits(logits, torch.zeros(1001), reduction="sum")
    assert total.item() == float(torch.tensor(2.0**24 + 1000 * math.log(2), dtype=torch.float32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_beyond_the_dtype_are_infinite_as_torchs_are(dtype):
    large = torch.full((8,), torch.finfo(dtype).max, dtype=dtype, requires_grad=True)
    loss = functional.binary_cross_entropy_with_logits(large, torch.zeros(8, dtype=dtype), reduction="sum")
    loss.backward()
    assert loss == math.inf
    assert loss.dtype == dtype
    assert (large.grad == 1).all()


# More is accepted


@each
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64])
def test_integer_and_bool_targets_are_read_as_they_are(ours, dtype):
    x, _ = data(20)
    y = torch.arange(20) % 2
    result = ours(x.requires_grad_(), y.to(dtype))
    assert result.dtype == torch.float32
    assert torch.equal(result, ours(x, y.float()))


@pytest.mark.parametrize(
    ("input", "target"),
    [("float64", "float32"), ("float32", "float64"), ("float16", "float32"), ("float32", "float16")],
)
def test_mixed_dtypes_of_logits_give_the_targets_dtype_and_own_gradients(input, target):
    x, y = data(10)
    x, y = x.to(getattr(torch, input)).requires_grad_(), y.to(getattr(torch, target)).requires_grad_()
    ours, theirs = PAIRS[1]
    assert ours(x, y).dtype == theirs(x, y).dtype == y.dtype
    grads = torch.autograd.grad(ours(x, y), (x, y))
    assert [g.dtype for g in grads] == [x.dtype, y.dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_weights_never_promote(dtype):
    x, y = data(3)
    for ours, theirs in PAIRS:
        weight = torch.tensor([1, 2, 3], dtype=dtype)
        assert ours(x, y, weight).dtype == torch.float32
        assert_exact(ours(x, y, weight), theirs, x, y, weight)


@both
def test_autocast_computes_in_float32(ours, theirs):
    x, y = data(10, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in ((x, y), (x, y.float()), (x.float(), y)):
            assert ours(a, b).dtype == theirs(a, b).dtype == torch.float32
            assert_exact(ours(a, b), theirs, a.float(), b.float())


@both
def test_meta_tensors(ours, theirs):
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    assert ours(x, torch.empty(3, 4, device="meta"), reduction="none").shape == (3, 4)
    assert ours(x, torch.empty(3, 4, device="meta")).device.type == "meta"


def test_tensor_subclasses_pass():
    class Tagged(torch.Tensor):
        pass

    x, y = data(5)
    tagged = functional.binary_cross_entropy(x.as_subclass(Tagged), y)
    assert type(tagged) is Tagged
    torch.testing.assert_close(tagged.as_subclass(torch.Tensor), functional.binary_cross_entropy(x, y))


# Errors: torch's type, torch's words first


@both
def test_sizes_that_differ(ours, theirs):
    x, y = torch.rand(3, 1), torch.rand(3)
    with pytest.raises(ValueError) as other:
        theirs(x, y)
    with pytest.raises(ValueError) as mine:
        ours(x, y)
    assert str(mine.value) == f"{other.value} Both have 3 items: write target.reshape(input.shape)."
    with pytest.raises(ValueError) as mine:
        ours(x, torch.rand(4))
    assert "reshape" not in str(mine.value)


@both
def test_unknown_reduction(ours, theirs):
    for function in (ours, theirs):
        with pytest.raises(ValueError, match=r"^avg is not a valid value for reduction"):
            function(*data(3), reduction="avg")


@both
@pytest.mark.parametrize("flags", [(False, None), (True, None), (None, False), (None, True), (False, False)])
def test_deprecated_flags_override_the_reduction_with_a_warning(ours, theirs, flags):
    size_average, reduce = flags
    x, y = data(3)
    results = []
    for function, a, b in ((ours, x, y), (theirs, x.double(), y.double())):
        with pytest.warns(UserWarning, match="size_average and reduce args will be deprecated"):
            results.append(function(a, b, size_average=size_average, reduce=reduce, reduction="ignored").double())
    torch.testing.assert_close(*results, rtol=4 * EPS, atol=0)


@pytest.mark.parametrize("bad", [1.5, -0.25, math.nan, math.inf])
@pytest.mark.parametrize("name", ["input", "target"])
def test_probabilities_outside_the_unit_interval_are_named(name, bad):
    tensors = dict(zip(("input", "target"), data(3, 4), strict=True))
    tensors[name][2, 1] = bad
    message = rf"^all elements of {name} should be between 0 and 1, but element \(2, 1\) is {bad:.9g} \(1 of 12 are"
    with pytest.raises(RuntimeError, match=message):
        functional.binary_cross_entropy(**tensors)
    with pytest.raises(RuntimeError, match=f"^all elements of {name} should be between 0 and 1"):
        F.binary_cross_entropy(**tensors)


def test_integer_targets_are_checked_too():
    with pytest.raises(RuntimeError, match=r"element \(0,\) is -1"):
        functional.binary_cross_entropy(torch.rand(2), torch.tensor([-1, 1]))


def test_probabilities_are_checked_under_vmap_and_grad():
    bad = torch.tensor([[0.5, 0.5], [0.5, 1.5]])
    for transform in (torch.func.vmap, lambda f: torch.func.grad(lambda v: f(v, bad).sum())):
        with pytest.raises(RuntimeError, match="all elements of input should be"):
            transform(functional.binary_cross_entropy)(
                bad, *([torch.zeros(2, 2)] if transform is torch.func.vmap else [])
            )


def test_targets_of_logits_are_not_checked():
    y = torch.tensor([-1.0, 2.0, 255.0])
    assert_exact(PAIRS[1][0](torch.zeros(3), y), PAIRS[1][1], torch.zeros(3), y)


@pytest.mark.parametrize("target", [torch.float64, torch.float16])
def test_probabilities_of_mixed_dtypes_are_refused_in_torchs_words(target):
    x, y = data(3)
    with pytest.raises(RuntimeError) as other:
        F.binary_cross_entropy(x, y.to(target))
    with pytest.raises(RuntimeError) as mine:
        functional.binary_cross_entropy(x, y.to(target))
    assert str(mine.value).startswith(str(other.value))
    assert str(target) in str(mine.value)


@both
def test_integer_inputs_are_refused(ours, theirs):
    for function in (ours, theirs):
        with pytest.raises((RuntimeError, NotImplementedError)):
            function(torch.tensor([0, 1]), torch.rand(2))


@each
def test_what_is_not_a_tensor_is_named(ours):
    with pytest.raises(TypeError, match=r"input must be a Tensor, got list; write torch.as_tensor\(input\)"):
        ours([0.5], torch.rand(1))
    with pytest.raises(TypeError, match="weight must be a Tensor, a number or None, got str"):
        ours(torch.rand(1), torch.rand(1), "2")


@each
def test_weights_that_do_not_broadcast_are_named(ours):
    for shape in ((2,), (4, 3, 2), (1, 4, 3)):
        with pytest.raises(
            RuntimeError, match=r"weight of shape .* does not broadcast to the target of shape \(4, 3\)"
        ):
            ours(*data(4, 3), torch.ones(shape))


@both
def test_weights_that_require_grad_are_refused(ours, theirs):
    for function in (ours, theirs):
        with pytest.raises(RuntimeError, match="not differentiable with respect to argument 'weight'"):
            function(*data(3), torch.ones(3, requires_grad=True)).backward()


@each
def test_different_devices_are_named(ours):
    with pytest.raises(
        RuntimeError, match="^Expected all tensors to be on the same device, but found input on cpu and"
    ):
        ours(torch.rand(3), torch.rand(3, device="meta"))
