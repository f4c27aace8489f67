"""Are the probabilities right? The straight line in logits that would repair them, and isotonic regression's curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RIDGE = 1e-3  # pulls slope to 1 and shift to 0, by items; keeps separable data from sending the slope to infinity
FEWEST_ITEMS = 50  # below this, or with a handful of the rarer class, a calibration error cannot be told from noise
FEWEST_OF_A_CLASS = 10
LARGEST_LOGIT = 40.0  # beyond it a probability is 0 or 1 in float64


@dataclass(frozen=True)
class Calibration:
    """The logits would fit the targets best as ``slope * logit + shift``.

    gain: how much that lowers the mean loss, in nats. p_value: how often perfectly calibrated predictions would
    gain as much by chance (likelihood ratio, two degrees of freedom; Wilks).
    """

    slope: float
    shift: float
    gain: float
    p_value: float

    def is_off(self, entropy: float) -> bool:
        """Both certain and worth mending: p < 0.001 and a gain above 0.002 nats and 1 % of the base-rate entropy."""
        return self.p_value < 0.001 and self.gain > max(0.002, 0.01 * entropy)

    def in_words(self, entropy: float) -> str:
        numbers = f"slope {self.slope:.2f}, shift {self.shift:+.2f}"
        if not self.is_off(entropy):
            finding = "no sign of miscalibration" if self.p_value >= 0.001 else "off by too little to matter"
            return f"{finding} ({numbers}: {self.gain:.4f} nats, p = {self.p_value:.2g})"
        words = []
        if self.slope < 0:
            words.append("turned around: large logits go with target 0")
        elif self.slope < 0.9:
            words.append("over-confident")
        elif self.slope > 1.1:
            words.append("under-confident")
        if abs(self.shift) > 0.1:
            words.append(f"too {'low' if self.shift > 0 else 'high'} on the whole")
        return f"{' and '.join(words) or 'slightly off'} ({numbers}): mending it saves {self.gain:.4f} nats per item"


def calibration(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> Calibration | None:
    """Fit slope and shift by Newton's method (Platt, on logits); None where there are too few items to tell."""
    n = len(targets)
    ones = float(targets.sum())
    if n < FEWEST_ITEMS or min(ones, n - ones) < FEWEST_OF_A_CLASS:
        return None
    z = np.clip(logits.astype(np.float64), -LARGEST_LOGIT, LARGEST_LOGIT)
    w = np.full(n, 1.0) if weights is None else weights * (n / weights.sum())
    x = np.stack([z, np.ones(n)])
    start = np.array([1.0, 0.0])
    ab = start.copy()
    best = _objective(ab, x, targets, w, start)
    for _ in range(50):
        p = _sigmoid(ab @ x)
        gradient = x @ (w * (p - targets)) + RIDGE * n * (ab - start)
        hessian = (x * (w * p * (1 - p))) @ x.T + RIDGE * n * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and _objective(ab - size * step, x, targets, w, start) > best:
            size /= 2
        if size <= 1e-6:
            break
        ab = ab - size * step
        best = _objective(ab, x, targets, w, start)
        if np.abs(size * step).max() < 1e-9:
            break
    before, after = (_mean_loss(c @ x, targets, w) for c in (start, ab))
    gain = max(before - after, 0.0)
    return Calibration(slope=float(ab[0]), shift=float(ab[1]), gain=gain, p_value=math.exp(-n * gain))


@dataclass(frozen=True)
class ReliabilityCurve:
    """Blocks of items whose observed share of ones rises: pool-adjacent-violators (CORP, Dimitriadis et al. 2021)."""

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray


def reliability_curve(probabilities: np.ndarray, targets: np.ndarray) -> ReliabilityCurve:
    """Mean prediction, share of ones and number of items of each block."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(probabilities, kind="stable")
    p, y = probabilities[order], targets[order].astype(np.float64)
    values, first = np.unique(p, return_index=True)  # equal predictions are one point
    count = np.diff(np.append(first, len(p)))
    share = np.add.reduceat(y, first) / count
    blocks = isotonic_regression(share, weights=count.astype(np.float64)).blocks[:-1]
    sizes = np.add.reduceat(count, blocks)
    return ReliabilityCurve(
        predicted=np.add.reduceat(values * count, blocks) / sizes,
        observed=np.add.reduceat(share * count, blocks) / sizes,
        count=sizes,
    )


def _objective(ab: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray, start: np.ndarray) -> float:
    return _mean_loss(ab @ x, y, w) + 0.5 * RIDGE * float(((ab - start) ** 2).sum())


def _mean_loss(z: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    import torch

    from torchbce.functional import binary_cross_entropy_with_logits

    logits, targets, weights = (torch.from_numpy(np.ascontiguousarray(v, np.float64)) for v in (z, y, w))
    return binary_cross_entropy_with_logits(logits, targets, weights).item()


def _sigmoid(z: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1 / (1 + e), e / (1 + e)))
