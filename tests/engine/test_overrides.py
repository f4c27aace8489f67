"""torch's ways of taking a call over: subclasses, modes, tracing, scripting; and tensors changed behind our back."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

import torchbce
from torchbce import functional as ours
from torchbce.engine import select

F = torch.nn.functional
NAMES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
FUNCTIONS = [getattr(ours, name) for name in NAMES] + [
    torchbce.focal_loss,
    torchbce.asymmetric_loss_with_logits,
    torchbce.fused_loss(lambda x, y, gamma=1.0: (x - y) ** 2 * gamma),
]
pytestmark = pytest.mark.usefixtures("reference")  # by whatever engine, but for the last test
X, Y = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.0, 1.0, 1.0])


class Recorder(TorchFunctionMode):
    def __init__(self):
        self.seen = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen.append(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_mode_sees_the_call_and_may_let_it_pass(function):
    expected = function(X, Y)
    with Recorder() as mode:
        found = function(X, Y)
    assert mode.seen[0] is function
    assert torch.equal(found, expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_subclass_sees_the_call_with_its_options(function):
    class Watched(torch.Tensor):
        seen = ()

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            Watched.seen += ((function, kwargs or {}),)
            return super().__torch_function__(function, types, args, kwargs)

    found = function(X.as_subclass(Watched), Y, reduction="sum", label_smoothing=0.1)
    assert Watched.seen[0][0] is function
    assert Watched.seen[0][1]["label_smoothing"] == 0.1
    assert isinstance(found, Watched)
    torch.testing.assert_close(found.as_subclass(torch.Tensor), function(X, Y, reduction="sum", label_smoothing=0.1))


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_that_knows_only_torchs_function_gets_it(name):
    torchs = getattr(F, name)

    class Handled:
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return "handled" if function is torchs else NotImplemented

    assert getattr(ours, name)(Handled(), Y) == "handled"
    assert getattr(ours, name)(Handled(), Y, label_smoothing=0.0, normalize="numel") == "handled"
    with pytest.raises(TypeError, match="there is no option 'smoothing'"):
        getattr(ours, name)(Handled(), Y, smoothing=0.0)
    with pytest.raises(TypeError, match="no implementation found"):
        getattr(ours, name)(Handled(), Y, label_smoothing=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_symbolic_trace_makes_one_node_of_a_patched_function(name):
    with torchbce.patch():
        traced = torch.fx.symbolic_trace(lambda x, y: getattr(F, name)(x, y, reduction="sum"))
    calls = [node for node in traced.graph.nodes if node.op == "call_function"]
    assert [node.target.func for node in calls] == [getattr(ours, name)]
    assert torch.equal(traced(X, Y), getattr(ours, name)(X, Y, reduction="sum"))


@pytest.mark.parametrize(
    "module",
    [
        torchbce.BCELoss(label_smoothing=0.1),
        torchbce.BCEWithLogitsLoss(pos_weight=3.0),
        torchbce.FocalWithLogitsLoss(alpha=0.25),
        torchbce.LogitAdjustedLoss(prior=0.1),
    ],
)
def test_modules_are_traced(module):
    traced = torch.fx.symbolic_trace(module)
    assert torch.equal(traced(X, Y), module(X, Y))


class Scripted(torch.nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.loss(x, y) + F.binary_cross_entropy(x, y)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripts_get_torchs_own_functions():
    plain = torch.jit.script(Scripted(torch.nn.BCEWithLogitsLoss()))(X, Y)
    with torchbce.patch():
        assert torch.equal(torch.jit.script(Scripted(torch.nn.BCEWithLogitsLoss()))(X, Y), plain)
    assert torch.equal(torch.jit.script(Scripted(torchbce.BCEWithLogitsLoss()))(X, Y), plain)
    weighted = torchbce.BCEWithLogitsLoss(reduction="sum", pos_weight=2.0)
    torch.testing.assert_close(torch.jit.script(weighted)(X, Y), weighted(X, Y))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("module", [torchbce.BCEWithLogitsLoss(label_smoothing=0.1), torchbce.BCELoss(pos_weight=2.0)])
def test_options_that_torch_has_not_cannot_be_scripted(module):
    with pytest.raises(NotImplementedError, match="script the model without its loss"):
        torch.jit.script(module)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_traced_loss_is_saved_and_gives_the_gradient(name, tmp_path):
    function = getattr(ours, name)
    x = X.clone().requires_grad_()
    traced = torch.jit.trace(lambda x, y: function(x, y), (x, Y))
    torch.jit.save(traced, str(tmp_path / "loss.pt"))
    found = torch.jit.load(str(tmp_path / "loss.pt"))(x, Y)
    torch.testing.assert_close(found, function(x, Y))
    (slopes,) = torch.autograd.grad(found, x)
    torch.testing.assert_close(slopes, torch.autograd.grad(function(x, Y), x)[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tracing", ["real", "fake", "symbolic"])
def test_make_fx_records_value_and_gradient(name, tracing):
    def both(x, y):
        x = x.detach().requires_grad_()
        loss = getattr(ours, name)(x, y)
        return loss, torch.autograd.grad(loss, x)[0]

    found = make_fx(both, tracing_mode=tracing)(X, Y)(X, Y)
    for one, other in zip(found, both(X, Y), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_functionalize_gives_value_and_gradient(name):
    function = getattr(ours, name)
    torch.testing.assert_close(torch.func.functionalize(function)(X, Y), function(X, Y))
    x = X.clone().requires_grad_()
    function(x, Y).backward()
    torch.testing.assert_close(torch.func.functionalize(torch.func.grad(function))(X, Y), x.grad)
    traced = make_fx(torch.func.functionalize(lambda x, y: function(x, y)))(X, Y)
    torch.testing.assert_close(traced(X, Y), function(X, Y))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_meta_tensors_have_shape_and_dtype(name, dtype):
    x = torch.empty(3, 4, dtype=dtype, device="meta", requires_grad=True)
    y = torch.empty(3, 4, dtype=dtype, device="meta")
    loss = getattr(ours, name)(x, y, reduction="none")
    assert (loss.shape, loss.dtype, loss.device.type) == ((3, 4), dtype, "meta")
    loss.sum().backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changed", ["input", "target", "weight"])
def test_a_tensor_changed_between_forward_and_backward_is_an_error(name, reduction, changed):
    leaf = X.clone().requires_grad_()
    tensors = {"input": leaf * 1.0, "target": Y.clone(), "weight": torch.ones(3)}
    with select.forced("cpu"):
        loss = getattr(ours, name)(**tensors, reduction=reduction)
    with torch.no_grad():
        tensors[changed].mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.sum().backward()
