"""The kernels at infinite, missing and forbidden values, and at the smallest sizes."""

from __future__ import annotations

import math

import pytest
import torch

from kernel_calls import ENGINES, LOSSES, both, data
from torchbce import functional
from torchbce.engine import select


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [1, 300])
def test_infinite_logits(engine, count):
    inf = math.inf
    for logit, target, loss, slope in ((inf, 1, 0, 0), (-inf, 0, 0, 0), (inf, 0, inf, 1), (-inf, 1, inf, -1)):
        value, slopes = both(
            engine, "bce_with_logits", torch.full((count,), logit), torch.full((count,), float(target)), reduction="sum"
        )
        assert value.item() == loss
        assert (slopes == slope).all()
    mixed = torch.tensor([inf, -inf]).repeat(count)
    assert both(engine, "bce_with_logits", mixed, torch.zeros(2 * count))[0].item() == inf


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("count", [1, 40, 300, 9000])
def test_one_nan_logit_makes_the_loss_nan(engine, count):
    for target in (0.0, 0.5, 1.0):
        x = torch.zeros(count)
        x[count // 2] = math.nan
        assert both(engine, "bce_with_logits", x, torch.full((count,), target))[0].isnan()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LOSSES)
def test_empty_and_single_tensors(engine, name):
    for reduction, value in (("mean", math.nan), ("sum", 0.0)):
        mine = both(engine, name, torch.empty(0, 3), torch.empty(0, 3), reduction=reduction)
        torch.testing.assert_close(mine[0], torch.tensor(value), equal_nan=True)
        assert mine[1].shape == (0, 3)
    assert both(engine, name, torch.empty(0), torch.empty(0), reduction="none")[0].shape == (0,)
    x, y = data(name, ())
    torch.testing.assert_close(both(engine, name, x, y), both("reference", name, x, y))


# Values that are not allowed


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize(("wrong", "who"), [(1.5, "input"), (-0.1, "input"), (math.nan, "input"), (2.5, "target")])
@pytest.mark.parametrize(
    ("engine", "count"),
    # Triton's interpreter is slow.
    [(engine, count) for engine in ENGINES for count in (3, 50, 500, 20000) if (engine, count) != ("gpu", 20000)],
)
def test_a_value_outside_is_named_wherever_it_is(engine, wrong, who, reduction, count):
    if engine == "gpu" and torch.cuda.is_available():
        pytest.skip("a GPU says it in a later call: test_gpu_losses")
    for position in (0, count // 2, count - 1):
        for hard in (True, False):
            x, y = data("bce", count)
            y = (y < 0.5).float() if hard else y
            (x if who == "input" else y)[position] = wrong
            with pytest.raises(
                RuntimeError, match=rf"all elements of {who} should.*element \({position},\) is {wrong}"
            ):
                both(engine, "bce", x, y, reduction=reduction)


def test_negative_zero_and_nan_weights_are_allowed():
    assert both("cpu", "bce", torch.full((300,), -0.0), torch.zeros(300))[0] == 0
    with select.forced("cpu"):
        weight = torch.full((300,), math.nan)
        assert functional.binary_cross_entropy(torch.rand(300), torch.ones(300), weight=weight).isnan()


def test_integer_targets_outside_are_named():
    with pytest.raises(RuntimeError, match="all elements of target should.*is 255"):
        both("cpu", "bce", torch.rand(5), torch.tensor([0, 255, 0, 255, 0], dtype=torch.uint8))


def test_logits_take_targets_of_any_size():
    x, _ = data("bce_with_logits", 400)
    y = torch.randn(400) * 100
    mine, theirs = (
        both("cpu", "bce_with_logits", x, y, reduction="none"),
        both("reference", "bce_with_logits", x, y, reduction="none"),
    )
    torch.testing.assert_close(mine, theirs)
