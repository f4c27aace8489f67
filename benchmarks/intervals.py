"""Does the interval around the estimate by folds hold the BCE on fresh rows as often as it says?

Tables are simulated from a source that is known, so that fresh rows are to be had: logits of some numbers and a
category, half of the columns noise. For each: the estimate by five folds with its standard error, and the BCE on 20,000
fresh rows of the fold's models (a mean over them, which is what is estimated) and of the model that is kept, which
learns from all rows.

Run: python benchmarks/intervals.py            (half an hour)
"""

from __future__ import annotations

import machine
import numpy as np
import polars as pl

from torchbce import explain
from torchbce.table.columns.examples import Examples
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.calibration import bce
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.model import Model, fit_model
from torchbce.table.splits.splits import folds

TABLES, FRESH, FOLDS = 200, 20_000, 5
OPTIONS = UserOptions(members=2)  # of each kind: it ends within the hour
CASES = {"300 rows": (300, -1.0), "1,000 rows, rare": (1_000, -2.8)}
KINDS = {"a": "numeric", "b": "numeric", "c": "categorical", "noise": "numeric", "more": "numeric", "d": "categorical"}


def sample(rows: int, shift: float, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    a, b, noise, more = rng.normal(size=(4, rows))
    c, d = rng.choice(list("uvw"), (2, rows))
    logits = shift + 1.2 * a - np.abs(b) + 1.5 * (c == "u") + 0.8
    answers = (rng.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    frame = pl.DataFrame({"a": a, "b": b, "c": c, "noise": noise, "more": more, "d": d})
    return Examples(frame=frame, name="simulated", kinds=KINDS, answers=answers)


def fitted(examples: Examples, seed: int) -> Model:
    return fit_model(examples, EncodedTable.fit(examples), OPTIONS, seed=seed).model


def table_of(rows: int, shift: float, seed: int, fresh: Examples) -> tuple[float, float, float, float]:
    """The estimate, its standard error, and the BCE on fresh rows: of the folds' models and of the one that is kept."""
    table = sample(rows, shift, seed)
    logits, truths = np.empty(rows), []
    for number, (train, aside) in enumerate(folds(table, FOLDS, seed), 1):
        model = fitted(table.of(train), seed + 1000 * number)
        logits[aside] = model.logits(table.of(aside).frame, "aside")
        truths.append(bce(model.logits(fresh.frame, "fresh"), fresh.answers).mean())
    found = explain(logits, table.answers.astype(float), from_logits=True)
    kept = fitted(table, seed).logits(fresh.frame, "fresh")
    return found.mean, found.standard_error, float(np.mean(truths)), float(bce(kept, fresh.answers).mean())


def case(name: str, rows: int, shift: float) -> list[str]:
    fresh = sample(FRESH, shift, seed=10**6)
    found = []
    for seed in range(TABLES):
        found.append(table_of(rows, shift, seed, fresh))
        print(f"  {name}, table {seed + 1}: {found[-1]}", flush=True)
    estimate, error, truth, kept = np.array(found).T
    inside, inside_kept = (np.abs(estimate - reached) < 1.96 * error for reached in (truth, kept))
    spread = (inside.mean() * (1 - inside.mean()) / TABLES) ** 0.5
    return [
        name,
        f"{estimate.mean():.4f} ± {error.mean():.4f}",
        f"{truth.mean():.4f}",
        f"{100 * inside.mean():.1f} ± {100 * spread:.1f} %",
        f"{kept.mean():.4f}",
        f"{100 * inside_kept.mean():.1f} %",
    ]


if __name__ == "__main__":
    lines = [case(name, *settings) for name, settings in CASES.items()]
    head = ["table", "estimate", "fresh rows, folds' models", "in the 95 % interval", "kept model", "in the interval"]
    machine.keep(
        "intervals",
        f"# How often the interval of the estimate holds\n\n`python benchmarks/intervals.py`: "
        f"{machine.describe('torchbce', 'scikit-learn')}\n\nMean BCE over {TABLES} simulated tables, nats per item.\n\n"
        + machine.table(head, lines),
    )
