"""Losses that users write: read once, fused, differentiable, checked; and errors that name the line."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F

import torchbce
from torchbce import fused_loss, verify
from torchbce.engine import select
from torchbce.engine.reference import bound
from torchbce.formula.derivative import derivative
from torchbce.losses.bce import BCE
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS
from torchbce.losses.fused_loss import FormulaError

ENGINES = ["cpu", "gpu", "reference"]


@fused_loss
def my_bce(x, y, gamma=0.0):
    p = torch.sigmoid(x)
    return (y * (1 - p) + (1 - y) * p) ** gamma * (y * F.softplus(-x) + (1 - y) * F.softplus(x))


@fused_loss(probabilities=True)
def article(q, y):
    return -(y * torch.log(q) + (1 - y) * torch.log(1 - q))


def with_derivative(x, y):
    return F.softplus(x) - x * y, torch.sigmoid(x) - y


def data(count=300):
    torch.manual_seed(0)
    return 2 * torch.randn(count), (torch.rand(count) > 0.5).float()


def both(function, x, y, **options):
    x = x.clone().requires_grad_()
    value = function(x, y, **options)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


# Deriving


@pytest.mark.parametrize("loss", [BCE, BCE_WITH_LOGITS])
def test_derived_derivatives_are_those_that_were_written(loss):
    x = torch.tensor([0.02, 0.3, 0.5, 0.77, 0.98], dtype=torch.float64)
    x = x if loss is BCE else 8 * (x - 0.5)
    y = torch.tensor([0.0, 1.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    for formula, position, written in (
        (loss.value, 0, loss.dx),
        (loss.value, 1, loss.dy),
        (loss.dx, 0, loss.dxx),
        (loss.dx, 1, loss.dxy),
    ):
        found = bound(derivative(formula, position))(x, y, 3.0)
        torch.testing.assert_close(found, bound(written)(x, y, 3.0), rtol=1e-9, atol=1e-12)
    assert derivative(loss.dy, 1) is None


def test_held_values_are_constants_in_every_engine():
    held = fused_loss(lambda x, y: x.detach() * (x - y) ** 2)
    x, y = data()
    for engine in ENGINES:
        with select.forced(engine):
            value, slopes = both(held, x, y, reduction="sum")
        torch.testing.assert_close(value, (x * (x - y) ** 2).sum())
        torch.testing.assert_close(slopes, 2 * x * (x - y))


# Using


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_of_ones_own_has_every_option(engine):
    x, y = data()
    weight, mask = torch.rand(300), torch.rand(300) > 0.3
    with select.forced(engine):
        torch.testing.assert_close(
            both(my_bce, x, y, gamma=2.0), both(torchbce.focal_loss_with_logits, x, y, gamma=2.0), rtol=1e-4, atol=1e-7
        )
        options = {"weight": weight, "mask": mask, "label_smoothing": 0.1, "normalize": "weight"}
        ours, theirs = (
            both(my_bce, x, y, **options),
            both(torchbce.functional.binary_cross_entropy_with_logits, x, y, **options),
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
        per_item = torch.linspace(0, 2, 300)
        items = my_bce(x, y, gamma=per_item, reduction="none")
        torch.testing.assert_close(
            items[150], my_bce(x[150:151], y[150:151], gamma=per_item[150].item()), rtol=1e-5, atol=1e-7
        )
        p = x.sigmoid()
        torch.testing.assert_close(
            both(article, p, y), both(torchbce.functional.binary_cross_entropy, p, y), rtol=1e-5, atol=1e-7
        )
        if x.is_cpu:  # a GPU says it in a later call
            with pytest.raises(RuntimeError, match=r"input should be between 0 and 1, but element \(0,\)"):
                article(x - 9, y)


def test_double_backward_and_transforms():
    x, y = (v.double() for v in data(6))
    assert torch.autograd.gradgradcheck(
        lambda v, t: my_bce(v, t, gamma=1.5), (x.requires_grad_(), (0.5 * y + 0.1).requires_grad_())
    )
    hessian = torch.func.hessian(lambda v: my_bce(v, y[:1]))(x[:1].detach())
    torch.testing.assert_close(hessian.flatten(), torch.sigmoid(x[:1]) * torch.sigmoid(-x[:1]))
    compiled = torch.compile(my_bce, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y, gamma=2.0), my_bce(x, y, gamma=2.0))


def test_modules_copies_and_pickles():
    x, y = data()
    module = my_bce.module(gamma=2.0, weight=torch.ones(300))
    assert list(module.state_dict()) == ["weight"]
    expected = my_bce(x, y, gamma=2.0)
    assert module(x, y) == copy.deepcopy(module)(x, y) == pickle.loads(pickle.dumps(module))(x, y) == expected
    assert my_bce.__doc__ is None
    assert "gamma=0.0" in repr(my_bce)


def test_the_words_of_torch():
    words = fused_loss(
        lambda x, y: torch.where(x > 0, torch.clamp(x, max=2.0), -torch.minimum(x, y) ** 3)
        + torch.tanh(x).abs() * x.clamp(min=-1).square() / (1 + x.exp()).log()
        + torch.log1p(torch.relu(x)).sqrt()
        + 2.0 ** -abs(x)
        + F.logsigmoid(x) * torch.where(~(y >= 1) & (x < 3) | (x == 0), 1.0, 0.5)
    )  # fmt: skip

    def plain(x, y):
        return (
            torch.where(x > 0, torch.clamp(x, max=2.0), -(torch.minimum(x, y) ** 3))
            + torch.tanh(x).abs() * x.clamp(min=-1).square() / (1 + x.exp()).log()
            + torch.log1p(torch.relu(x)).sqrt()
            + 2.0 ** -abs(x)
            + F.logsigmoid(x) * torch.where(~(y >= 1) & (x < 3) | (x == 0), 1.0, 0.5)
        )

    x, y = data()
    x = torch.where((x.abs() - 1).abs() < 0.01, 0.5, x)
    torch.testing.assert_close(words(x, y, reduction="none"), plain(x, y), rtol=1e-5, atol=1e-6)
    slopes = both(words, x, y, reduction="sum")[1]
    expected = both(lambda a, b: plain(a, b), x.double(), y.double())[1]
    torch.testing.assert_close(slopes, expected.float(), rtol=1e-4, atol=1e-5)


def test_powers_of_any_base():
    roots = fused_loss(lambda x, y, power=1.5: abs(x).sqrt() + abs(x) ** power + y * 0)
    x = torch.tensor([1e-30, 1e-3, 1.0, 40.0, 1e9, 1e24])
    for power in (0.0, 1.0, 1.5, 2.0):
        expected = both(lambda x, y, power: (x.sqrt() + x**power).sum(), x.double(), x, power=power)
        found = both(roots, x, torch.zeros(6), reduction="sum", power=power)
        for ours, exact in zip(found, expected, strict=True):
            # exp(power * log(x)) multiplies the rounding of the logarithm, up to 69, by the power.
            torch.testing.assert_close(ours, exact.float(), rtol=2**-24 * 69 * (2 + power), atol=0)


# Verifying


def test_verify_finds_right_and_wrong_derivatives():
    assert verify(my_bce).passed, str(verify(my_bce))
    assert verify(article).passed, str(verify(article))
    assert verify(fused_loss(with_derivative)).passed
    wrong = verify(fused_loss(lambda x, y: (F.softplus(x) - x * y, torch.sigmoid(x) - 1.01 * y)))
    assert not wrong.passed
    assert "NOT within" in str(wrong)
    with pytest.raises(TypeError, match="made by torchbce.fused_loss"):
        verify(with_derivative)


# Errors


def branches(x, y):
    if x > 0:
        return x
    return y


def of_math(x, y):
    scale = 2.0
    return scale * math.exp(x)


def unknown(x, y):
    return torch.erf(x) * y


def of_the_batch(x, y):
    return x.mean() - y


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (branches, r"branches, line \d+: 'if x > 0:': the value is not known yet.*torch.where"),
        (of_math, r"of_math, line \d+: 'return scale \* math.exp\(x\)'.*allowed are"),
        (unknown, r"unknown, line \d+: 'return torch.erf\(x\) \* y': torch.erf is not among"),
        (of_the_batch, r"of_the_batch, line \d+: .*a value of one item has no 'mean'"),
        (lambda x, y: y, "does not depend on its input 'x'"),
        (lambda x, y: x > y, "returns the loss"),
        (lambda x, y, k: x, "option 'k' of <lambda> needs a number as default"),
        (lambda x, y, weight=1.0: x, "has the option 'weight' already"),
        (lambda x: x, "takes an input, a target and options"),
        (lambda x, y, *more: x, "without \\* and \\*\\*"),
        (lambda x, y: x * math.inf, "not finite"),
    ],
)
def test_what_a_loss_cannot_do_is_named(function, message):
    with pytest.raises(FormulaError, match=message):
        fused_loss(function)


def test_options_that_do_not_exist_are_named():
    x, y = data(3)
    with pytest.raises(TypeError, match="my_bce has no option 'beta'; it has gamma, weight"):
        my_bce(x, y, beta=2.0)
    with pytest.raises(TypeError, match="gamma must be a Tensor, a number or None"):
        my_bce(x, y, gamma="much")
