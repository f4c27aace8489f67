"""explain on 100 million predictions, beside only reading them and scikit-learn; how far the sketch is from exact.

Whole processes, from the start of Python to the last line, with the most memory that each held. scikit-learn reads 10
million rows, as it keeps them all.

Run: python benchmarks/lens.py            (about two minutes; 500 MB of disk)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score

from torchbce.explanation.sketch.points import FOLDS, Points
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.statistics.auc import auc
from torchbce.explanation.statistics.calibration import loss_at
from torchbce.explanation.statistics.decomposition import decomposition
from torchbce.explanation.statistics.intervals import NOTHING
from torchbce.explanation.statistics.sample import Sample

ROWS, FEWER = 100_000_000, 10_000_000
# In a process of its own: what a parent holds counts as held by its children at first.
WRITE = """
import numpy as np
import polars as pl
rng = np.random.default_rng(0)
z = rng.standard_normal({rows}, dtype=np.float32) * 1.5 - 1
p = 1 / (1 + np.exp(-z))
pl.DataFrame({{"p": p, "y": (rng.random({rows}, dtype=np.float32) < p).astype(np.uint8)}}).write_parquet({path!r})
"""
EXPLAIN = "import sys; from torchbce.cli import main; sys.argv[1:] = {arguments!r}; main()"
READ = "import polars as pl; print(pl.scan_parquet({path!r}).select(pl.all().sum()).collect())"
SKLEARN = """
import polars as pl
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
table = pl.read_parquet({path!r}, n_rows={rows})
p, y = table["p"].to_numpy(), table["y"].to_numpy()
print(log_loss(y, p), calibration_curve(y, p, n_bins=20)[0][:1])
"""


def run(script: str) -> tuple[float, float]:
    """Seconds and GiB of a Python process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {script}")
    return time.perf_counter() - start, usage.ru_maxrss / 2**20


def speed() -> list[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "predictions.parquet")
        run(WRITE.format(rows=ROWS, path=path))
        arguments = ["explain", path, "--target", "y", "--prob", "p"]
        contestants = {
            "torchbce explain": (EXPLAIN.format(arguments=arguments), ROWS),
            "polars, only reading": (READ.format(path=path), ROWS),
            "scikit-learn log_loss and calibration_curve": (SKLEARN.format(path=path, rows=FEWER), FEWER),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(3):
            for name, (script, _) in contestants.items():
                found[name].append(run(script))
    rows = []
    for name, (_, count) in contestants.items():
        seconds, memory = np.median([s for s, _ in found[name]]), max(m for _, m in found[name])
        rows.append([name, f"{count:,}", f"{seconds:.1f}", f"{count / seconds / 1e6:.1f}", f"{memory:.2f}"])
    return rows


def accuracy(n: int = 1_000_000) -> list[list[str]]:
    """The sketch of n different logits beside the same figures without it."""
    rng = np.random.default_rng(0)
    z = rng.normal(-3, 2, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(0.8 * z - 0.2)))).astype(np.float64)
    sketch = Sketch(from_logits=True)
    sketch.add(torch.from_numpy(z), torch.from_numpy(y), rows=np.arange(n))
    order = np.argsort(z)
    part = np.eye(FOLDS)[rng.integers(0, FOLDS, n)]
    sums = 1 - y[order], y[order]
    exact = Points(z[order], part, part * y[order, None], sums, sums)
    mean = loss_at(z, np.ones(n), y) / n
    rows = [["mean", f"{sketch.sums.total / n:.9f}", f"{log_loss(y, 1 / (1 + np.exp(-z))):.9f}"]]
    pairs = [decomposition(Sample(points), mean, None, NOTHING) for points in (sketch.distribution(), exact)]
    ours, theirs = (parts for parts, _ in filter(None, pairs))
    for name in ("miscalibration", "corp_miscalibration", "corp_discrimination"):
        rows.append([name, f"{getattr(ours, name):.6f}", f"{getattr(theirs, name):.6f}"])
    rows.append(["AUC", f"{auc(sketch.distribution()):.6f}", f"{roc_auc_score(y, z):.6f}"])
    return rows


def main() -> None:
    text = [
        f"# explain on 100 million predictions\n\n{machine.describe('polars', 'scikit-learn')}; `benchmarks/lens.py`\n",
        "## Predictions in a Parquet file (float32 probability, uint8 target), whole processes\n",
        machine.table(["what", "rows", "seconds", "million rows/s", "GiB at most"], speed()),
        "\n## One million different logits: the sketch beside exact values, nats\n",
        machine.table(["figure", "sketch", "exact"], accuracy()),
    ]
    machine.keep("lens", "\n".join(text))


if __name__ == "__main__":
    main()
