"""The reference against mpmath, at the extremes too, relatively: in units of the last place."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

import gold
from torchbce import functional
from torchbce.engine import reference
from torchbce.losses import bce, bce_with_logits

NAMES = ["", "_dx", "_dy", "_dxx", "_dxy"]
INF = math.inf


def grid(values: list[float], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = torch.tensor(list(product(values, gold.TARGETS)), dtype=dtype)
    return pairs[:, 0].contiguous(), pairs[:, 1].contiguous()


def worst_error(name: str, x: torch.Tensor, y: torch.Tensor, *constants: float) -> tuple[float, float, float]:
    """(ulps, x, y) of the item that is most wrong; where two terms cancel, in ulps of the terms."""
    values = reference.bound(getattr(bce if hasattr(bce, name) else bce_with_logits, name))(x, y, *constants)
    errors = []
    for value, a, b in zip(values.tolist(), x.tolist(), y.tolist(), strict=True):
        exact = getattr(gold, name)(a, b, *constants)
        scale = max(abs(exact), gold.cancelling_terms(name, a, b, *constants))
        errors.append((gold.ulps(value, exact, x.dtype, scale), a, b))
    return max(errors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", NAMES)
@pytest.mark.parametrize("pos_weight", [1.0, 0.25, 7.0, 2.0**-20])
def test_logits_match_mpmath(dtype, suffix, pos_weight):
    x, y = grid(gold.LOGITS, dtype)
    ulps, at_x, at_y = worst_error("bce_with_logits" + suffix, x, y, pos_weight)
    assert ulps <= 7, f"{ulps:.1f} units of the last place at x={at_x}, y={at_y}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", NAMES)
@pytest.mark.parametrize("pos_weight", [1.0, 0.25, 7.0, 2.0**-20])
def test_probabilities_match_mpmath(dtype, suffix, pos_weight):
    x, y = grid(gold.PROBABILITIES, dtype)
    ulps, at_x, at_y = worst_error("bce" + suffix, x, y, pos_weight)
    assert ulps <= 7, f"{ulps:.1f} units of the last place at x={at_x}, y={at_y}"


def test_gold_at_known_points():
    # The oracle itself, against numbers that can be checked by hand.
    assert float(gold.bce_with_logits(0, 1)) == pytest.approx(math.log(2), rel=1e-15)
    assert float(gold.bce(0.6, 1)) == pytest.approx(-math.log(0.6), rel=1e-15)
    assert float(gold.bce(0.0, 1)) == 100
    assert float(gold.bce_with_logits(-15, 0)) == pytest.approx(3.0590227e-07, rel=1e-7)
    assert float(gold.bce_with_logits_dx(0, 1, 3)) == -1.5
    assert gold.ulps(1.0, gold.mpf(1) + gold.mpf(2) ** -23, torch.float32) == 1.0
    assert gold.ulps(0.0, gold.mpf("1e-30"), torch.float32) > 1e6


@pytest.mark.parametrize(("logit", "target", "loss"), [(INF, 1, 0), (-INF, 0, 0), (INF, 0, INF), (-INF, 1, INF)])
def test_infinite_logits_cost_nothing_when_right_and_infinity_when_wrong(logit, target, loss):
    x = torch.tensor([logit], requires_grad=True)
    value = functional.binary_cross_entropy_with_logits(x, torch.tensor([float(target)]))
    value.backward()
    assert value.item() == loss
    assert x.grad.item() == (0 if loss == 0 else 1 if target == 0 else -1)


@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_nan_logits_give_nan(target):
    assert functional.binary_cross_entropy_with_logits(torch.tensor([math.nan]), torch.tensor([target])).isnan()


@pytest.mark.parametrize(("dtype", "logit"), [(torch.float32, -15.0), (torch.float32, -80.0), (torch.bfloat16, -5.0)])
def test_confident_negatives_keep_their_digits(dtype, logit):
    loss = functional.binary_cross_entropy_with_logits(
        torch.tensor([logit], dtype=dtype), torch.zeros(1, dtype=dtype), reduction="none"
    )
    assert gold.ulps(loss.item(), gold.bce_with_logits(logit, 0), dtype) <= 1
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor([logit], dtype=dtype), torch.zeros(1, dtype=dtype), reduction="none"
    )
    assert gold.ulps(theirs.item(), gold.bce_with_logits(logit, 0), dtype) > 100  # or the test shows nothing


def test_derivatives_by_autograd_are_those_of_the_formulas():
    x = torch.linspace(0.05, 0.95, 7, dtype=torch.float64, requires_grad=True)
    y = torch.linspace(0.1, 0.9, 7, dtype=torch.float64, requires_grad=True)
    for loss, point in ((bce.BCE, x), (bce_with_logits.BCE_WITH_LOGITS, (x - 0.4) * 8)):
        constants = (3.0,)
        point = point.detach().requires_grad_()
        plain = reference.bound(loss.value)(point, y, *constants).sum()  # differentiated operation by operation
        by_x, by_y = torch.autograd.grad(plain, (point, y), create_graph=True)
        torch.testing.assert_close(by_x, reference.bound(loss.dx)(point, y, *constants))
        torch.testing.assert_close(by_y, reference.bound(loss.dy)(point, y, *constants))
        (by_xx,) = torch.autograd.grad(by_x.sum(), point)
        torch.testing.assert_close(by_xx, reference.bound(loss.dxx)(point, y, *constants))


def test_second_derivative_at_a_logit_of_zero():
    hessian = torch.func.hessian(lambda v: functional.binary_cross_entropy_with_logits(v, torch.ones(1)))
    assert hessian(torch.zeros(1)).item() == 0.25


def test_third_derivative_at_a_logit_of_zero():
    # d/dx of the mixed derivative -(s + w (1 - s)) is (w - 1) s (1 - s): right only if |x| is a choice, not an abs.
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    reference.bound(bce_with_logits.bce_with_logits_dxy)(x, torch.ones(1, dtype=torch.float64), 5.0).backward()
    assert x.grad.item() == pytest.approx(1.0)
