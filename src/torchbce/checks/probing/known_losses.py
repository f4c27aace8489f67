"""Losses by their gradients: what a loss that is not BCE may be, and where its lowest value lies."""

from __future__ import annotations

import torch
from torch import Tensor

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of ones, at which the lowest value is looked for
FARTHEST = 12.0  # logits; beyond it, the lowest value lies nowhere
CLOSE = 0.02


def name_of(z: Tensor, y: Tensor, g: Tensor) -> str:
    """A loss whose gradients by the logits these are, up to a factor; "" where none is known."""
    s = torch.sigmoid(z)
    twice = torch.sigmoid(s)
    candidates = {
        "sigmoid twice": (twice - y) * s * (1 - s),
        "the squared error of sigmoid(outputs)": (s - y) * s * (1 - s),
        "the squared error of the outputs": z - y,
        "the absolute error of the outputs": torch.sign(z - y),
        "the absolute error of sigmoid(outputs)": torch.sign(s - y) * s * (1 - s),
        "the hinge loss": torch.where((2 * y - 1) * z < 1, 1 - 2 * y, 0 * z),
    }
    for gamma in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0):
        for alpha in (None, 0.25, 0.5, 0.75):
            weight = "" if alpha is None else f" and alpha {alpha:g}"
            candidates[f"focal loss with gamma {gamma:g}{weight}"] = _focal(z, y, gamma, alpha)
            candidates[f"sigmoid twice in a focal loss with gamma {gamma:g}{weight}"] = _focal(
                z, y, gamma, alpha, twice=True
            )
    for name, gradient in candidates.items():
        factor = (g * gradient).sum() / (gradient * gradient).sum()
        if factor > 0 and (g - factor * gradient).abs().max() <= 1e-5 * g.abs().max():
            return name
    return ""


def lowest_at(z: Tensor, zeros: Tensor, ones: Tensor) -> tuple[float, ...]:
    """The probability where a loss is lowest, for each of `SHARES`; 0 or 1 where it has no lowest value.

    zeros, ones: the gradients at the logits `z`, which rise, of items with target 0 and with target 1.
    """
    lowest = []
    for share in SHARES:
        gradient = share * ones + (1 - share) * zeros
        size = 1e-12 * gradient.abs().max()
        falling, rising = (gradient < -size).nonzero().flatten(), (gradient > size).nonzero().flatten()
        if not len(falling) and not len(rising):
            lowest.append(float("nan"))
            continue
        if not len(falling):  # it is lowest where it is flat, as below a clamp, or nowhere
            lowest.append(float(torch.sigmoid(z[rising[0]])) if rising[0] > 0 else 0.0)
            continue
        if not len(rising):
            lowest.append(float(torch.sigmoid(z[falling[-1]])) if falling[-1] < len(z) - 1 else 1.0)
            continue
        left, right = int(falling[-1]), int(rising[0])
        if left > right:  # several valleys: it falls again further out
            left = int(falling[falling < right][-1]) if bool((falling < right).any()) else right
        lowest.append(float(torch.sigmoid((z[left] + z[right]) / 2)))
    return tuple(lowest)


def _focal(z: Tensor, y: Tensor, gamma: float, alpha: float | None, twice: bool = False) -> Tensor:
    """Return focal gradients; with `twice`, of a BCE of probabilities that are taken for logits."""
    z = z.clone().requires_grad_()
    sign = 2 * y - 1
    weight = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    logits = torch.sigmoid(z) if twice else z
    loss = -weight * torch.sigmoid(-sign * z) ** gamma * torch.nn.functional.logsigmoid(sign * logits)
    return torch.autograd.grad(loss.sum(), z)[0]
