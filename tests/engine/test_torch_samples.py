"""torch's own sample inputs, module inputs and legacy tests for both losses, run on ours in four dtypes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

import torchbce
from torchbce import functional
from torchbce.engine import select

common_methods = pytest.importorskip("torch.testing._internal.common_methods_invocations")
common_modules = pytest.importorskip("torch.testing._internal.common_modules")
common_nn = pytest.importorskip("torch.testing._internal.common_nn")

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
LOSSES = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


def samples(name, dtype):
    torch.manual_seed(0)
    return list(getattr(common_methods, f"sample_inputs_{name}")(None, torch.get_default_device(), dtype, True))


def assert_as_close_to_exact_as_torch(ours, theirs, exact):
    """Ours may be off by what torch's is, plus 4 roundings of the dtype at the size of the values."""
    assert (ours.dtype, ours.shape, ours.stride()) == (theirs.dtype, theirs.shape, theirs.stride())
    rounding = torch.finfo(ours.dtype).eps * (exact.abs() + exact.abs().max())
    error, allowed = (ours - exact).abs(), (theirs - exact).abs() + 4 * rounding
    assert (error <= allowed).all(), f"ours is off by {error.max()}, torch's by {(theirs - exact).abs().max()}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_sample_inputs(name, dtype):
    cases = samples(name, dtype)
    assert len(cases) >= 11
    for sample in cases:
        x, y = sample.input, sample.args[0]

        def run(function, x, y, dtype=None, kwargs=sample.kwargs):
            kwargs = {k: v.to(dtype) if dtype and isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
            x, y = (v.detach().to(dtype or v.dtype).requires_grad_() for v in (x, y))
            value = function(x, y, **kwargs)
            return value, *torch.autograd.grad(value.sum(), (x, y))

        exact = run(getattr(F, name), x, y, torch.float64)
        theirs = run(getattr(F, name), x, y)
        for mine, other, truth in zip(run(getattr(functional, name), x, y), theirs, exact, strict=True):
            assert_as_close_to_exact_as_torch(mine.detach(), other.detach(), truth.detach())


@pytest.mark.grid
@pytest.mark.parametrize("engine", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_sample_inputs_on_the_kernels(name, dtype, engine):
    # The compiled kernels read and write narrow numbers apart from their options (test_kernels).
    narrow = engine == "cpu" and dtype in (torch.float16, torch.bfloat16)
    for sample in samples(name, dtype):
        x, y = sample.input, sample.args[0].detach()
        if narrow and sample.kwargs.keys() - {"reduction"}:
            continue

        def run(function, dtype=None, kwargs=sample.kwargs, x=x, y=y):
            kwargs = {k: v.to(dtype) if dtype and isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
            leaf = x.detach().to(dtype or x.dtype).requires_grad_()
            value = function(leaf, y.to(dtype or y.dtype), **kwargs)
            return value, *torch.autograd.grad(value.sum(), leaf)

        exact, theirs = run(getattr(F, name), torch.float64), run(getattr(F, name))
        with select.forced(engine):
            ours = run(getattr(functional, name))
        for mine, other, truth in zip(ours, theirs, exact, strict=True):
            assert_as_close_to_exact_as_torch(mine.detach(), other.detach(), truth.detach())


@pytest.mark.parametrize("name", LOSSES)
def test_sample_gradients_of_first_and_second_order(name):
    cases = samples(name, torch.float64)
    kinds = {(frozenset(case.kwargs) - {"reduction"}, case.input.ndim): case for case in cases}
    for sample in kinds.values():

        def loss(x, y, kwargs=sample.kwargs):
            return getattr(functional, name)(x, y, **kwargs)

        inputs = (sample.input, sample.args[0])
        assert gradcheck(loss, inputs, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
        assert gradgradcheck(loss, inputs, check_fwd_over_rev=True, check_rev_over_rev=True, check_batched_grad=True)


@pytest.mark.grid
@pytest.mark.parametrize("engine", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss"])
def test_module_inputs(name, dtype, engine):
    torch.manual_seed(0)
    make = getattr(common_modules, f"module_inputs_torch_nn_{name}")
    cases = make(None, device=torch.get_default_device(), dtype=dtype, requires_grad=True, training=True)
    assert len(cases) >= 5
    for case in cases:
        args, kwargs = case.constructor_input.args, case.constructor_input.kwargs
        ours, theirs = getattr(torchbce, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
        x, y = (argument.detach() for argument in case.forward_input.args)
        with select.forced(engine):
            value = ours(x, y, **case.forward_input.kwargs)
        exact = theirs.double()(*(a.double() for a in case.forward_input.args))
        other = getattr(torch.nn, name)(*args, **kwargs).to(dtype)(*case.forward_input.args)
        assert_as_close_to_exact_as_torch(value.detach(), other.detach(), exact.detach())
        if case.reference_fn is not None and dtype == torch.float64:
            reference = case.reference_fn(ours, *case.forward_input.args)
            torch.testing.assert_close(value, torch.as_tensor(reference))


@pytest.mark.parametrize(
    "name",
    [
        "bceloss_no_reduce_test",
        "bceloss_no_reduce_scalar_test",
        "bceloss_weights_no_reduce_test",
        "bceloss_weights_no_reduce_scalar_test",
        "bce_with_logistic_legacy_enum_test",
        "bce_with_logistic_no_reduce_test",
        "bce_with_logistic_no_reduce_scalar_test",
    ],
)
@pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated")
def test_legacy_tests(name, monkeypatch):
    for loss in LOSSES:
        monkeypatch.setattr(common_nn.F, loss, getattr(functional, loss))
    torch.manual_seed(0)
    case = getattr(common_nn, name)()
    x = case["input_fn"]().double().requires_grad_()
    module = case["constructor"]()
    torch.testing.assert_close(module(x), case["reference_fn"](x, None, module).to(x.dtype))
    assert gradcheck(module, (x,))
