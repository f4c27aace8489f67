"""What backward does with the kernels' result, and which engine a call takes."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import torchbce
from root import ROOT
from torchbce import functional
from torchbce.engine import select

LOSSES = [functional.binary_cross_entropy, functional.binary_cross_entropy_with_logits]


@pytest.fixture(params=["cpu", "gpu"])
def engine(request):
    with select.forced(request.param):
        yield request.param


def data(shape=(40, 3), dtype=torch.float32):
    torch.manual_seed(0)
    return torch.rand(shape, dtype=dtype).requires_grad_(), torch.rand(shape, dtype=dtype)


def by_reference(function, x, y, factor=1.0, **options):
    x = x.detach().double().requires_grad_()
    with select.forced("reference"):
        (function(x, y.double(), **options) * factor).sum().backward()
    return x.grad.to(y.dtype)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("function", LOSSES)
def test_backward_twice_and_with_other_factors(engine, function, reduction):
    x, y = data()
    expected = by_reference(function, x, y, reduction=reduction)
    loss = function(x, y, reduction=reduction).sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    kept = first.clone()
    first.zero_()  # what was handed out belongs to the caller
    (second,) = torch.autograd.grad(3 * loss, x, retain_graph=True)
    loss.backward()
    torch.testing.assert_close(kept, expected)
    torch.testing.assert_close(second, 3 * expected)
    torch.testing.assert_close(x.grad, expected)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@pytest.mark.parametrize("function", LOSSES)
def test_gradients_accumulate(engine, function):
    x, y = data()
    for _ in range(3):
        function(x, y).backward()
    torch.testing.assert_close(x.grad, 3 * by_reference(function, x, y))
    leaf, _ = data()
    (function(leaf.sqrt(), y) + function(leaf.sqrt(), y, reduction="sum") + leaf.sum()).backward()
    other = leaf.detach().double().requires_grad_()
    with select.forced("reference"):
        wide = y.double()
        (function(other.sqrt(), wide) + function(other.sqrt(), wide, reduction="sum") + other.sum()).backward()
    torch.testing.assert_close(leaf.grad, other.grad.float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", LOSSES)
def test_loss_scaling_saves_gradients_too_small_for_16_bits(engine, function, dtype):
    # The slope of a mean over many items underflows in float16; the scale of a GradScaler must come in before that.
    x, y = data(300, dtype)
    y = (x.detach() + 0.001 * y).clamp(0, 1) if function is LOSSES[0] else y
    scale = 2.0**13
    (function(x, y) * scale).backward()
    exact = by_reference(function, x, y.float(), scale)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(x.grad.float(), exact, rtol=eps, atol=eps * 1e-3 * exact.abs().max().item())


def test_a_weight_changed_before_backward_is_refused(engine):
    x, y = data()
    weight = torch.rand(3)
    loss = functional.binary_cross_entropy(x, y, weight=weight, reduction="none").sum()
    weight.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("function", LOSSES)
def test_double_backward_after_a_fused_forward(engine, function):
    x, y = data((4, 2), torch.float64)
    weight = torch.rand(2, dtype=torch.float64)

    def gradient(x, y):
        (g,) = torch.autograd.grad(function(x, y, weight=weight), x, create_graph=True)
        return g.square().sum()

    (mine,) = torch.autograd.grad(gradient(x, y), x)
    with select.forced("reference"):
        (theirs,) = torch.autograd.grad(gradient(x, y), x)
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("function", LOSSES)
def test_batched_gradients_of_a_fused_forward(function):
    x, y = data((5,), torch.float64)
    losses = function(x, y, reduction="none")
    (rows,) = torch.autograd.grad(losses, x, torch.eye(5, dtype=torch.float64), is_grads_batched=True)
    torch.testing.assert_close(rows.diag(), by_reference(function, x, y, reduction="sum"))


def test_checkpointing_recomputes_the_same(engine):
    x, y = data()
    loss = checkpoint(lambda x: functional.binary_cross_entropy(x.sqrt(), y), x, use_reentrant=False)
    loss.backward()
    leaf = x.detach().requires_grad_()
    functional.binary_cross_entropy(leaf.sqrt(), y).backward()
    assert torch.equal(x.grad, leaf.grad)


def test_inference_mode_and_no_grad(engine):
    x, y = data()
    expected = functional.binary_cross_entropy(x, y).detach()
    with torch.inference_mode():
        assert torch.equal(functional.binary_cross_entropy(x, y), expected)
    with torch.no_grad():
        assert not functional.binary_cross_entropy(x, y).requires_grad


def test_modules_are_copied_and_pickled(engine):
    x, y = data()
    for loss_func in (torchbce.BCELoss(weight=torch.rand(3)), torchbce.BCEWithLogitsLoss(pos_weight=torch.rand(3))):
        expected = loss_func(x, y)
        expected.backward(retain_graph=True)
        for other in (copy.deepcopy(loss_func), pickle.loads(pickle.dumps(loss_func))):
            assert torch.equal(other(x, y), expected)


def test_autocast_takes_the_kernels(engine):
    x, y = data(dtype=torch.bfloat16)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        loss = functional.binary_cross_entropy(x, y)
    assert loss.dtype == torch.float32
    loss.backward()
    assert x.grad.dtype == torch.bfloat16


# Which engine


class Tagged(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (lambda: (torch.rand(3), torch.rand(3, requires_grad=True)), "target requires grad"),
        (lambda: (torch.rand(3).as_subclass(Tagged), torch.rand(3)), "Tagged is a tensor subclass"),
        (lambda: (torch.rand(3), torch.rand(3), torch.rand(3).as_subclass(Tagged)), "Tagged is a tensor subclass"),
        (
            lambda: (torch.rand(3), torch.rand(3), None, torch.rand(3).as_subclass(Tagged)),
            "Tagged is a tensor subclass",
        ),
        (lambda: (torch.empty(3, device="meta"), torch.empty(3, device="meta")), "no kernels for meta tensors"),
        (lambda: (torch.rand(3), torch.rand(3), torch.empty(3, device="meta")), "no kernels for meta tensors"),
        (lambda: (torch._neg_view(torch.rand(3)), torch.rand(3)), "not plain strided memory"),
        (lambda: (torch.rand(3).to_sparse(), torch.rand(3)), "not plain strided memory"),
        (lambda: (torch.rand(3), torch.ones(3, dtype=torch.uint16)), "target of torch.uint16"),
        (lambda: (torch.ones(3, dtype=torch.complex64), torch.rand(3)), "input of torch.complex64"),
    ],
)
def test_the_reason_for_the_reference_is_given(arguments, reason):
    engine = torchbce.engine_for(*arguments())
    assert engine.name == "reference"
    assert reason in engine.reason


def test_the_engine_under_transforms_and_modes():
    x, y = torch.rand(3), torch.rand(3)
    seen = []

    def look(x):
        seen.append(torchbce.engine_for(x, y))
        return functional.binary_cross_entropy(x, y)

    torch.func.grad(look)(x)
    torch.func.jvp(look, (x,), (x,))
    with torch._subclasses.FakeTensorMode():
        seen.append(torchbce.engine_for(x, y))
    with torch.autograd.forward_ad.dual_level():
        seen.append(torchbce.engine_for(x, y))
    assert [engine.name for engine in seen] == ["reference"] * 4
    assert [engine.reason.split()[0] for engine in seen] == ["a", "a", "a", "forward-mode"]
    name, reason = torchbce.engine_for(x, y)
    assert name == "cpu"
    assert reason.startswith("dense tensors on the CPU: one compiled pass")


@pytest.mark.parametrize("special", ["neg", "strided", "grad target", "parameter", "float64", "bool"])
def test_calls_that_are_nearly_usual_are_right(special):
    # Each misses one condition of the short way that a usual call takes.
    x, y = torch.rand(6, 6) * 0.9 + 0.05, torch.rand(6, 6)
    expected = functional.binary_cross_entropy(x.double(), y.double())
    arguments = {
        "neg": (torch._neg_view(-x), torch._neg_view(-y)),
        "strided": (x.t().contiguous().t(), y),
        "grad target": (x, y.clone().requires_grad_()),
        "parameter": (torch.nn.Parameter(x), y),
        "float64": (x.double(), y.double()),
        "bool": (x, y > 0.5),
    }[special]
    if special == "bool":
        expected = functional.binary_cross_entropy(x.double(), (y > 0.5).double())
    torch.testing.assert_close(functional.binary_cross_entropy(*arguments).double(), expected, rtol=1e-6, atol=0)


def test_forcing_an_engine_that_cannot_take_the_call_fails():
    with select.forced("cpu"), pytest.raises(RuntimeError, match="cpu kernels cannot take this call: the target"):
        functional.binary_cross_entropy(torch.rand(3), torch.rand(3, requires_grad=True))
    assert torchbce.engine_for(torch.rand(3), torch.rand(3)).name == "cpu"


def test_torch_compile_keeps_one_graph_beside_the_kernels():
    x, y = data()
    loss = functional.binary_cross_entropy(x, y)  # the kernels are loaded
    compiled = torch.compile(functional.binary_cross_entropy, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, y), loss)


def test_the_gpu_kernels_compile_for_a_gpu():
    """Without a GPU at hand, at least NVIDIA's assembler accepts every variant."""

    script = ROOT / "tests" / "compile_for_gpu.py"
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "0"}
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == ["100", "kernels"]


@pytest.mark.parametrize("function", LOSSES)
def test_hooks_may_give_saved_tensors_back_in_another_layout(function):
    x, y = data((40, 40))
    expected = by_reference(function, x, y)

    def pack(tensor):
        return tensor.t().contiguous()

    with select.forced("cpu"), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor.t()):
        loss = function(x, y)
        loss.backward(retain_graph=True)
        loss.backward()
    torch.testing.assert_close(x.grad, 2 * expected)
