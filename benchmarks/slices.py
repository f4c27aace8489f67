"""How often does `find_slices` find what is not there, how often what is, and how long does it take?

Tables are simulated, so that what is right is known. False alarms: answers are drawn from the predictions themselves;
columns are unrelated to these, or made from them. Planted: in one part of the table the answers follow other logits.

Run: python benchmarks/slices.py            (a quarter of an hour; a first argument, such as 0.05, is the part to run)
"""

from __future__ import annotations

import resource
import sys
import time

import machine
import numpy as np

from torchbce.explanation.slices.bins import choose_bins
from torchbce.explanation.slices.choose import chosen
from torchbce.explanation.slices.find import find_slices
from torchbce.explanation.slices.table import SliceTable

PART = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
TABLES = max(2, round(200 * PART))
NOISE = [  # rows, columns, base rate, what columns know of the predictions
    (1_000, 30, 0.5, False),
    (1_000, 5, 0.1, False),
    (1_000, 30, 0.01, False),
    (5_000, 15, 0.1, False),
    (20_000, 15, 0.5, False),
    (20_000, 15, 0.01, False),
    (5_000, 15, 0.1, True),
    (20_000, 15, 0.01, True),
]
PLANTED = [  # rows, base rate, share of the category, share of the range of a number (1: any), how the answers differ
    (20_000, 0.1, 0.05, 1.0, "odds x 2"),
    (20_000, 0.1, 0.05, 1.0, "odds x 1.5"),
    (20_000, 0.1, 0.2, 0.1, "odds x 2"),
    (20_000, 0.1, 0.2, 0.15, "odds x 3"),
    (20_000, 0.3, 0.2, 0.1, "logits x 0"),
    (20_000, 0.3, 0.05, 1.0, "logits x 0.5"),
    (5_000, 0.1, 0.05, 1.0, "odds x 3"),
    (20_000, 0.01, 0.05, 1.0, "odds x 3"),
]
BIG = (round(1_000_000 * PART), 50)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def bce(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.log(np.where(y, p, 1 - p))


def columns_for(z: np.ndarray, count: int, related: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers with a heavy tail and gaps, categories with a heavy tail, booleans, in turn."""
    columns = {}
    for i in range(count):
        values = rng.normal(size=len(z)) + (z if related else 0)
        if i % 3 == 0:
            values = np.exp(values)
            values[rng.random(len(z)) < 0.1] = np.nan
        if i % 3 == 1:
            values = np.clip(rng.zipf(1.5, len(z)) + (values > 1), 1, 60).astype(str).astype(object)
        columns[f"x{i}"] = values > 1.2 if i % 3 == 2 else values
    return columns


def false_alarms(rows: int, count: int, rate: float, related: bool) -> list[str]:
    found, hard, looked_at = 0, 0, []
    for seed in range(TABLES):
        rng = np.random.default_rng(seed)
        z = np.log(rate / (1 - rate)) + rng.normal(0, 1.2, rows)
        p = sigmoid(z)
        slices = find_slices(columns_for(z, count, related, rng), bce(p, rng.random(rows) < p), p)
        found, hard = found + bool(slices.found), hard + bool(slices.hard)
        looked_at.append(slices.looked_at)
    name = f"{rows:,} rows, {count} columns, {100 * rate:g} % ones, {'made from' if related else 'unrelated to'} p"
    shares = [f"{found} of {TABLES}", "true ones" if related else f"{hard} of {TABLES}"]
    print(name, *shares, flush=True)
    return [name, f"{np.mean(looked_at):,.0f}", *shares]


def inside(conditions: tuple[str, ...], columns: dict[str, np.ndarray]) -> np.ndarray:
    """The items that a slice's words speak of."""
    found = np.ones(len(next(iter(columns.values()))), bool)
    for words in conditions:
        name = next(name for name in columns if name in words.split())
        values = columns[name]
        if words.endswith(" missing"):
            found &= values != values
        elif " = " in words:
            known = words.split(" = ")[1]
            common = choose_bins(name, values)
            rare = common.codes(values) == common.size - 2
            found &= rare if known.startswith("none of the") else values.astype(str) == known
        else:
            low, _, high = words.partition(name)
            found &= values >= float(low.split()[0]) if low else True
            sign, bound = high.split()
            found &= values < float(bound) if sign == "<" else values >= float(bound)
    return found


def planted(rows: int, rate: float, share: float, reach: float, how: str) -> list[str]:
    any_found, first, covered, others = 0, 0, [], 0
    for seed in range(TABLES):
        rng = np.random.default_rng(seed)
        z = np.log(rate / (1 - rate)) + rng.normal(0, 1.2, rows)
        columns = columns_for(z, 9, False, rng)
        columns["group"] = np.where(rng.random(rows) < share, "bad", rng.choice(list("abcd"), rows))
        columns["age"] = rng.integers(18, 100, rows).astype(float)
        bad = (columns["group"] == "bad") & (columns["age"] >= np.quantile(columns["age"], 1 - reach))
        factor = float(how.split()[-1])
        other = z * factor if how.startswith("logits") else z + np.log(factor)
        p = sigmoid(z)
        slices = find_slices(columns, bce(p, rng.random(rows) < sigmoid(np.where(bad, other, z))), p)
        masks = [inside(one.conditions, columns) for one in slices.found]
        right = [bad[mask].mean() > 0.8 for mask in masks]
        any_found += any(right)
        first += bool(right and right[0])
        others += len(right) - sum(right)
        covered.append(np.any(masks, axis=0)[bad].mean() if masks else 0.0)
    part = f"group of {100 * share:g} %" + (f" and age in the upper {100 * reach:g} %" if reach < 1 else "")
    name = f"{rows:,} rows, {100 * rate:g} % ones: {part}, {how}"
    print(name, any_found, first, flush=True)
    return [
        name,
        f"{100 * any_found / TABLES:.0f} %",
        f"{100 * first / TABLES:.0f} %",
        f"{100 * np.mean(covered):.0f} %",
        f"{others / TABLES:.2f}",
    ]


def big() -> list[list[str]]:
    """Seconds of each stage, and by how much the peak of memory grew in it."""
    rows, count = BIG
    rng = np.random.default_rng(0)
    z = rng.normal(-2, 1.5, rows)
    p = sigmoid(z)
    losses = bce(p, rng.random(rows) < p)
    columns = columns_for(z, count, False, rng)
    lines = []

    def timed(name: str, make):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        made = make()
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        lines.append([name, f"{seconds:.1f} s", f"{grown:.0f} MiB"])
        return made

    bins = timed("choose bins", lambda: [choose_bins(name, column) for name, column in columns.items()])
    codes = timed("bin the columns", lambda: [found.codes(columns[found.name]) for found in bins])
    table = SliceTable(bins)
    timed("sums of all slices", lambda: table.add(codes, losses, p))
    slices = timed("choose slices", lambda: chosen(table))
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    some = pairs[:: max(1, len(pairs) // 10)]
    start = time.perf_counter()
    for i, j in some:  # the plain way, for comparison: each sum of each pair of columns by itself
        place = codes[i].astype(np.intp) * bins[j].size + codes[j]
        for _ in range(table.whole.rows.size):
            np.bincount(place, losses, bins[i].size * bins[j].size)
    plain = (time.perf_counter() - start) * len(pairs) / len(some)
    lines.append([f"the same sums by numpy.bincount, from {len(some)} of {len(pairs):,} pairs", f"{plain:.1f} s", ""])
    lines.append([f"slices looked at: {slices.looked_at:,}", "", ""])
    return lines


if __name__ == "__main__":
    big_lines = big()  # first, while the peak of memory is low
    noise_lines = [false_alarms(*settings) for settings in NOISE]
    planted_lines = [planted(*settings) for settings in PLANTED]
    head = ["table", "planted slice found", "is the first", "of its items are in slices found", "other slices"]
    machine.keep(
        "slices",
        f"# Slices that carry excess loss\n\n`python benchmarks/slices.py`: {machine.describe('torchbce', 'scipy')}\n\n"
        f"## False alarms\n\nCalibrated predictions, {TABLES} tables each; at most 5 % may have a slice in excess. "
        "Columns made from p have slices that are hard by nature in truth.\n\n"
        + machine.table(
            ["table", "slices looked at", "tables with a slice in excess", "with a hard slice"], noise_lines
        )
        + f"\n\n## Planted slices\n\n{TABLES} tables each, 11 columns. A slice counts as the planted one if 80 % of "
        "its items are of it.\n\n"
        + machine.table(head, planted_lines)
        + f"\n\n## Time\n\n{BIG[0]:,} rows, {BIG[1]} columns, one thread.\n\n"
        + machine.table(["stage", "time", "peak memory grew by"], big_lines),
    )
