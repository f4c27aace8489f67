"""patch(): torch's names run on ours, and undo puts everything back."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
import sys
import types

import pytest
import torch
import torch.nn.functional as F

import torchbce
from torchbce import functional

NAMES = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


@pytest.fixture
def someones_module():
    """A module that imported both by name, before."""
    module = types.ModuleType("someones_module")
    for name in NAMES:
        setattr(module, name, getattr(F, name))
    module.renamed = F.binary_cross_entropy
    sys.modules["someones_module"] = module
    yield module
    del sys.modules["someones_module"]


def test_functions_and_modules_run_on_ours_until_undone(someones_module):
    originals = [getattr(F, name) for name in NAMES]
    loss_func = torch.nn.BCEWithLogitsLoss()
    logit, target = torch.tensor([-15.0]), torch.tensor([0.0])
    assert loss_func(logit, target) == 0
    with torchbce.patch():
        assert [getattr(F, name).func for name in NAMES] == [getattr(functional, name) for name in NAMES]
        assert someones_module.binary_cross_entropy is F.binary_cross_entropy
        assert someones_module.renamed is F.binary_cross_entropy
        assert loss_func(logit, target) > 3e-7
        assert torch.nn.BCELoss()(torch.tensor([0.5]), torch.tensor([1])) > 0  # torch refuses integers
    assert [getattr(F, name) for name in NAMES] == originals
    assert someones_module.binary_cross_entropy is originals[0]
    assert someones_module.renamed is originals[0]
    assert loss_func(logit, target) == 0


def test_a_second_patch_changes_nothing_and_undoes_nothing():
    original = F.binary_cross_entropy
    first = torchbce.patch()
    second = torchbce.patch()
    second.undo()
    assert F.binary_cross_entropy.func is functional.binary_cross_entropy
    first.undo()
    first.undo()
    assert F.binary_cross_entropy is original


def test_an_error_inside_undoes():
    original = F.binary_cross_entropy
    with pytest.raises(ZeroDivisionError), torchbce.patch():
        raise ZeroDivisionError
    assert F.binary_cross_entropy is original


def test_a_training_loop_gives_the_same_weights():
    def train():
        torch.manual_seed(0)
        model, x = torch.nn.Linear(5, 1, dtype=torch.float64), torch.randn(64, 5, dtype=torch.float64)
        y = (x.sum(1, keepdim=True) > 0).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.BCEWithLogitsLoss()(model(x), y).backward()
            optimizer.step()
        return model.weight.detach()

    theirs = train()
    with torchbce.patch():
        torch.testing.assert_close(train(), theirs)


class Trainer:
    loss = F.binary_cross_entropy_with_logits
    static = staticmethod(F.binary_cross_entropy_with_logits)

    def __init__(self):
        self.own = F.binary_cross_entropy_with_logits


def with_default(x, y, loss=F.binary_cross_entropy_with_logits, *, named=F.binary_cross_entropy_with_logits):
    return loss(x, y) + named(x, y)


CONFIDENT = torch.tensor([-15.0]), torch.tensor([0.0])  # torch gives 0, ours 3.06e-7


def test_what_refers_to_torchs_functions_is_found():
    module = torch.nn.Identity()
    module.criterion = F.binary_cross_entropy_with_logits
    partial = functools.partial(F.binary_cross_entropy_with_logits, reduction="sum")
    table, several = {"bce": F.binary_cross_entropy_with_logits}, [1, F.binary_cross_entropy_with_logits]
    trainer = Trainer()

    def losses():
        calls = (Trainer.loss, Trainer.static, trainer.static, trainer.own, module.criterion, partial, with_default)
        return [call(*CONFIDENT).item() for call in (*calls, table["bce"], several[1])]

    assert not any(losses())
    before = [dict(vars(owner)) for owner in (Trainer, trainer)], list(several), dict(table), with_default.__defaults__
    with torchbce.patch():
        assert all(loss > 3e-7 for loss in losses()), losses()
        several.insert(0, "moved")
    assert not any(call(*CONFIDENT) for call in (Trainer.loss, partial, with_default, several[2], table["bce"]))
    del several[0]
    after = [dict(vars(owner)) for owner in (Trainer, trainer)], list(several), dict(table), with_default.__defaults__
    assert before[1:] == after[1:]
    assert after[0][0]["static"].__func__ is F.binary_cross_entropy_with_logits
    assert all(a["loss" if "loss" in a else "own"] is F.binary_cross_entropy_with_logits for a in after[0])


EARLY = {F.binary_cross_entropy_with_logits: "early table"}


class Overridden(torch.Tensor):
    """Knows the loss by a table that was made before any patch."""

    table = EARLY

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in cls.table:
            return cls.table[func]
        return super().__torch_function__(func, types, args, kwargs or {})


def test_overrides_by_torchs_function_hold_whenever_their_table_was_made():
    x, y = (v.as_subclass(Overridden) for v in CONFIDENT)
    with torchbce.patch():
        assert F.binary_cross_entropy_with_logits(x, y) == "early table"
        assert torch.nn.BCEWithLogitsLoss()(x, y) == "early table"

        class Late(Overridden):
            table = {F.binary_cross_entropy_with_logits: "late table"}  # noqa: RUF012

        assert F.binary_cross_entropy_with_logits(x.as_subclass(Late), y.as_subclass(Late)) == "late table"

        class Mode(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                if func is F.binary_cross_entropy_with_logits and func in EARLY:
                    return "mode"
                return func(*args, **(kwargs or {}))

        with Mode():
            assert F.binary_cross_entropy_with_logits(*CONFIDENT) == "mode"
            assert F.binary_cross_entropy(*map(torch.sigmoid, CONFIDENT)) > 0
        plain = CONFIDENT[0].as_subclass(type("Plain", (torch.Tensor,), {}))
        assert F.binary_cross_entropy_with_logits(plain, CONFIDENT[1]) > 3e-7
        assert torch.overrides.resolve_name(F.binary_cross_entropy) == "torch.nn.functional.binary_cross_entropy"


def test_a_patched_function_is_copied_pickled_scripted_and_compiled_as_torchs():
    original = F.binary_cross_entropy
    with torchbce.patch():
        assert copy.deepcopy(F.binary_cross_entropy) is F.binary_cross_entropy
        pickled = pickle.dumps(F.binary_cross_entropy)
        assert pickle.loads(pickled) is F.binary_cross_entropy
        compiled = torch.compile(lambda x, y: F.binary_cross_entropy_with_logits(x, y), backend="eager", fullgraph=True)
        assert compiled(*CONFIDENT) > 3e-7
        assert "torch.nn.functional.binary_cross_entropy_with_logits(" in torch.fx.symbolic_trace(Head()).code
        assert torch.jit.script(Head())(*CONFIDENT) == 0  # torch's own
    assert pickle.loads(pickled) is original


class Head(torch.nn.Module):
    def forward(self, x, y):
        return F.binary_cross_entropy_with_logits(x, y)


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
def test_masked_tensors_are_refused_with_what_to_write():
    x = torch.masked.masked_tensor(torch.zeros(2), torch.tensor([True, False]))
    with pytest.raises(
        TypeError, match=r"input is a MaskedTensor; pass input.get_data\(\), and mask=input.get_mask\(\)"
    ):
        functional.binary_cross_entropy_with_logits(x, torch.ones(2))
    with pytest.raises(TypeError, match="target is a MaskedTensor"):
        torchbce.focal_loss_with_logits(torch.zeros(2), x)


def test_what_a_frozen_object_refers_to_is_replaced_and_put_back():
    @dataclasses.dataclass(frozen=True)
    class Recipe:
        loss_func: object

    recipe, torchs = Recipe(F.binary_cross_entropy), F.binary_cross_entropy
    with torchbce.patch():
        assert recipe.loss_func is F.binary_cross_entropy is not torchs
    assert recipe.loss_func is torchs
