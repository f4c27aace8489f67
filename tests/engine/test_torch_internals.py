"""A torch without one of the private names that torchbce uses: the reference computes, and says why."""

from __future__ import annotations

import importlib
import operator

import pytest
import torch

from torchbce import engine_for, functional
from torchbce.engine import torch_internals

NAMES = [
    "_C._are_functorch_transforms_active",
    "_C._len_torch_dispatch_stack",
    "_C._is_tracing",
    "_C._functorch.is_functorch_wrapped_tensor",
    "_C._functorch.get_unwrapped",
    "_C._functorch.is_legacy_batchedtensor",
    "_C._functorch.get_interpreter_stack",
    "_C._functorch.TransformType.Functionalize",
    "autograd.forward_ad._set_fwd_grad_enabled",
    "_C._FunctionBase.apply",
    "_C.DispatchKey",
    "_C.DispatchKeySet",
    "_C._ExcludeDispatchKeyGuard",
    "_assert_async",
]


@pytest.fixture(autouse=True)
def restored():
    yield
    importlib.reload(torch_internals)


def remove(name, monkeypatch):
    """Let the lookup of one name fail, as it does where torch lacks it; torch itself needs them all."""
    real = operator.attrgetter

    def missing(_):
        raise AttributeError(name)

    monkeypatch.setattr(operator, "attrgetter", lambda wanted: missing if wanted == name else real(wanted))
    importlib.reload(torch_internals)
    monkeypatch.undo()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_name_is_the_reason_for_the_reference(name, monkeypatch):
    remove(name, monkeypatch)
    x = torch.tensor([[0.25, 0.5]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0]])
    assert engine_for(x, y) == ("reference", f"this torch lacks torch.{name}")
    for weight in (None, torch.ones(2)):
        loss = functional.binary_cross_entropy(x, y, weight)
        (slopes,) = torch.autograd.grad(loss, x, create_graph=True)
        torch.testing.assert_close(slopes, torch.tensor([[-2.0, 1.0]]))
        torch.autograd.grad(slopes.sum(), x)
    mapped = torch.func.vmap(torch.func.grad(functional.binary_cross_entropy))(x.detach(), y)
    torch.testing.assert_close(mapped, torch.tensor([[-2.0, 1.0]]))
    with pytest.raises(RuntimeError, match="all elements of input should be"):
        functional.binary_cross_entropy(x + 1, y)


def test_this_torch_has_them_all():
    assert torch_internals.MISSING is None
