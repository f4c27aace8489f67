"""vmap is a loop over the batch: values and gradients, whatever is batched along which dimension."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, vmap

import torchbce
from family_calls import FAMILY
from torchbce import functional

TORCHS = {
    "binary_cross_entropy": (F.binary_cross_entropy, functional.binary_cross_entropy),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        functional.binary_cross_entropy_with_logits,
    ),
}
both = pytest.mark.parametrize("name", TORCHS)
LOSSES = {name: (ours, {}) for name, (_, ours) in TORCHS.items()} | FAMILY
BATCH = 2
SHAPES = [(3,), (2, 3), (4, 1, 3), (1, 3)]  # the last dimension is as long as the classes of FAMILY's


def batched(draw: st.DrawFn, one: Tensor | None) -> tuple[Tensor | None, int | None]:
    """A batch of tensors like one, along some dimension; or the one itself."""
    if one is None or draw(st.booleans()):
        return one, None
    dim = draw(st.integers(-one.ndim - 1, one.ndim))
    flip = 1.0 - 0.5 * torch.arange(BATCH).reshape(-1, *(1,) * one.ndim)
    several = one ^ (flip < 0.7) if one.dtype == torch.bool else one * flip.to(one.dtype)
    return several.movedim(0, dim).contiguous(), dim


@st.composite
def calls(draw: st.DrawFn, kinds: dict) -> tuple:
    """A loss, its tensors, and along which dimension each is batched."""
    name = draw(st.sampled_from(sorted(kinds)))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    shape = draw(st.sampled_from([s for s in SHAPES if len(s) == 2 or name != "distribution-balanced"]))
    torch.manual_seed(draw(st.integers(0, 99)))
    input, target = torch.rand(shape, dtype=dtype), torch.rand(shape, dtype=dtype)

    def broadcasting(make) -> Tensor | None:
        sizes = draw(st.sampled_from([None, shape, shape[-1:], tuple(1 for _ in shape), ()]))
        return None if sizes is None else make(sizes)

    weight = broadcasting(lambda sizes: torch.rand(sizes, dtype=dtype))
    pos_weight = broadcasting(lambda sizes: torch.rand(sizes, dtype=dtype) + 0.5) if name in TORCHS else None
    mask = broadcasting(lambda sizes: torch.rand(sizes) < 0.7)
    tensors, dims = zip(*(batched(draw, v) for v in (input, target, weight, pos_weight, mask)), strict=True)
    if all(dim is None for dim in dims):
        tensors, dims = (torch.stack([input, input / 2]), *tensors[1:]), (0, *dims[1:])
    return name, tensors, dims, draw(st.sampled_from(["mean", "sum", "none"]))


def caller(function, options, reduction):
    def call(input, target, weight, pos_weight, mask):
        given = {"weight": weight, "pos_weight": pos_weight, "mask": mask}
        return function(
            input, target, reduction=reduction, **options, **{n: v for n, v in given.items() if v is not None}
        )

    return call


def looped(call, dims):
    """The same as vmap, item of the batch by item."""

    def run(*tensors):
        taken = lambda i: (v if d is None else v.select(d, i) for v, d in zip(tensors, dims, strict=True))  # noqa: E731
        return torch.stack([call(*taken(i)) for i in range(BATCH)])

    return run


def results(run, tensors, through: str) -> list[Tensor]:
    """The value, and its gradients by input and target."""
    input, target, *rest = tensors
    coefficients = lambda value: torch.linspace(1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)  # noqa: E731

    def total(input, target):
        value = run(input, target, *rest)
        return (value * coefficients(value)).sum()

    if through == "grad":
        return [run(*tensors), *grad(total, (0, 1))(input, target)]
    leaves = input.clone().requires_grad_(), target.clone().requires_grad_()
    return [run(*tensors), *torch.autograd.grad(total(*leaves), leaves)]


@pytest.mark.slow
@pytest.mark.usefixtures("reference")
@given(calls(LOSSES), st.sampled_from(["backward", "grad"]))
@settings(max_examples=80)
def test_values_and_gradients_through_vmap_are_those_of_a_loop(call, through):
    name, tensors, dims, reduction = call
    function, options = LOSSES[name]
    one = caller(function, options, reduction)
    mapped = results(vmap(one, dims), tensors, through)
    expected = results(looped(one, dims), tensors, "backward")
    torch.testing.assert_close(mapped, expected)


@given(calls(TORCHS), st.sampled_from(["backward", "grad"]))
@settings(max_examples=40)
def test_values_and_gradients_through_vmap_are_torchs(call, through):
    name, tensors, dims, reduction = call
    tensors, dims = (*tensors[:4], None), (*dims[:4], None)
    if name == "binary_cross_entropy":
        tensors, dims = (*tensors[:3], None, None), (*dims[:3], None, None)
    if all(dim is None for dim in dims):
        return
    theirs, ours = (caller(function, {}, reduction) for function in TORCHS[name])
    torch.testing.assert_close(
        results(vmap(ours, dims), tensors, through), results(vmap(theirs, dims), tensors, through)
    )


@both
def test_item_losses_of_an_unbatched_input_of_another_layout(name):
    theirs, ours = TORCHS[name]
    x, y = torch.rand(5, 4).t(), torch.rand(3, 4, 5)
    for dims, given_ in (((None, 0), (x, y)), ((0, None), (y, x))):
        mapped = [vmap(lambda a, b, f=f: f(a, b, reduction="none"), dims)(*given_) for f in (ours, theirs)]
        torch.testing.assert_close(*mapped)


@both
def test_an_ensemble_learns_by_backward_through_vmap(name):
    """Three linear models at once, as with torch's loss and as each on its own."""
    theirs, ours = TORCHS[name]
    torch.manual_seed(0)
    x, y, first = torch.randn(8, 2), torch.rand(8), torch.randn(3, 2)
    link = torch.sigmoid if name == "binary_cross_entropy" else torch.Tensor.clone

    def learned(losses):
        weights = first.clone().requires_grad_()
        for _ in range(3):
            (slopes,) = torch.autograd.grad(losses(weights).sum(), weights)
            weights = (weights - slopes).detach().requires_grad_()
        return weights.detach()

    one = lambda f: lambda w: f(link(x @ w), y)  # noqa: E731
    together = learned(vmap(one(ours)))
    torch.testing.assert_close(together, learned(vmap(one(theirs))))
    torch.testing.assert_close(together, learned(lambda weights: torch.stack([one(ours)(w) for w in weights])))


