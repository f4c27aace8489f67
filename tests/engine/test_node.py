"""The C++ node: the same as the calls from Python, to the bit, in everything that autograd may ask of it."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import subprocess
import sys
import threading
import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import forked
import torchbce
from root import ROOT
from torchbce import functional as ours
from torchbce.common.errors import BuildError
from torchbce.engine import select
from torchbce.engine.cpp_node import build, load
from torchbce.jit import cache

needs_node = pytest.mark.skipif(select.node() is None, reason="no C++ compiler has made the node here")
LOGITS, PROBABILITIES = ours.binary_cross_entropy_with_logits, ours.binary_cross_entropy
SHAPES = [(7,), (40, 3), (5, 4, 6), (3000, 10)]  # one chunk, and several


@contextlib.contextmanager
def no_node():
    """As where there is no compiler."""
    before = select._node
    select._node = lambda: None
    try:
        yield
    finally:
        select._node = before


def tensors(shape, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    x, y = torch.randn(shape) * 3, (torch.rand(shape) < 0.4).float()
    return x.to(dtype), torch.sigmoid(x).to(dtype), y.to(dtype), (torch.rand(shape) + 0.5).to(dtype)


def value_and_grad(loss, x, *args, **options):
    leaf = x.clone().requires_grad_()
    value = loss(leaf, *args, **options)
    value.backward(torch.full_like(value, 1.5))
    return value.detach(), leaf.grad, "BinaryCrossEntropy" in value.grad_fn.name()


def calls(x, p, y, w):
    """Functions, inputs and options, of which the node takes all."""
    row = w.reshape(-1, w.shape[-1])[0].clone() if w.ndim > 1 else w
    yield LOGITS, x, {}
    yield LOGITS, x, {"weight": w}
    yield LOGITS, x, {"weight": row, "pos_weight": row * 2}
    yield LOGITS, x, {"weight": 0.5, "pos_weight": 3}
    yield LOGITS, x, {"pos_weight": torch.tensor(2.5, dtype=x.dtype)}
    yield LOGITS, x, {"weight": torch.tensor([0.5], dtype=x.dtype), "label_smoothing": 0.1}
    yield LOGITS, x, {"ignore_index": 1, "target_threshold": 0.3}
    yield PROBABILITIES, p, {}
    yield PROBABILITIES, p, {"weight": w, "pos_weight": row}
    yield PROBABILITIES, p, {"label_smoothing": 0.2}
    yield torchbce.focal_loss_with_logits, x, {"gamma": 2.0, "alpha": 0.25}
    yield torchbce.focal_loss_with_logits, x, {"gamma": 1.5, "pos_weight": row}
    yield torchbce.focal_loss, p, {"gamma": 1}
    yield torchbce.asymmetric_loss_with_logits, x, {}


@needs_node
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_same_bits_as_from_python(dtype, shape, reduction):
    x, p, y, w = tensors(shape, dtype)
    for loss, input, options in calls(x, p, y, w):
        value, grad, taken = value_and_grad(loss, input, y, reduction=reduction, **options)
        with no_node():
            expected, expected_grad, _ = value_and_grad(loss, input, y, reduction=reduction, **options)
        assert taken, (loss, options)
        assert torch.equal(value, expected), (loss, options)
        assert value.stride() == expected.stride()
        assert torch.equal(grad, expected_grad), (loss, options)
        assert torch.equal(loss(input, y, reduction=reduction, **options), expected)


@needs_node
def test_many_sums_are_added_exactly():
    torch.manual_seed(0)
    x, y = torch.randn(400_000, dtype=torch.float64) * 9, torch.rand(400_000, dtype=torch.float64)
    x[::8192] *= 1e12  # chunks whose sums leave little room for those of the others
    value = LOGITS(x, y, reduction="sum")
    with no_node():
        assert torch.equal(value, LOGITS(x, y, reduction="sum"))


@needs_node
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64], ids=str)
def test_targets_of_other_dtypes(dtype):
    x, _, y, _ = tensors((20, 3), torch.float64 if dtype is torch.float64 else torch.float32)
    value, grad, taken = value_and_grad(LOGITS, x, y.to(dtype))
    with no_node():
        expected, expected_grad, _ = value_and_grad(LOGITS, x, y.to(dtype))
    assert taken
    assert value.dtype is x.dtype
    assert torch.equal(value, expected)
    assert torch.equal(grad, expected_grad)


@needs_node
def test_layouts_that_are_dense_alike():
    x, _, y, w = tensors((2, 3, 4, 5))
    last = [t.contiguous(memory_format=torch.channels_last) for t in (x, y, w)]
    for reduction in ("mean", "none"):
        value, grad, taken = value_and_grad(LOGITS, last[0], last[1], weight=last[2], reduction=reduction)
        expected, expected_grad, _ = value_and_grad(LOGITS, x, y, weight=w, reduction=reduction)
        assert taken
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(grad, expected_grad)
        assert grad.stride() == last[0].stride()


@needs_node
def test_what_it_leaves_to_python():
    x, _, y, w = tensors((6, 4))

    def taken(loss, *args, **options):
        value = loss(*args, **options)
        return value.grad_fn is not None and "BinaryCrossEntropy" in value.grad_fn.name()

    leaf = x.clone().requires_grad_()
    assert taken(LOGITS, leaf, y)
    assert not taken(LOGITS, leaf, y.clone().requires_grad_())
    assert not taken(LOGITS, leaf, y.t().contiguous().t())  # another order
    assert not taken(LOGITS, leaf[:, ::2], y[:, ::2])
    assert not taken(LOGITS, leaf, y, weight=w[:, :1])  # repeats along the rows
    assert not taken(LOGITS, leaf, y, mask=y > 0)
    assert not taken(LOGITS, leaf, y, normalize="batch")
    assert not taken(LOGITS, leaf, y.double())
    assert not taken(LOGITS, torch.empty(0, 4, requires_grad=True), torch.empty(0, 4))
    with torch.autocast("cpu", torch.bfloat16):
        assert taken(LOGITS, leaf, y)
        assert LOGITS(leaf.bfloat16(), y).dtype is torch.float32
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        assert torch.autograd.forward_ad.unpack_dual(LOGITS(dual, y)).tangent is not None
    assert torch.func.vmap(LOGITS)(x, y).shape == (6,)
    with torch.inference_mode():
        torch.testing.assert_close(LOGITS(x.clone(), y.clone()), LOGITS(leaf, y).detach())


@needs_node
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_for_any_number_of_threads(threads):
    x, _, y, w = tensors((70_000, 3))
    before = torch.get_num_threads()
    expected = value_and_grad(LOGITS, x, y, weight=w)[:2]
    try:
        torch.set_num_threads(threads)
        found = value_and_grad(LOGITS, x, y, weight=w)[:2]
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, found, expected))


@needs_node
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives_as_by_the_reference(reduction):
    x, _, y, w = (t.double() for t in tensors((5, 3)))

    def penalty(loss):
        leaf = x.clone().requires_grad_()
        value = loss(leaf, y, w, pos_weight=2.0, reduction=reduction, label_smoothing=0.1).sum()
        (grad,) = torch.autograd.grad(value, leaf, create_graph=True)
        return torch.autograd.grad((grad**2).sum(), leaf)[0]

    found = penalty(LOGITS)
    with select.forced("reference"):
        torch.testing.assert_close(found, penalty(LOGITS), rtol=1e-12, atol=0)
    leaf = x.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: LOGITS(x, y, w, reduction=reduction), leaf)


@needs_node
def test_many_gradients_at_once():
    x, _, y, _ = tensors((6,))
    leaf = x.clone().requires_grad_()
    value = LOGITS(leaf, y, reduction="none")
    (jacobian,) = torch.autograd.grad(value, leaf, torch.eye(6), is_grads_batched=True)
    torch.testing.assert_close(jacobian, torch.diag(torch.sigmoid(x) - y))


@needs_node
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_changed_tensor_is_an_error(reduction):
    for changed in range(4):
        x, _, y, w = tensors((6, 4))
        pos_weight = torch.tensor(2.0)
        leaf = x.clone().requires_grad_()
        input = leaf * 1
        value = LOGITS(input, y, w, pos_weight=pos_weight, reduction=reduction).sum()
        with torch.no_grad():
            (input, y, w, pos_weight)[changed].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


@needs_node
def test_backward_again():
    x, _, y, _ = tensors((6, 4))
    leaf = x.clone().requires_grad_()
    value = LOGITS(leaf, y)
    (first,) = torch.autograd.grad(value, leaf, retain_graph=True)
    kept = first.clone()
    first.zero_()  # whoever has it may change it
    (second,) = torch.autograd.grad(value, leaf, retain_graph=True)
    assert torch.equal(second, kept)
    (third,) = torch.autograd.grad(value, leaf, torch.tensor(3.0))
    torch.testing.assert_close(third, 3 * kept)
    with pytest.raises(RuntimeError, match="a second time"):
        torch.autograd.grad(value, leaf)


@needs_node
def test_the_gradient_is_given_away():
    x, _, y, _ = tensors((3000, 4))
    leaf = x.clone().requires_grad_()
    seen = []
    value = LOGITS(leaf, y)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        hooked = LOGITS(leaf, y)
    stashed = seen[-1].clone()
    hooked.backward(torch.tensor(2.0))
    assert torch.equal(seen[-1], stashed)  # what a hook holds is not changed
    leaf.grad = None
    value.backward()
    torch.testing.assert_close(leaf.grad, stashed)


@needs_node
def test_hooks_checkpoints_and_copies():
    x, _, y, _ = tensors((30, 4))
    (expected,) = torch.autograd.grad(LOGITS(leaf := x.clone().requires_grad_(), y), leaf)
    (found,) = torch.autograd.grad(checkpoint(LOGITS, leaf, y, use_reentrant=False), leaf)
    assert torch.equal(found, expected)
    checkpoint(LOGITS, leaf, y, use_reentrant=True).backward()
    assert torch.equal(leaf.grad, expected)
    with torch.autograd.graph.save_on_cpu():
        assert torch.equal(torch.autograd.grad(LOGITS(leaf, y), leaf)[0], expected)
    module = copy.deepcopy(torchbce.BCEWithLogitsLoss(pos_weight=torch.ones(4)))
    assert torch.equal(torch.autograd.grad(module(leaf, y), leaf)[0], expected)


@needs_node
def test_compiled_autograd():
    x, _, y, _ = tensors((30, 4))
    (expected,) = torch.autograd.grad(LOGITS(leaf := x.clone().requires_grad_(), y), leaf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        with torch._dynamo.compiled_autograd._enable(functools.partial(torch.compile, backend="eager")):
            LOGITS(leaf, y).backward()
    torch.testing.assert_close(leaf.grad, expected)


@needs_node
def test_many_threads_of_python():
    x, _, y, w = tensors((5000, 4))
    expected = value_and_grad(LOGITS, x, y, weight=w)[:2]
    wrong = []

    def work():
        for _ in range(50):
            if not all(map(torch.equal, value_and_grad(LOGITS, x, y, weight=w)[:2], expected)):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_node
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork():
    script = """
