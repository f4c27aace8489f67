"""Do intervals hold 95 times of 100, whatever figure they are of and whatever option was given?

A patient has a mean logit of their own and several visits; the model sees logits with noise and a slope, and not what
patients have in common besides. Options: none (visits of different patients), weights (drawn, or by class), clusters,
clusters of very unequal sizes, twelve clusters, both, and soft targets. What each figure should be is known from a
million visits. An interval is counted where there is one; where there is none the share of sets without is shown.

Run: python benchmarks/interval_matrix.py [sets]            (half an hour)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import machine
import numpy as np

from torchbce import compare, explain
from torchbce.comparison.periods import what_changed

SETS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
ONLY = sys.argv[2:]  # options
VISITS, RATE, SPREAD, NOISE, SLOPE = 1_000_000, -0.8, 1.0, 0.5, 1.2
NAN = (np.nan, np.nan)
Draw = dict[str, np.ndarray]


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def draw(sizes: np.ndarray, rng: np.random.Generator) -> Draw:
    """Visits of patients who have so many each."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    n = len(of)
    seen, unseen, sex = (rng.normal(0, 1, len(sizes)) for _ in range(3))
    known = RATE + SPREAD * (0.6 * seen[of] + 0.8 * rng.normal(0, 1, n)) + 0.8 * (sex[of] > 0)
    chance = sigmoid(known + 0.7 * unseen[of])
    logits = [SLOPE * (known + NOISE * rng.normal(0, 1, n)) for _ in range(2)]
    return {
        "chance": chance,
        "targets": (rng.random(n) < chance).astype(float),
        "logits": logits[0],
        "other": logits[1] + 0.3 * rng.normal(0, 1, len(sizes))[of],
        "patient": of,
        "group": np.where(sex[of] > 0, "f", "m"),
        "part": rng.choice(["x", "y"], n),
        "uniform": rng.random(n),
    }


@dataclass(frozen=True)
class Option:
    """How patients come, how visits are weighted, and whether explain is told of patients."""

    sizes: Callable[[np.random.Generator], np.ndarray]
    weight: Callable[[Draw], np.ndarray] | None = None
    clustered: bool = False
    soft: bool = False


def drawn_weights(found: Draw) -> np.ndarray:
    return 1 / (0.05 + found["uniform"]) * (0.5 + sigmoid(found["logits"]))


def by_class(found: Draw) -> np.ndarray:
    """Ones stand for ten each, as where zeros were not sampled."""
    return np.where(found["targets"] > 0, 10.0, 1.0)


def ones(count: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.ones(count, int)


def equal(count: int, size: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.full(count, size)


def unequal(count: int, size: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.maximum(np.exp(rng.normal(np.log(size), 0.8, count)).astype(int), 1)


OPTIONS = {
    "none, 300 items": Option(ones(300)),
    "none, 2,000 items": Option(ones(2000)),
    "weights": Option(ones(2000), drawn_weights),
    "weights by class": Option(ones(2000), by_class),
    "100 clusters of 20": Option(equal(100, 20), clustered=True),
    "60 unequal clusters": Option(unequal(60, 20), clustered=True),
    "30 unequal clusters": Option(unequal(30, 30), clustered=True),
    "14 clusters of 60": Option(equal(14, 60), clustered=True),
    "clusters and weights": Option(equal(100, 20), drawn_weights, clustered=True),
    "soft targets": Option(ones(2000), soft=True),
    "soft, clusters": Option(equal(100, 20), clustered=True, soft=True),
}


def loss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, z) - y * z


def figures(found: Draw, option: Option, second: Draw) -> dict[str, tuple[float, float]]:
    """The interval of each figure; NaN where there is none."""
    y = found["chance"] if option.soft else found["targets"]
    told = {"from_logits": True, "weight": None if option.weight is None else option.weight(found)}
    told["cluster"] = found["patient"] if option.clustered else None
    whole = explain(found["logits"], y, by=found["group"], **told)
    parts, line = whole.decomposition, whole.calibration
    both = compare(found["logits"], found["other"], y, groups=found["group"], **told)
    later_y = second["chance"] if option.soft else second["targets"]
    told |= {"weight": None if option.weight is None else option.weight(second)}
    told |= {"cluster": second["patient"] if option.clustered else None}
    later = explain(second["logits"], later_y, by=second["group"], **told)
    change = what_changed(whole, later)
    named = {group.name: group for group in whole.groups}
    slots = {slot.name: slot for slot in both.groups}
    bands = {slot.name: slot for slot in both.bands}
    return {
        "mean": whole.intervals["weighted_mean"],
        "base rate": whole.intervals.get("base_rate", NAN),
        "D2": whole.intervals.get("d2", NAN),
        "AUC": whole.intervals.get("auc", NAN),
        "slope": NAN if line is None else line.slope_interval,
        "shift": NAN if line is None else line.shift_interval,
        "entropy": NAN if parts is None else parts.uncertainty_interval,
        "separation": NAN if parts is None else parts.discrimination_interval,
        "miscalibration": NAN if parts is None else parts.miscalibration_interval,
        "group": named["f"].interval if "f" in named else NAN,
        "difference": both.interval,
        "in separation": NAN if both.parts is None else both.parts.separation.interval,
        "in calibration": NAN if both.parts is None else both.parts.calibration.interval,
        "in AUC": NAN if both.parts is None else both.parts.auc.interval,
        "difference, group": slots["f"].interval if "f" in slots else NAN,
        "difference, band": bands["75 to 90 %"].interval if "75 to 90 %" in bands else NAN,
        "change": change.total.interval,
        "change, base rate": NAN if change.base_rate is None else change.base_rate.interval,
        "change, separation": NAN if change.separation is None else change.separation.interval,
        "change, calibration": NAN if change.calibration is None else change.calibration.interval,
        "change, mix": NAN if change.mix is None else change.mix.interval,
        "change, within": NAN if change.within is None else change.within.interval,
    }


def truth(option: Option) -> dict[str, float]:
    """What each figure is of a million visits, with their chances as weights of both answers: no option is needed."""
    rng = np.random.default_rng(10**6)
    found = draw(np.ones(VISITS, int), rng)
    p, z = found["chance"], found["logits"]
    if option.weight is None:
        zeros, positives = 1 - p, p
    else:
        zeros, positives = (
            option.weight(found | {"targets": np.full(VISITS, answer)}) * share
            for answer, share in ((0.0, 1 - p), (1.0, p))
        )
    total = (zeros + positives).sum()

    def mean(values_zero: np.ndarray, values_one: np.ndarray, of: np.ndarray | slice = slice(None)) -> float:
        weight = (zeros[of] + positives[of]).sum()
        return float((zeros[of] @ values_zero[of] + positives[of] @ values_one[of]) / weight)

    both = {name: (loss(found[name], 0.0), loss(found[name], 1.0)) for name in ("logits", "other")}
    rate = positives.sum() / total
    entropy = float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))
    refined, ordered = {}, {}
    for name in both:
        order = np.argsort(found[name])
        bins_zero, bins_one = (w[order].reshape(2000, -1).sum(1) for w in (zeros, positives))
        share = bins_one / (bins_zero + bins_one)
        refined[name] = float(-(bins_one @ np.log(share) + bins_zero @ np.log1p(-share)) / total)
        before = np.cumsum(zeros[order]) - zeros[order] / 2
        ordered[name] = float(positives[order] @ before / positives.sum() / zeros.sum())
    slope, shift = line(z, zeros, positives)
    whole = mean(*both["logits"])
    difference = mean(*(b - a for a, b in zip(both["logits"], both["other"], strict=True)))
    confident = sigmoid((z + found["other"]) / 2)
    band = (np.maximum(confident, 1 - confident) >= 0.75) & (np.maximum(confident, 1 - confident) < 0.9)
    changes = [b - a for a, b in zip(both["logits"], both["other"], strict=True)]
    return {
        "mean": whole,
        "base rate": rate,
        "D2": 1 - whole / entropy,
        "AUC": ordered["logits"],
        "slope": slope,
        "shift": shift,
        "entropy": entropy,
        "separation": entropy - refined["logits"],
        "miscalibration": whole - refined["logits"],
        "group": mean(*both["logits"], found["group"] == "f"),
        "difference": difference,
        "in separation": refined["other"] - refined["logits"],
        "in calibration": difference - refined["other"] + refined["logits"],
        "in AUC": ordered["other"] - ordered["logits"],
        "difference, group": mean(*changes, found["group"] == "f"),
        "difference, band": mean(*changes, band),
        **dict.fromkeys(
            (
                "change",
                "change, base rate",
                "change, separation",
                "change, calibration",
                "change, mix",
                "change, within",
            ),
            0.0,
        ),
    }


