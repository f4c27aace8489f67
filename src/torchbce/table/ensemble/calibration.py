"""Calibrate logits by slope and shift (Platt, 1999), if that helps on rows of their own.

Epochs are chosen by the loss after scaling, and logits are scaled afterwards: "refine, then calibrate" (Berta,
Holzmueller, Jordan and Bach, 2025).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from torchbce.common.newton import newton

FLAT = 1e12  # a condition number beyond means that the cost has no single minimum
FOLDS = 5
TOO_STEEP = 20.0  # a slope beyond means that the classes are separable without error


class Scaling(NamedTuple):
    """logit -> slope * logit + shift"""

    slope: float = 1.0
    shift: float = 0.0

    def of(self, logits: np.ndarray) -> np.ndarray:
        return self.slope * logits + self.shift


AS_IT_IS = Scaling()


class Calibration(NamedTuple):
    """The scaling to use, and what it changes: mean BCE before and after, each row scaled by others' fit."""

    scaling: Scaling
    before: float
    after: float

    def summary(self) -> str:
        """Describe the effect of the scaling on the rows that the epoch was chosen by."""
        slope, shift = self.scaling
        if self.scaling == AS_IT_IS:
            return "logits stay as they are: scaling them gains nothing on rows that it was not fitted on"
        return f"logits are multiplied by {slope:.3f} and moved by {shift:+.3f}: {self.before:.6f} -> {self.after:.6f}"


def fit_scaling(logits: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> Scaling:
    """Fit by maximum likelihood, with Newton's method; `AS_IT_IS` where that has no finite answer."""
    weight = np.ones(len(logits)) if weight is None else weight
    inputs = np.stack([logits, np.ones(len(logits))])

    def cost(parameters: np.ndarray) -> float:
        return float(weight @ bce(parameters @ inputs, target))

    def derivatives(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = expit(parameters @ inputs)
        hessian = (inputs * (weight * p * (1 - p))) @ inputs.T
        if not np.linalg.cond(hessian) < FLAT:
            raise np.linalg.LinAlgError
        return inputs @ (weight * (p - target)), hessian

    try:
        best = newton(cost, derivatives, np.array(AS_IT_IS))
    except np.linalg.LinAlgError:
        return AS_IT_IS
    return Scaling(*best.tolist()) if best is not None and 0 < best[0] < TOO_STEEP else AS_IT_IS


def calibrate(logits: np.ndarray, target: np.ndarray, weight: np.ndarray | None, seed: int) -> Calibration:
    """Return the scaling of held-out logits, if rows that it was not fitted on gain by more than chance gives."""
    weight = np.ones(len(logits)) if weight is None else weight
    scaled = np.empty(len(logits))
    part = np.random.default_rng(seed).permutation(len(logits)) % FOLDS
    for fold in range(FOLDS):
        others, own = part != fold, part == fold
        scaled[own] = fit_scaling(logits[others], target[others], weight[others]).of(logits[own])
    before, after = (weight * bce(z, target) / weight.mean() for z in (logits, scaled))
    gain = before - after
    helps = gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    scaling = fit_scaling(logits, target, weight) if helps else AS_IT_IS
    return Calibration(scaling, float(before.mean()), float(after.mean() if helps else before.mean()))


def loss_after_calibration(logits: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Return the mean BCE after the best scaling."""
    weight = np.ones(len(logits)) if weight is None else weight
    losses = bce(fit_scaling(logits, target, weight).of(logits), target)
    return float((weight * losses).sum() / weight.sum())


def bce(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the binary cross-entropy of each row."""
    import torch

    from torchbce.functional import binary_cross_entropy_with_logits

    z, y = (torch.from_numpy(np.ascontiguousarray(part, dtype=np.float64)) for part in (logits, target))
    return binary_cross_entropy_with_logits(z, y, reduction="none").numpy()
