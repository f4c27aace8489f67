"""Autograd in all its forms: backward twice, torch.func, forward mode, torch.compile, autocast, pickling."""

from __future__ import annotations

import copy
import io
import pickle
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

import torchbce
from family_calls import FAMILY
from torchbce import functional

PAIRS = [
    (functional.binary_cross_entropy, F.binary_cross_entropy),
    (functional.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
]
both = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["probabilities", "logits"])
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
rev, fwd = torch.func.jacrev, torch.func.jacfwd


def data(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)


@both
def test_backward_twice_with_retain_graph_and_any_incoming_gradient(ours, theirs):
    x, y = (v.requires_grad_() for v in data(5))
    for function in (ours, theirs):
        x.grad = None
        loss = function(x, y, reduction="none")
        loss.backward(torch.arange(5.0).double(), retain_graph=True)
        loss.backward(torch.ones(5).double())
        if function is ours:
            kept = x.grad.clone()
    torch.testing.assert_close(kept, x.grad)


@both
@pytest.mark.parametrize("by", [0, 1], ids=["input", "target"])
def test_second_derivatives_in_every_mode_are_torchs_reverse_over_reverse(ours, theirs, by):
    inputs = data(5)

    def only(function):
        return lambda v: function(*inputs[:by], v, *inputs[by + 1 :])

    expected = rev(rev(only(theirs)))(inputs[by])
    for outer in (rev, fwd):
        for inner in (rev, fwd):
            torch.testing.assert_close(outer(inner(only(ours)))(inputs[by]), expected)


@both
def test_second_derivatives_reach_grad_output(ours, theirs):
    x, y = data(4)
    results = []
    for function in (ours, theirs):
        v, g = x.clone().requires_grad_(), torch.ones(4, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(function(v, y, reduction="none"), v, g, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), (v, g)))
    torch.testing.assert_close(*results)


def test_third_derivatives_match_finite_differences():
    x, y = data(5)

    def second(v):
        return rev(rev(lambda u: functional.binary_cross_entropy_with_logits(u, y, reduction="sum")))(v).diagonal()

    third = rev(second)(x).diagonal()
    torch.testing.assert_close(third, (second(x + 1e-5) - second(x - 1e-5)) / 2e-5, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("name", ["focal", "poly-1", "asymmetric", "class-balanced"])
def test_higher_derivatives_at_a_logit_of_0_are_those_beside_it(name):
    function, options = FAMILY[name]
    y = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    slopes = lambda x: function(x, y, reduction="sum", **options)  # noqa: E731
    for _ in range(4):
        slopes = lambda x, f=slopes: torch.func.grad(lambda x: f(x).sum())(x)  # noqa: E731
        at, beside = slopes(torch.zeros_like(y)), slopes(torch.full_like(y, 1e-9))
        torch.testing.assert_close(at, beside, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace", "ignore::torch.jit.TracerWarning")
def test_a_recorded_loss_has_its_gradient_at_a_logit_of_0():
    x, y = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    loss_func = functional.binary_cross_entropy_with_logits
    recorded = torch.jit.trace(lambda x, y: loss_func(x, y), (x, y))
    leaf = x.requires_grad_()
    torch.testing.assert_close(
        torch.autograd.grad(recorded(leaf, y), leaf), torch.autograd.grad(PAIRS[1][1](leaf, y), leaf)
    )


@both
def test_forward_mode(ours, theirs):
    (x, y), (tx, ty) = data(5), data(5)
    results = []
    for function in (ours, theirs):
        with forward_ad.dual_level():
            dual = function(forward_ad.make_dual(x, tx), forward_ad.make_dual(y, ty))
            results.append(forward_ad.unpack_dual(dual).tangent)
    torch.testing.assert_close(*results)


@both
def test_vmap_over_inputs_weights_and_gradients(ours, theirs):
    x, y = data(3, 5)
    w = torch.rand(3, 5, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(ours)(x, y, w), torch.func.vmap(theirs)(x, y, w))
    shared = (0, None)
    for make in (torch.func.grad, torch.func.hessian):
        mine, other = (torch.func.vmap(make(f), in_dims=shared)(x, y[0]) for f in (ours, theirs))
        torch.testing.assert_close(mine, other)


def test_vmap_over_pos_weight():
    x, y = data(5)
    weights = torch.tensor([[0.5], [1.0], [4.0]], dtype=torch.float64)
    mine, other = (
        torch.func.vmap(lambda w, f=f: f(x, y, pos_weight=w))(weights) for _, f in [PAIRS[1], PAIRS[1][::-1]]
    )
    torch.testing.assert_close(mine, other)


@both
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=NEEDS_COMPILER)])
def test_compiles_without_a_graph_break(ours, theirs, reduction, backend):
    x, y = (v.float() for v in data(6, 4))
    weight = torch.rand(4)
    compiled = torch.compile(
        lambda x, y: ours(x.sigmoid(), y, weight, reduction=reduction).sum(), fullgraph=True, backend=backend
    )
    leaves = x.clone().requires_grad_(), y.clone().requires_grad_()
    mine = compiled(*leaves)
    mine.backward()
    other_leaves = x.clone().requires_grad_(), y.clone().requires_grad_()
    other = theirs(other_leaves[0].sigmoid(), other_leaves[1], weight, reduction=reduction).sum()
    other.backward()
    torch.testing.assert_close(mine, other)
    for a, b in zip(leaves, other_leaves, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_compiles_with_pos_weight_and_channels_last():
    x, y = (v.float() for v in data(2, 3, 4, 5))
    x = x.to(memory_format=torch.channels_last)
    loss_func = torchbce.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1), reduction="none")
    compiled = torch.compile(loss_func, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), loss_func(x, y))


@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss"])
def test_modules_copy_pickle_and_save_like_torchs(name):
    arguments = {"weight": torch.tensor([1.0, 2.0])} | ({"pos_weight": 3.0} if "Logits" in name else {})
    loss_func = getattr(torchbce, name)(reduction="sum", **arguments)
    theirs = getattr(torch.nn, name)(reduction="sum", **{k: torch.as_tensor(v) for k, v in arguments.items()})
    assert list(loss_func.state_dict()) == list(theirs.state_dict())
    loss_func.load_state_dict(theirs.state_dict())
    buffer = io.BytesIO()
    torch.save(loss_func.state_dict(), buffer)
    x, y = torch.rand(4, 2), torch.rand(4, 2)
    for copied in (copy.deepcopy(loss_func), pickle.loads(pickle.dumps(loss_func))):
        torch.testing.assert_close(copied(x, y), theirs(x, y))


def test_modules_are_torchs_to_isinstance_and_take_torchs_arguments():
    import inspect

    for name in ("BCELoss", "BCEWithLogitsLoss"):
        ours, theirs = getattr(torchbce, name), getattr(torch.nn, name)
        assert issubclass(ours, theirs)
        theirs_first = list(inspect.signature(theirs).parameters)  # ours are named only
        assert list(inspect.signature(ours).parameters)[: len(theirs_first)] == theirs_first
    for name in functional.__all__:
        ours, theirs = getattr(functional, name), getattr(F, name)
        theirs_first = list(inspect.signature(theirs).parameters)  # ours are named only
        assert list(inspect.signature(ours).parameters)[: len(theirs_first)] == theirs_first


def test_losses_move_with_the_model():
    loss_func = torchbce.BCEWithLogitsLoss(pos_weight=2.0).to("meta")
    assert loss_func(torch.empty(3, device="meta"), torch.empty(3, device="meta")).device.type == "meta"
