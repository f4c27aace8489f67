"""Does the interval around the estimate by folds hold the BCE on fresh rows as often as it says?

Tables are simulated from a source that is known, so that fresh rows are to be had: logits of some numbers and a
category, half of the columns noise. For each: the estimate by five folds with its standard error, and the BCE on 20,000
fresh rows of the fold's models (a mean over them, which is what is estimated) and of the model that is kept, which
learns from all rows.

Run: python benchmarks/intervals.py            (ten minutes)
"""

from __future__ import annotations

import machine
import numpy as np
import polars as pl

from torchbce.training.ensemble.calibration import bce
from torchbce.training.ensemble.recipe import Choices
from torchbce.training.estimate import cross_validated
from torchbce.training.examples import Examples
from torchbce.training.model import learn
from torchbce.training.splits import folds

TABLES, FRESH = 200, 20_000
CASES = {
    "300 rows, 30 % ones": (300, -1.0),
    "1,000 rows, 10 % ones": (1_000, -2.8),
    "2,500 rows, 30 % ones": (2_500, -1.0),
}
KINDS = {"a": "numeric", "b": "numeric", "c": "categorical", "noise": "numeric", "more": "numeric", "d": "categorical"}


def sample(rows: int, shift: float, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    a, b, noise, more = rng.normal(size=(4, rows))
    c, d = rng.choice(list("uvw"), (2, rows))
    logits = shift + 1.2 * a - np.abs(b) + 1.5 * (c == "u") + 0.8
    answers = (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    frame = pl.DataFrame({"a": a, "b": b, "c": c, "noise": noise, "more": more, "d": d})
    return Examples(frame=frame, name="simulated", kinds=KINDS, answers=answers)


def case(name: str, rows: int, shift: float) -> list[str]:
    fresh = sample(FRESH, shift, seed=10**6)
    inside, inside_kept, estimates, truths, kept = [], [], [], [], []
    for seed in range(TABLES):
        table = sample(rows, shift, seed)
        splits = folds(table, 5, seed)
        found = cross_validated(table, splits, Choices(), seed, compare=False).explanation
        of_folds = [
            bce(learn(table.of(train), Choices(), seed=seed + 1000 * i).model.logits(fresh.frame, "f"), fresh.answers)
            for i, (train, _) in enumerate(splits, 1)
        ]
        truth = float(np.mean(of_folds))
        final = learn(table, Choices(), seed=seed).model.logits(fresh.frame, "f")
        reached = float(bce(final, fresh.answers).mean())
        half = 1.96 * found.standard_error
        inside.append(abs(found.mean - truth) < half)
        inside_kept.append(abs(found.mean - reached) < half)
        estimates.append(found.mean)
        truths.append(truth)
        kept.append(reached)
        print(f"  {name}, table {seed + 1}: {found.mean:.4f} +- {found.standard_error:.4f}, {truth:.4f}", flush=True)
    spread = (np.mean(inside) * (1 - np.mean(inside)) / TABLES) ** 0.5
    return [
        name,
        f"{np.mean(estimates):.4f}",
        f"{np.mean(truths):.4f}",
        f"{100 * np.mean(inside):.1f} ± {100 * spread:.1f} %",
        f"{np.mean(kept):.4f}",
        f"{100 * np.mean(inside_kept):.1f} %",
    ]


if __name__ == "__main__":
    lines = [case(name, *settings) for name, settings in CASES.items()]
    head = ["table", "estimate", "fresh rows, fold's models", "in the 95 % interval", "kept model", "in the interval"]
    machine.keep(
        "intervals",
        f"# How often the interval of the estimate holds\n\n`python benchmarks/intervals.py`: "
        f"{machine.describe('torchbce', 'scikit-learn')}\n\nMean BCE over {TABLES} simulated tables, nats per item.\n\n"
        + machine.table(head, lines),
    )