import os, torch
from torchbce.functional import binary_cross_entropy_with_logits as loss
torch.manual_seed(0)
x, y = torch.randn(30_000, requires_grad=True), torch.ones(30_000)  # so few that torch itself takes one thread
torch.set_num_threads(2)
items = loss(x, y, reduction="none")
expected, = torch.autograd.grad(loss(x, y), x)
child = os.fork()
if child == 0:
    found, = torch.autograd.grad(loss(x, y), x)
    items.mean().backward()
    os._exit(0 if torch.equal(found, expected) and torch.allclose(x.grad, expected) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    assert forked.run(script).returncode == 0


@needs_node
def test_a_value_that_is_not_allowed():
    p = torch.tensor([0.2, 1.5], requires_grad=True)
    for options in ({}, {"reduction": "none"}, {"weight": torch.ones(2)}):
        with pytest.raises(RuntimeError, match=r"element \(1,\) is 1\.5"):
            PROBABILITIES(p, torch.ones(2), **options)


@needs_node
def test_more_options_than_it_keeps():
    x, _, y, _ = tensors((4,))
    for i in range(1100):
        LOGITS(x, y, label_smoothing=i / 2000)
    found = LOGITS(x, y, label_smoothing=0.9)
    with no_node():
        assert torch.equal(found, LOGITS(x, y, label_smoothing=0.9))


def test_engine_for_says_which_way():
    x, y = torch.rand(3), torch.ones(3)
    with no_node():
        assert torchbce.engine_for(x, y).reason.endswith("one compiled pass")
    if select.node() is not None:
        assert torchbce.engine_for(x, y).reason.endswith("called from C++")
        assert not torchbce.engine_for(x[::2], y[::2]).reason.endswith("called from C++")


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("TORCHBCE_NODE", "0")
    assert load.node.__wrapped__() is None


def test_a_damaged_library_is_not_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHBCE_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    file = tmp_path / f"{build.identity()}.so"
    file.write_bytes(b"not what was built")
    assert not build.is_whole(file)
    assert load.node.__wrapped__() is None


def test_a_library_that_does_not_load_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHBCE_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(build, "compiled", lambda: b"no library")
    file = build.build()
    assert build.is_whole(file)
    with pytest.warns(RuntimeWarning, match="torchbce build"):
        assert load.node.__wrapped__() is None


def test_a_library_in_a_wheel_is_found(monkeypatch, tmp_path):
    sys.path.insert(0, str(ROOT / "release"))
    from node_wheel import write_wheel

    sys.path.pop(0)
    wheel = write_wheel(tmp_path / "wheels", b"the library")
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True,
    )
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setenv("TORCHBCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(site)
    found = load._file()
    assert found.parent == site / load.PACKAGE
    assert found.read_bytes() == b"the library"


def test_without_a_compiler(monkeypatch, tmp_path, command):
    monkeypatch.setenv("TORCHBCE_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about the compiler
        with pytest.raises(BuildError, match="everything works without it"):
            build.build()
        result = command("build")
    assert result.exit_code == 7
    assert "cannot be compiled" in result.output
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}  # no node, nor half of one
    assert cache.read(tmp_path / "nothing") is None
