"""BCE003 of predictions: whether targets lie in another order of dimensions than the outputs."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed
from torchbce.checks.rules.targets import is_binary

CERTAIN = 8.0  # standard errors by which targets in another order go with the outputs
CHANCE = 4.0  # standard errors within which those as they are do not


def transposed(outputs: Tensor, targets: Tensor) -> Outcome:
    """Find targets that do not go with their outputs, and do in another order of dimensions."""
    if outputs.ndim < 2 or outputs.ndim > 4 or min(outputs.shape) < 2 or not is_binary(targets):
        return not_applicable("outputs have one dimension, or targets are not 0 and 1")
    shape = outputs.shape
    x = outputs.detach().double().flatten()
    y = targets.detach().double()
    if not bool(x.isfinite().all()) or abs(_association(x, y.flatten())) > CHANCE:
        return passed()
    for order in itertools.permutations(range(outputs.ndim)):
        if order == tuple(range(outputs.ndim)):
            continue
        # Both mistakes: targets that were transposed, and targets of another order that were only reshaped.
        again = y.permute(order)
        reshaped = y.reshape([shape[place] for place in order]).permute(tuple(order.index(i) for i in range(y.ndim)))
        candidates = (again.reshape(shape), reshaped) if again.shape != shape else (again, reshaped)
        if any(_association(x, other.flatten()) > CERTAIN for other in candidates):
            dims = ", ".join(map(str, order))
            return fail(
                "outputs and targets lie in different orders: as they are, targets do not go with the outputs, and "
                f"with the dimensions ({dims}) they do, far beyond chance",
                f"targets = targets.permute({dims}) in place of reshape() or view(), or the other way round",
                {"order": list(order)},
            )
    return passed()


def _association(x: Tensor, y: Tensor) -> float:
    """Return how far the mean output of targets 1 is above that of targets 0, in standard errors."""
    ones, zeros = x[y == 1], x[y == 0]
    if len(ones) < 2 or len(zeros) < 2:
        return 0.0
    error = torch.sqrt(ones.var() / len(ones) + zeros.var() / len(zeros))
    return float((ones.mean() - zeros.mean()) / error) if error > 0 else 0.0
