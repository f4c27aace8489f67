"""Verify the derivative of a loss, and that the fused kernels agree with it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from torchbce.engine import reference
from torchbce.engine.call import LossCall
from torchbce.losses.fused_loss import FusedLoss

LOGITS = [sign * v for v in (1e-3, 0.1, 0.7, 2.0, 5.0, 12.0, 30.0) for sign in (-1.0, 1.0)]
PROBABILITIES = [1e-6, 1e-3, 0.03, 0.2, 0.5, 0.77, 0.98, 1 - 1e-4]
TARGETS = [0.0, 0.1, 0.5, 0.9, 1.0]
STEP = 1e-3  # relative step of finite differences
BY_AUTOGRAD, BY_DIFFERENCES, IN_FLOAT32 = 1e-9, 1e-6, 1e-4


@dataclass(frozen=True)
class Verification:
    """The worst relative errors of a loss over a grid of inputs, targets and options; `print` it.

    by_autograd, by_differences: of its derivative, in float64. fused: of value and derivative in float32, by the
    kernels of this machine. undefined: points where autograd gives NaN, which are left to the differences.
    """

    name: str
    by_autograd: float
    by_differences: float
    fused: float
    undefined: int

    @property
    def passed(self) -> bool:
        """Return whether all errors are within their limits."""
        return self.by_autograd <= BY_AUTOGRAD and self.by_differences <= BY_DIFFERENCES and self.fused <= IN_FLOAT32

    def __str__(self) -> str:
        rows = [
            ("derivative beside autograd", self.by_autograd, BY_AUTOGRAD),
            ("derivative beside finite differences", self.by_differences, BY_DIFFERENCES),
            ("fused, float32", self.fused, IN_FLOAT32),
        ]
        lines = [
            f"{text:<38} {error:.1e}  {'within' if error <= most else 'NOT within'} {most:g}"
            for text, error, most in rows
        ]
        return "\n".join([self.name, *lines])


def verify(loss: FusedLoss) -> Verification:
    """Compare a loss with autograd through its formula, with finite differences, and with the fused kernels.

    The first call for a loss takes some seconds, in which its two kernels, for the value and the derivative, are
    compiled; they are kept on disk, for other processes too. A change of the formula compiles anew.

    Args:
        loss: made by :func:`torchbce.fused_loss`.

    Returns:
        A :class:`Verification`: ``assert torchbce.verify(my_bce).passed``.

    Raises:
        TypeError: it is no such loss.

    Example:
        >>> import torch
        >>> from torchbce.losses.fused_loss import fused_loss
        >>> @fused_loss
        ... def squared(x, y):
        ...     return (torch.sigmoid(x) - y) ** 2
        >>> verify(squared).passed
        True
    """
    if not isinstance(loss, FusedLoss):
        raise TypeError(f"verify takes a loss made by torchbce.fused_loss, got {type(loss).__name__}")
    inputs = PROBABILITIES if loss.loss.checks_input else LOGITS
    pairs = torch.tensor(list(product(inputs, TARGETS)), dtype=torch.float64)
    x, y = pairs[:, 0].contiguous(), pairs[:, 1].contiguous()
    autograd = differences = kernels = 0.0
    undefined = 0
    for shift in (0.0, 0.3):  # options as they are, and others
        options = {name: default + shift for name, default in loss.options.items()}
        constants = tuple(options.values())
        gradients = _gradients(loss, x, y, constants)
        traced = _by_autograd(loss, x, y, constants)
        undefined += int(traced.isnan().sum())
        defined = ~traced.isnan()
        autograd = max(autograd, _error(gradients[defined], traced[defined]))
        differences = max(differences, _error(gradients, _by_differences(loss, x, y, constants)))
        fused = x.float().requires_grad_()
        items = loss(fused, y.float(), None, "none", mask=None, **options)
        (fused_gradient,) = torch.autograd.grad(items.sum(), fused)
        exact = fused.detach().double(), y.float().double()
        kernels = max(kernels, _error(items.detach().double(), _values(loss, *exact, constants)))
        kernels = max(kernels, _error(fused_gradient.double(), _gradients(loss, *exact, constants)))
    return Verification(loss.loss.name, autograd, differences, kernels, undefined)


def _values(loss: FusedLoss, x: Tensor, y: Tensor, constants: tuple[float, ...]) -> Tensor:
    return reference.value(x, y, _call(loss, constants)).detach()


def _gradients(loss: FusedLoss, x: Tensor, y: Tensor, constants: tuple[float, ...]) -> Tensor:
    return reference.grad(x, y, _call(loss, constants), 1.0).detach()


def _call(loss: FusedLoss, constants: tuple[float, ...]) -> LossCall:
    return LossCall(
        loss=loss.loss,
        parameters=constants,
        weight=None,
        reduction="none",
        result_dtype=torch.float64,
        checked=False,
    )


def _by_autograd(loss: FusedLoss, x: Tensor, y: Tensor, constants: tuple[float, ...]) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(reference.bound(loss.loss.value)(x, y, *constants).sum(), x)[0]


def _by_differences(loss: FusedLoss, x: Tensor, y: Tensor, constants: tuple[float, ...]) -> Tensor:
    """Return the derivative by differences of fourth order, with an error of about STEP^4."""
    room = torch.minimum(x, 1 - x) if loss.loss.checks_input else x.abs().clamp(min=0.01)
    h = STEP * room
    near, far = (_values(loss, x + k * h, y, constants) - _values(loss, x - k * h, y, constants) for k in (1, 2))
    return (8 * near - far) / (12 * h)


def _error(result: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the value, or where it is small to a thousandth of the largest."""
    if not len(expected):
        return 0.0
    size = expected.abs().clamp(min=1e-3 * expected.abs().max().item())
    error = ((result - expected).abs() / size.clamp(min=1e-30)).nan_to_num(nan=torch.inf)
    return error.max().item()
