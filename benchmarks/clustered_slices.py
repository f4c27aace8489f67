"""How often do slices of noise stand out where items belong together or have weights, and how often planted ones?

Tables are simulated, so that what is right is known. Probabilities are calibrated over all clusters, while the items of
one are alike; half of the columns are of the cluster, half of the item. Planted: in one part the odds are others.

Run: python benchmarks/clustered_slices.py      (some minutes; a first argument, such as 0.05, is the part to run)
"""

from __future__ import annotations

import sys

import machine
import numpy as np
from scipy.stats import norm

from torchbce.explanation.slices.find import find_slices

PART = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
TABLES = max(2, round(100 * PART))
ROWS = 8_000
NOISE = [  # clusters, their sizes, how items of one are alike, weights
    *((clusters, sizes, "logits shifted", "none") for clusters in (20, 40, 200) for sizes in ("equal", "15 % in one")),
    (200, "heavy tail", "logits shifted", "none"),
    *((clusters, "equal", how, "none") for clusters in (40, 200) for how in ("one label", "a tenth easy", "risk")),
    *((clusters, "equal", "logits shifted", weights) for clusters in (40, 200) for weights in ("items", "clusters")),
    *((0, "", how, weights) for how in ("independent", "risk") for weights in ("none", "items", "few", "column")),
]
PLANTED = [
    (clusters, sizes, where)
    for clusters, sizes in ((20, "equal"), (40, "equal"), (40, "15 % in one"), (200, "equal"), (200, "heavy tail"))
    for where in ("half of the clusters", "a fifth of all items")
]
ODDS = (1.5, 2.0, 3.0, 5.0)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def bce(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.log(np.where(y, p, 1 - p))


def members(rng: np.random.Generator, clusters: int, sizes: str) -> np.ndarray:
    """The cluster of each item."""
    if not clusters:
        return np.arange(ROWS)
    if sizes == "equal":
        return np.repeat(np.arange(clusters), ROWS // clusters)
    share = np.r_[np.full(clusters - 1, 0.85 / (clusters - 1)), 0.15]
    if sizes == "heavy tail":
        share = rng.pareto(1.0, clusters) + 0.2
    return np.sort(rng.choice(clusters, ROWS, p=share / share.sum()))


def answers(rng: np.random.Generator, of: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities and what happened."""
    count, x = int(of.max()) + 1, rng.normal(size=ROWS)
    if how == "logits shifted":
        y = norm.cdf(x + 0.8 * rng.normal(size=count)[of] - 0.3) > rng.random(ROWS)
        return norm.cdf((x - 0.3) / 1.64**0.5), y
    if how == "one label":
        return np.full(ROWS, 0.42), (rng.random(count) < 0.42)[of]
    if how == "a tenth easy":
        z, easy = 2 * x, (rng.random(count) < 0.1)[of]
        p = 0.1 * sigmoid(3 * z) + 0.9 * sigmoid(0.85 * z)
        return p, rng.random(ROWS) < sigmoid(np.where(easy, 3 * z, 0.85 * z))
    p = sigmoid(-3 + 1.3 * rng.normal(size=count)[of] + 0.3 * x if how == "risk" else 1.2 * x - 0.3)
    return p, rng.random(ROWS) < p


def columns_for(rng: np.random.Generator, of: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers, categories and booleans in turn, of the cluster and of the item."""
    count, columns = int(of.max()) + 1, {}
    for i in range(8):
        size = ROWS if i % 2 else count
        kind = i // 2 % 3
        values = [rng.normal(size=size), rng.choice(list("abcd"), size), rng.random(size) < 0.5][kind]
        columns[f"x{i}"] = values if i % 2 else values[of]
    return columns


def weights_for(rng: np.random.Generator, of: np.ndarray, columns: dict[str, np.ndarray], kind: str):
    """100 or 1."""
    large = {
        "none": None,
        "items": rng.random(ROWS) < 0.1,
        "few": rng.random(ROWS) < 0.01,
        "clusters": (rng.random(int(of.max()) + 1) < 0.1)[of],
        "column": columns["x3"] == "a",
    }[kind]
    return None if large is None else np.where(large, 100.0, 1.0)


def false_alarms(clusters: int, sizes: str, how: str, weights: str) -> list[str]:
    found = hard = unaware = 0
    looked_at = []
    for seed in range(TABLES):
        rng = np.random.default_rng([seed, clusters])
        of = members(rng, clusters, sizes)
        p, y = answers(rng, of, how)
        columns = columns_for(rng, of)
        weight = weights_for(rng, of, columns, weights)
        slices = find_slices(columns, bce(p, y), p, weight, clusters=of if clusters else None)
        found, hard = found + bool(slices.found), hard + bool(slices.hard)
        looked_at.append(slices.looked_at)
        if clusters and seed < TABLES // 5:
            slices = find_slices(columns, bce(p, y), p, weight)
            unaware += bool(slices.found or slices.hard)
    name = f"{clusters} clusters, {sizes}" if clusters else "no clusters"
    shares = [f"{one} of {TABLES}" for one in (found, hard)]
    shares.append(f"{unaware} of {TABLES // 5}" if clusters else "")
    print(name, how, weights, *shares, flush=True)
    return [f"{name}; {how}; weights: {weights}", f"{np.median(looked_at):,.0f}", *shares]


def planted(clusters: int, sizes: str, where: str) -> list[str]:
    hits = []
    for odds in ODDS:
        hit = 0
        for seed in range(TABLES // 2):
            rng = np.random.default_rng([seed, clusters, 1])
            of = members(rng, clusters, sizes)
            columns = columns_for(rng, of)
            columns |= {"half": (rng.permutation(clusters) % 2 == 0)[of], "fifth": rng.random(ROWS) < 0.2}
            name = "half" if where.startswith("half") else "fifth"
            z = rng.normal(-0.7, 1, ROWS)
            moved = 1.06 * z + 0.6 * rng.normal(size=clusters)[of] + np.log(odds) * columns[name]
            y = rng.random(ROWS) < sigmoid(moved)
            slices = find_slices(columns, bce(sigmoid(z), y), sigmoid(z), clusters=of)
            hit += any(one.conditions == (f"{name} = True",) for one in slices.found)
        hits.append(f"{100 * hit / (TABLES // 2):.0f} %")
    print(clusters, sizes, where, *hits, flush=True)
    return [f"{clusters} clusters, {sizes}: {where}", *hits]


if __name__ == "__main__":
    noise_lines = [false_alarms(*settings) for settings in NOISE]
    planted_lines = [planted(*settings) for settings in PLANTED]
    head = ["table", "slices looked at (median)", "with a slice in excess", "with a hard slice"]
    command = " ".join(["python benchmarks/clustered_slices.py", *sys.argv[1:]])
    machine.keep(
        "clustered_slices",
        "# Slices of items that belong together or have weights\n\n"
        f"`{command}`: {machine.describe('torchbce', 'scipy')}\n\n"
        f"## False alarms\n\nCalibrated predictions, 8 columns of noise, {ROWS:,} rows, {TABLES} tables each; at most "
        "5 % may have a slice. Weights are 100 or 1: 100 for a tenth of the items or of the clusters, for few items "
        "(1 %), or by a column. Where no slice is looked at, clusters are too few or too unequal, and the text says "
        "so.\n\n"
        + machine.table([*head, "with any, clusters not given"], noise_lines)
        + f"\n\n## Planted slices\n\n{TABLES // 2} tables each, 10 columns; found by its very name, by how the odds "
        "differ. Clusters differ by 0.6 in the logits.\n\n"
        + machine.table(["planted", *(f"odds x {odds:g}" for odds in ODDS)], planted_lines),
    )
