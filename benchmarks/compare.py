"""How often does `compare` find a difference between models that are equally good? And what does it take?

Two models see the true logits through noise of their own and of the same size: neither is better. Counted is how
often p is below 0.05, among the sets where a p-value is given, and how often the part called certain, separation or
calibration, has no right to be. Then the time and the memory of many pairs.

Run: python benchmarks/compare.py            (half an hour)
"""

from __future__ import annotations

import resource
import sys
import time

import machine
import numpy as np
import torch

from torchbce import compare
from torchbce.comparison.compare import comparison
from torchbce.comparison.pairs import Pairs

SETS = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
CASES = [(30, 0.5), (100, 0.5), (100, 0.3), (300, 0.1), (1_000, 0.5), (1_000, 0.03), (3_000, 0.01), (30_000, 0.5)]
CASES += [(30_000, 0.01), (30_000, 0.001)]
PAIRS, BATCH = 100_000_000, 1 << 20


def models(n: int, rate: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    true = np.log(rate / (1 - rate)) + rng.normal(0, 1, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)
    return true + rng.normal(0, 0.7, n), true + rng.normal(0, 0.7, n), y


def case(n: int, rate: float) -> list[str]:
    sets = SETS if n <= 3_000 else SETS // 5
    given = found = certain = parted = 0
    for seed in range(sets):
        result = compare(*models(n, rate, np.random.default_rng(seed)), from_logits=True)
        if result.p_value is not None:
            given += 1
            found += result.p_value < 0.05
        if result.parts is not None:
            parted += 1
            certain += result.parts.separation.is_certain
    row = [
        f"{n:,}",
        f"{100 * rate:g} %",
        f"{100 * given / sets:.0f} %",
        f"{100 * found / given:.1f} %" if given > sets / 10 else "-",
        f"{100 * certain / parted:.1f} %" if parted > sets / 10 else "-",
    ]
    print("  ", *row, flush=True)
    return row


def many() -> str:
    """A batch again and again, so that making data takes neither time nor memory."""
    rng = np.random.default_rng(0)
    a, b, y = (torch.from_numpy(values).float() for values in models(BATCH, 0.1, rng))
    pairs, before = Pairs((True, True)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for first in range(0, PAIRS, BATCH):
        size = min(BATCH, PAIRS - first)
        pairs.add((a[:size], b[:size]), y[:size], rows=np.arange(first + 1, first + size + 1))
    found = comparison(pairs)
    seconds = time.perf_counter() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return (
        f"{found.count:,} pairs of float32 logits: {seconds:.1f} s ({1e9 * seconds / found.count:.0f} ns a pair), "
        f"{more:.0f} MiB more than before."
    )


if __name__ == "__main__":
    told = many()
    print(told, flush=True)
    lines = [case(*one) for one in CASES]
    machine.keep(
        "compare",
        f"# Comparisons of equally good models\n\n`python benchmarks/compare.py`: "
        f"{machine.describe('torchbce', 'scipy')}\n\n{told}\n\n{SETS:,} sets of each size ({SETS // 5:,} of 30,000 "
        "items). A p-value takes 30 items and 20 of each class; - where a tenth of the sets or fewer have one. "
        "Separation: how often its interval leaves out 0, which is the truth.\n\n"
        + machine.table(["items", "base rate", "p-value given", "p < 0.05", "separation certain"], lines),
    )