@both
def test_forward_mode_with_dual_numbers_passes_through_vmap(name):
    theirs, ours = TORCHS[name]
    x, y, tangent = torch.rand(3, 4), torch.rand(3, 4), torch.randn(3, 4)
    found = []
    for f in (ours, theirs):
        with torch.autograd.forward_ad.dual_level():
            value = vmap(f)(torch.autograd.forward_ad.make_dual(x, tangent), y)
            found.append(torch.autograd.forward_ad.unpack_dual(value).tangent)
    torch.testing.assert_close(*found)


@pytest.mark.usefixtures("reference")
def test_third_derivatives_through_vmap_are_those_of_a_loop():
    x, y = torch.rand(2, 2, 3, dtype=torch.float64), torch.rand(2, 2, 3, dtype=torch.float64)

    def third(run):
        def second(v):
            slopes = grad(lambda v: run(v, y).sum())
            return torch.func.jvp(slopes, (v,), (v.cos(),))[1]

        return torch.func.vjp(second, x)[1](y)[0]

    for function, options in LOSSES.values():
        one = lambda a, b, f=function, o=options: f(a, b, reduction="sum", **o)  # noqa: E731
        expected = third(lambda a, b, one=one: torch.stack([one(p, q) for p, q in zip(a, b, strict=True)]))
        torch.testing.assert_close(third(vmap(one)), expected)


def test_a_value_that_is_not_allowed_is_found_within_a_batch():
    x = torch.tensor([[0.5, 0.5], [0.5, 1.5]])
    with pytest.raises(RuntimeError, match=r"all elements of input should be between 0 and 1.* is 1\.5"):
        vmap(torchbce.functional.binary_cross_entropy)(x, torch.ones(2, 2))
