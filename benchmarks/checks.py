"""How often the checks name a bug, and how often they raise an alarm on what is healthy; torchtest2 beside them.

First on programs that were not written beside the checks: bugs from public threads, the same programs mended, and
healthy programs (`public_bugs` and `healthy_programs` in `tests/corpus`), by the day on which they were collected. What
the checks made of those of a day before anything was mended for them stands beside it (`public_programs.py`). Then on
our own (`tests/corpus/seeded.py`), the healthy models at more widths, base rates, sizes and dtypes. An alarm is a FAIL
or a WARN. A public bug is named if one of the codes that its author accepts is among the alarms, a seeded one if its
own code comes first.

Run: python benchmarks/checks.py            (about eight minutes)
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import machine
import torch
import torchtest2
from public_programs import programs

from corpus.seeded import BUGS, KINDS, LOG_BUGS, LOSSES, PREDICTION_BUGS, STEP_BUGS, STEPS, healthy
from torchbce import check, check_log, check_predictions
from torchbce.checks.catalogue.finding import Level
from torchbce.checks.report import Report

warnings.simplefilter("ignore")
SHARES = (0.5, 0.2, 0.1, 0.02, 0.001)


def levels(found: Report) -> tuple[bool, bool]:
    return any(f.level is Level.FAIL for f in found.issues), any(f.level is Level.WARN for f in found.issues)


def ours(model, batch, loss_func, optimizer) -> tuple[bool, bool]:
    x, y = batch
    half = len(x) // 2
    step = STEPS["zero_grad first"]
    return levels(check(model, (x[:half], y[:half]), loss_func, optimizer, step=step, valid=(x[half:], y[half:])))


def theirs(model, batch, loss_func, optimizer=None) -> tuple[bool, bool]:
    try:
        found = torchtest2.check_model(model, *batch, loss_fn=loss_func, optimizer=optimizer)
    except Exception:  # it stops with an error, which is an alarm too
        return True, False
    return bool(found.failures), bool(found.warnings)


def count(found: list[tuple[bool, bool]]) -> list[str]:
    n = len(found)
    fails, warns = sum(fail for fail, _ in found), sum(warn for _, warn in found)
    return [f"{n}", f"{fails} ({100 * fails / n:.1f} %)", f"{warns} ({100 * warns / n:.1f} %)"]


def healthy_models() -> list[list[str]]:
    alarms: tuple[list, list] = [], []
    seconds = [0.0, 0.0]
    grid = itertools.product(KINDS, LOSSES, SHARES, (0, 1, 2))
    for kind, loss, share, seed in grid:
        choice = {"width": (8, 32, 128)[seed], "n": (2000, 256, 1000)[seed] if share > 0.01 else 8000, "seed": seed}
        dtype = torch.float64 if seed == 2 else torch.float32
        for place, run in enumerate((ours, theirs)):
            start = time.perf_counter()
            alarms[place].append(run(*healthy(kind, loss, share, dtype=dtype, **choice)))
            seconds[place] += time.perf_counter() - start
    return [
        [name, *count(found), f"{total / len(found):.2f}"]
        for name, found, total in zip(("torchbce.check", "torchtest2"), alarms, seconds, strict=True)
    ]


def bugs() -> tuple[list[list[str]], list[list[str]]]:
    rows, missed = [], []
    named = {"models": [], "training steps": [], "predictions": [], "logs": []}
    others = []
    for name, (model, data, loss_func, code) in BUGS.items():
        found = [f.code for f in check(model, data, loss_func).issues]
        named["models"].append(found[:1] == [code])
        fail, warn = theirs(model, data, loss_func)
        others.append(fail or warn)
        missed.append([name, code, ", ".join(found) or "-", "FAIL" if fail else "WARN" if warn else "passes"])
    for step in STEP_BUGS.values():
        model, data, loss_func, optimizer = healthy("mlp", "logits", 0.5)
        found = check(model, data, loss_func, optimizer, step=step).issues
        named["training steps"].append([f.code for f in found] == ["BCE018"])
    for outputs, targets, from_logits, code in PREDICTION_BUGS:
        found = check_predictions(outputs, targets, from_logits=from_logits).issues
        named["predictions"].append([f.code for f in found][:1] == [code])
    for train, options, code in LOG_BUGS:
        named["logs"].append([f.code for f in check_log(train, **options).issues] == [code])
    for kind, found in named.items():
        rows.append([f"torchbce, {kind}: named by its own code", f"{len(found)}", f"{sum(found)}"])
    rows.append(["torchtest2, models: any alarm", f"{len(others)}", f"{sum(others)}"])
    return rows, missed


def main() -> None:
    others, wrong = programs()
    rows, each = bugs()
    text = [
        f"# Checks\n\n{machine.describe('torchtest2')}; `benchmarks/checks.py`\n",
        "## Programs that were not written beside the checks\n",
        machine.table(others[0], others[1:]),
        "\n## Not named, or an alarm\n",
        machine.table(["program", "right", "torchbce"], wrong),
        "\n## Healthy models\n",
        machine.table(["", "models", "with a FAIL", "with a WARN", "seconds each"], healthy_models()),
        "\n## Seeded bugs\n",
        machine.table(["", "bugs", "found"], rows),
        "\n## Each model bug\n",
        machine.table(["bug", "code", "torchbce.check", "torchtest2"], each),
    ]
    machine.keep("checks", "\n".join(text))


if __name__ == "__main__":
    main()
