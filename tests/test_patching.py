"""patch(): torch's names run on ours, and undo puts everything back."""

from __future__ import annotations

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
        assert [getattr(F, name) for name in NAMES] == [getattr(functional, name) for name in NAMES]
        assert someones_module.binary_cross_entropy is functional.binary_cross_entropy
        assert someones_module.renamed is functional.binary_cross_entropy
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
    assert F.binary_cross_entropy is functional.binary_cross_entropy
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