def line(z: np.ndarray, zeros: np.ndarray, positives: np.ndarray) -> tuple[float, float]:
    """The slope and shift of least loss, by Newton's method."""
    at = np.array([1.0, 0.0])
    x = np.stack([z, np.ones_like(z)])
    for _ in range(50):
        p = sigmoid(at @ x)
        gradient = x @ ((zeros + positives) * p - positives)
        hessian = (x * ((zeros + positives) * p * (1 - p))) @ x.T
        at = at - np.linalg.solve(hessian, gradient)
    return float(at[0]), float(at[1])


def case(name: str) -> list[tuple[str, str]]:
    option = OPTIONS[name]
    expected = truth(option)
    holds: dict[str, list[bool]] = {figure: [] for figure in expected}
    for seed in range(SETS):
        rng = np.random.default_rng(seed)
        sizes = option.sizes(rng)
        first, second = halves(draw(np.r_[sizes, sizes] if not option.clustered else 2 * sizes, rng), option)
        for figure, (low, high) in figures(first, option, second).items():
            if low == low:
                holds[figure].append(low <= expected[figure] <= high)
    cells = []
    for figure in expected:
        given = len(holds[figure]) / SETS
        share = f"{100 * np.mean(holds[figure]):.1f}" if given > 0 else "-"
        cells.append((figure, share if given > 0.99 or share == "-" else f"{share} ({100 * given:.0f})"))
    print(f"  {name}: " + ", ".join(f"{figure} {share}" for figure, share in cells), flush=True)
    return cells


def halves(found: Draw, option: Option) -> tuple[Draw, Draw]:
    """Two periods: other items, and of the same patients where there are such."""
    n = len(found["patient"])
    early = np.arange(n) % 2 == 0 if option.clustered else np.arange(n) < n // 2
    return {k: v[early] for k, v in found.items()}, {k: v[~early] for k, v in found.items()}


if __name__ == "__main__":
    chosen = {name: option for name, option in OPTIONS.items() if not ONLY or name in ONLY}
    with ProcessPoolExecutor() as processes:
        columns = dict(zip(chosen, map(dict, processes.map(case, chosen)), strict=True))
    lines = [[figure, *(column[figure] for column in columns.values())] for figure in next(iter(columns.values()))]
    if not ONLY:
        machine.keep(
            "interval_matrix",
            "# How often intervals hold: every figure under every option\n\n"
            f"`python benchmarks/interval_matrix.py`: {machine.describe('torchbce', 'scipy')}\n\n"
            f"Percent of {SETS:,} simulated sets whose 95 % interval holds the truth. In brackets: the percent of sets "
            "for which there is one, where not for all. - where there is none, as the report says.\n\n"
            + machine.table(["figure", *columns], lines),
        )
