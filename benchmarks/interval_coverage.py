"""Do the 95 % intervals of `explain` hold 95 times of 100?

Logits are drawn around the base rate, targets as the true probabilities say, and the model's logits are the true ones
bent by a slope and a shift and blurred by noise. What each figure should be is known from a million items. An interval
is counted where explain gives one; where it gives none there are too few items of a class, and that is counted too.

Run: python benchmarks/interval_coverage.py            (an hour)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import machine
import numpy as np
import torch
from scipy.optimize import minimize

from torchbce.explanation.data.summarize import sketched
from torchbce.explanation.explain import explanation

SETS, TRUTH = int(sys.argv[1]) if len(sys.argv) > 1 else 2000, 1_000_000
SIZES = (50, 200, 1_000, 10_000, 100_000)
RATES = (0.01, 0.05, 0.2, 0.5)
FIGURES = ("mean", "base_rate", "d2", "auc", "slope", "shift", "separation", "miscalibration", "group")


@dataclass(frozen=True)
class Model:
    """Its logits are `slope * (true logit + noise) + shift`."""

    name: str
    slope: float
    shift: float
    noise: float


MODELS = (Model("right", 1.0, 0.0, 0.0), Model("over-confident, noisy", 1.6, -0.3, 0.6))


def sample(model: Model, rate: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Logits, true probabilities and group numbers of n items."""
    middle = np.log(rate / (1 - rate))
    true = middle + rng.normal(0, 1.5, n)
    blurred = true + model.noise * rng.normal(0, 1, n)
    return middle + model.slope * (blurred - middle) + model.shift, 1 / (1 + np.exp(-true)), rng.integers(0, 2, n)


def truth(model: Model, rate: float) -> dict[str, float]:
    """What each figure is in the long run; targets are replaced by their probabilities."""
    logits, p, _ = sample(model, rate, TRUTH, np.random.default_rng(10**6))
    mean = float((np.logaddexp(0, logits) - p * logits).mean())
    base = float(p.mean())
    entropy = float(-base * np.log(base) - (1 - base) * np.log(1 - base))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        z = line[0] * logits + line[1]
        rest = 1 / (1 + np.exp(-z)) - p
        return float((np.logaddexp(0, z) - p * z).mean()), np.array([(rest * logits).mean(), rest.mean()])

    best = minimize(loss, np.array([1.0, 0.0]), jac=True, tol=1e-12)
    # Bins of equal logits hold what happens among items that the model takes for equal.
    order = np.argsort(logits)
    bins = p[order].reshape(1000, -1).mean(1)
    refined = float(-(bins * np.log(bins) + (1 - bins) * np.log(1 - bins)).mean())
    order_p = p[order]
    zeros_before = np.cumsum(1 - order_p) - (1 - order_p) / 2
    return {
        "mean": mean,
        "base_rate": base,
        "d2": 1 - mean / entropy,
        "auc": float(order_p @ zeros_before / order_p.sum() / (1 - order_p).sum()),
        "slope": float(best.x[0]),
        "shift": float(best.x[1]),
        "separation": entropy - refined,
        "miscalibration": mean - refined if model.slope != 1 else 0.0,
        "group": mean,
    }


def intervals(model: Model, rate: float, n: int, seed: int) -> dict[str, tuple[float, float]]:
    rng = np.random.default_rng(seed)
    logits, p, groups = sample(model, rate, n, rng)
    targets = (rng.random(n) < p).astype(float)
    sketch, _ = sketched(torch.from_numpy(logits), torch.from_numpy(targets), from_logits=True, by=groups)
    found = explanation(sketch, bands=False)
    parts, line = found.decomposition, found.calibration
    nothing = (np.nan, np.nan)
    return {name: found.intervals.get(name, nothing) for name in ("mean", "base_rate", "d2", "auc")} | {
        "slope": nothing if line is None else line.slope_interval,
        "shift": nothing if line is None else line.shift_interval,
        "separation": nothing if parts is None else parts.discrimination_interval,
        "miscalibration": nothing if parts is None else parts.miscalibration_interval,
        "group": found.groups[0].interval if found.groups[0].name == "0" else found.groups[-1].interval,
    }


def case(model: Model, rate: float, n: int) -> list[str]:
    expected = truth(model, rate)
    holds: dict[str, list[bool]] = {name: [] for name in FIGURES}
    for seed in range(SETS if n < 100_000 else SETS // 4):
        for name, (low, high) in intervals(model, rate, n, seed).items():
            if low == low:
                holds[name].append(low <= expected[name] <= high)
    cells = []
    for name in FIGURES:
        given = len(holds[name]) / (SETS if n < 100_000 else SETS // 4)
        share = f"{100 * np.mean(holds[name]):.1f}" if given >= 0.5 else "-"
        cells.append(share if given > 0.99 or share == "-" else f"{share} ({100 * given:.0f})")
    row = [model.name, f"{100 * rate:g} %", f"{n:,}", *cells]
    print("  ", *row, flush=True)
    return row


if __name__ == "__main__":
    lines = [case(model, rate, n) for model in MODELS for rate in RATES for n in SIZES]
    machine.keep(
        "coverage",
        "# How often the intervals of `explain` hold\n\n"
        f"`python benchmarks/interval_coverage.py`: {machine.describe('torchbce', 'scipy')}\n\n"
        f"Percent of {SETS:,} simulated sets ({SETS // 4:,} of 100,000 items) whose 95 % interval holds the truth. "
        "In brackets: the percent of sets for which there is one, where not for all. - where for less than half: too "
        "few items of a class.\n\n" + machine.table(["model", "base rate", "items", *FIGURES], lines),
    )
