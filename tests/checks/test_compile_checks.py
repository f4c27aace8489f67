"""Values outside [0, 1] within torch.compile: the graph itself raises, without a break."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from torch.func import grad, vmap

import torchbce
from torchbce import functional

NEEDS_COMPILER = pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
OUTSIDE = [1.5, -0.25, math.nan]


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()


def compiled(function, backend="aot_eager"):
    return torch.compile(function, backend=backend, fullgraph=True)


def with_one(value: float) -> torch.Tensor:
    changed = torch.full((3, 4), 0.5)
    changed[1, 2] = value
    return changed


def raises(name: str):
    return pytest.raises(RuntimeError, match=f"all elements of {name} should be between 0 and 1, but some are not")


def test_probabilities_and_their_targets_raise_as_without_it():
    fine = torch.full((3, 4), 0.5)
    for loss_func in (torchbce.BCELoss(), torchbce.FocalLoss(reduction="none")):
        run = compiled(loss_func)
        torch.testing.assert_close(run(fine, fine), loss_func(fine, fine))
        for value in OUTSIDE:
            with raises("input"):
                run(with_one(value), fine)
            with raises("target"):
                run(fine, with_one(value))
        for edges in (with_one(0.0), with_one(1.0)):
            run(edges, edges)


def test_targets_of_logits_raise_where_that_is_asked_for():
    x = torch.randn(3, 4, requires_grad=True)
    plain, validated = (compiled(torchbce.BCEWithLogitsLoss(validate=validate)) for validate in ("none", "raise"))
    validated(x, with_one(1.0)).backward()
    for value in OUTSIDE:
        torch.testing.assert_close(
            plain(x, with_one(value)), torchbce.BCEWithLogitsLoss()(x, with_one(value)), equal_nan=True
        )  # as torch
        with raises("target"):
            validated(x, with_one(value))


def test_class_numbers_raise():
    run = compiled(lambda x, y: functional.binary_cross_entropy_with_logits(x, y, num_classes=4))
    x = torch.zeros(3, 4)
    torch.testing.assert_close(run(x, torch.tensor([0, 1, 3])).item(), math.log(2))
    with pytest.raises(RuntimeError, match="target has class numbers from 0 to 3, but some are not"):
        run(x, torch.tensor([0, 4, 3]))


def test_what_does_not_count_may_hold_anything():
    run = compiled(lambda x, y, mask: functional.binary_cross_entropy(x, y, mask=mask, ignore_index=-1))
    x, y, mask = with_one(7.0), with_one(math.nan), torch.ones(3, 4, dtype=torch.bool)
    mask[1, 2], y[0, 0], x[0, 0] = False, -1.0, 9.0
    torch.testing.assert_close(run(x, y, mask), functional.binary_cross_entropy(x, y, mask=mask, ignore_index=-1))
    mask[1, 2] = True
    with raises("input"):
        run(x, y, mask)


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(vmap, id="vmap", marks=pytest.mark.combination),
        pytest.param(grad, id="grad", marks=pytest.mark.combination),
        pytest.param(lambda f: vmap(grad(f)), id="vmap of grad"),
        pytest.param(lambda f: grad(lambda x, y: vmap(f)(x, y).sum()), id="grad of vmap"),
    ],
)
def test_transformed(transform):
    run, fine = compiled(transform(lambda x, y: functional.binary_cross_entropy(x, y))), torch.full((3, 4), 0.5)
    run(fine, fine)
    with raises("input"):
        run(with_one(1.5), fine)
    with raises("target"):
        run(fine, with_one(1.5))


@pytest.mark.slow
@NEEDS_COMPILER
def test_kernels_of_inductor():
    run = compiled(lambda x, y: functional.binary_cross_entropy(x.sigmoid(), y), "inductor")
    x = torch.randn(70_000, requires_grad=True)  # several threads
    y = torch.rand(70_000)
    torch.testing.assert_close(run(x, y), functional.binary_cross_entropy(x.sigmoid(), y))
    y[50_000] = 1.5
    with raises("target"):
        run(x, y)
