"""How often is a model called better that is not: of many equal ones, and where what costs it is not in the sample?

Equal models see the true logits through noise of their own and of the same size. Counted are the sets in which
`compare_all` finds any difference, calls one the best, and in which all its intervals hold the truth.

Then two models that differ on half of the items, of which they are very sure: one says the true rate of their failures,
the other far too little. Counted is how often each is called better, by p below 0.05, and how often the interval of the
difference, and that of the mean of the surer model, hold the truth.

Run: python benchmarks/ranking.py            (an hour)
"""

from __future__ import annotations

import math
import sys

import machine
import numpy as np

from torchbce import compare, compare_all, explain

SETS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
MODELS = (2, 5, 10, 30)
SIZES = (300, 1_000, 10_000)
RATES = ((1e-5, 1e-3), (1e-4, 1e-2), (1e-6, 1e-4))  # said by the surer model; true, and said by the other


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def loss(p: float | np.ndarray, z: float | np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, z) - p * z))


def equal(count: int) -> list[str]:
    """Of 1,000 items."""
    called = best = held = 0
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        true = rng.normal(-0.5, 1.2, 1000)
        y = (rng.random(1000) < sigmoid(true)).astype(float)
        models = {str(n): true + 0.5 * rng.normal(size=1000) for n in range(count)}
        found = compare_all(models, y, from_logits=True)
        called += any(model.p_value is not None and model.p_value < 0.05 for model in found.models[1:])
        best += found.verdict.endswith("is the best.")
        held += all(model.interval.low <= 0 <= model.interval.high for model in found.models)
    row = [str(count), *(f"{100 * number / SETS:.1f} %" for number in (called, best, held))]
    print("  ", *row, flush=True)
    return row


def rare(n: int, said: float, true: float) -> list[str]:
    half, ordinary = n // 2, np.random.default_rng(10**6).normal(size=1_000_000)
    right, sure = (math.log(p / (1 - p)) for p in (true, said))
    difference = (loss(true, sure) - loss(true, right)) / 2
    mean = (loss(true, sure) + loss(sigmoid(ordinary), ordinary)) / 2
    wrong = named = held = of_mean = 0
    sets = SETS if n < 10_000 else SETS // 4
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=half)
        y = np.r_[rng.random(half) < sigmoid(z), rng.random(half) < true].astype(float)
        a, b = (np.r_[z, np.full(half, there)] for there in (right, sure))
        found = compare(a, b, y, from_logits=True)
        if found.p_value is not None and found.p_value < 0.05:
            wrong += found.difference < 0
            named += found.difference > 0
        held += found.interval.low <= difference <= found.interval.high
        low, high = explain(b, y, from_logits=True, top=0).intervals["mean"]
        of_mean += low <= mean <= high
    shares = (f"{100 * number / sets:.1f} %" for number in (wrong, named, held, of_mean))
    row = [f"{n:,}", f"{said:g}", f"{true:g}", *shares]
    print("  ", *row, flush=True)
    return row


if __name__ == "__main__":
    many = [equal(count) for count in MODELS]
    few = [rare(n, *rates) for n in SIZES for rates in RATES]
    machine.keep(
        "ranking",
        f"# Models that are called better and are not\n\n`python benchmarks/ranking.py {SETS}`: "
        f"{machine.describe('torchbce', 'scipy')}\n\n{SETS:,} sets of 1,000 items, and equal models:\n\n"
        + machine.table(["models", "any p < 0.05", "one is the best", "all intervals hold"], many)
        + f"\n\n{SETS:,} sets ({SETS // 4:,} of 10,000 items); on half of the items one model says a rate that is far "
        "too low, the other the true one:\n\n"
        + machine.table(
            ["items", "said", "true", "wrong one better", "right one better", "difference holds", "mean holds"], few
        ),
    )
