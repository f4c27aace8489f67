"""Training on tables that are larger than memory.

10 million rows of 20 columns (see large_table.py), as Parquet and as CSV; a million more of the same kind to judge by.
Every run is a process of its own. The rate is rows that are learnt from per second of training, reading included; the
memory is the largest resident size, pages of files included. In memory: the same network, batch and epochs, all rows
shuffled in each epoch; two seeds show how much chance there is in it.

Run: python benchmarks/large.py FOLDER [ROWS]            (half an hour and 10 GB of disk; the files stay there)
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import large_table
import machine

from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.checkpoint.folder import CheckpointFolder

TEST = 1_000_000
EPOCHS = 2
WIDTHS = {"none": (), "16": (16,), "32-32": (32, 32), "64-64": (64, 64), "128-128": (128, 128)}
SEEDS = (1, 2)
IN_MEMORY = 20_000_000  # rows; of more, only Parquet, and no run in memory


class Timed(CheckpointFolder):
    """Counts its checkpoints, and the seconds that training waits for them."""

    saves, seconds = 0, 0.0

    def save(self, state: dict[str, Any]) -> None:
        start = time.perf_counter()
        super().save(state)
        self.seconds += time.perf_counter() - start
        self.saves += 1


def child(arguments: dict[str, Any]) -> None:
    """One run, which prints what it came to."""
    from torchbce.table import memory_table, packed_table
    from torchbce.table.columns.roles import ColumnRoles
    from torchbce.table.ensemble.callbacks import Callbacks
    from torchbce.table.ensemble.config import UserOptions
    from torchbce.table.splits.holdout import Holdout
    from torchbce.table.train import train
    from torchbce.table.train_args import TrainArgs

    epochs: list[tuple[float, float]] = []
    kept = Timed(Path(arguments["place"]) / "unfinished", {}) if "checkpoint" in arguments else None
    checkpointer = Checkpointer(kept, arguments.get("checkpoint", math.inf))
    callbacks = Callbacks(epoch=lambda epoch: epochs.append((epoch.seconds, epoch.valid)), checkpointer=checkpointer)
    roles, held = ColumnRoles("y"), Holdout(file=arguments["test"])
    options = UserOptions(
        hidden=tuple(arguments["hidden"]), epochs=EPOCHS, members=1, trees=False, batch_size=arguments.get("batch")
    )
    args, start = TrainArgs(arguments["file"], roles, held, options, arguments["seed"]), time.perf_counter()
    if arguments["cache"] is None:
        task = memory_table.prepare(args)
    else:
        task = packed_table.prepare(args, Path(arguments["cache"]))
    ready = time.perf_counter()
    outcome = train(task, args, callbacks=callbacks)
    assert outcome.estimate is not None
    found = {
        "prepared": ready - start,
        "rate": task.outline.train_rows / statistics.mean(seconds for seconds, _ in epochs),
        "reading": outcome.reading,
        "bce": outcome.estimate.explanation.mean,
        "error": outcome.estimate.explanation.standard_error,
        "seconds": time.perf_counter() - start,
    }
    if kept is not None:
        found |= {"saves": kept.saves, "save": kept.seconds / max(kept.saves, 1)}
        kept.remove()
    print(json.dumps(found))


def run(**arguments: Any) -> dict[str, float]:
    """What a process of its own came to, and its memory in GiB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.pop("threads", os.cpu_count()))}
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, said
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    found["memory"] = usage.ru_maxrss / 2**20
    print(arguments, found, file=sys.stderr, flush=True)
    return found


def packing(files: dict[str, Path], folder: Path, common: dict[str, Any]) -> str:
    """What it takes to pack each file, and to find it packed."""
    lines = []
    for kind, path in files.items():
        cache = folder / f"cache-{kind}"
        first = run(file=str(path), cache=str(cache), hidden=[32], **common)
        again = run(file=str(path), cache=str(cache), hidden=[32], **common)
        size = sum(part.stat().st_size for part in cache.iterdir())
        lines.append(
            [
                f"{kind}, {path.stat().st_size / 2**30:.2f} GiB",
                f"{first['prepared']:.0f} s",
                f"{again['prepared']:.1f} s",
                f"{size / 2**30:.2f} GiB",
                f"{first['memory']:.2f} GiB",
                f"{again['memory']:.2f} GiB",
            ]
        )
    return machine.table(["file", "packed in", "found in", "cache", "memory, packing", "memory, training"], lines)


def training(widths: dict[str, tuple[int, ...]], **common: Any) -> str:
    """The rate, the share of reading and the BCE of networks of each size."""
    lines = []
    for name, hidden in widths.items():
        best = run(hidden=hidden, **common)
        lines.append(
            [
                name,
                f"{best['rate'] / 1e6:.2f} M",
                f"{best['reading']:.1%}",
                f"{best['memory']:.2f} GiB",
                f"{best['bce']:.5f} ± {best['error']:.5f}",
            ]
        )
    return machine.table(["hidden layers", "rows a second", "reading", "memory", "BCE on a million other rows"], lines)


def shuffling(folder: Path, **common: Any) -> str:
    """What windows of blocks cost in BCE, beside all rows shuffled in memory."""
    lines = []
    for seed in SEEDS:
        more = {**common, "hidden": [32, 32], "seed": seed}
        blocks = run(cache=str(folder / f"cache-{seed}"), **more)
        whole = run(cache=None, batch=4096, **more)
        lines.append(
            [
                str(seed),
                f"{blocks['bce']:.5f}",
                f"{whole['bce']:.5f}",
                f"{blocks['bce'] / whole['bce'] - 1:+.3%}",
                f"{blocks['memory']:.2f} GiB",
                f"{whole['memory']:.2f} GiB",
            ]
        )
    return machine.table(["seed", "BCE in blocks", "in memory", "difference", "memory", "in memory"], lines)


def main(folder: Path, rows: int) -> None:
    small = rows <= IN_MEMORY
    files = {kind: folder / f"table-{rows}.{kind}" for kind in (("parquet", "csv") if small else ("parquet",))}
    test = folder / "test.parquet"
    for path in files.values():
        if not path.exists():
            large_table.write(path, rows)
    if not test.exists():
        large_table.write(test, TEST, part=1)
    common = {"test": str(test), "seed": 1}
    widths = WIDTHS if small else {name: WIDTHS[name] for name in ("none", "32-32")}
    packed = {"file": str(files["parquet"]), "cache": str(folder / "cache-parquet"), **common}
    text = [
        f"# Tables larger than memory: {rows:,} rows of 20 columns",
        "",
        machine.describe("numpy", "polars", "scikit-learn"),
        "",
        "## Packing",
        "",
        packing(files, folder, common),
        "",
        f"## Training from the cache, batches of 4,096, {EPOCHS} epochs, one network",
        "",
        training(widths, **packed),
    ]
    if small:
        often = run(hidden=[128, 128], checkpoint=1.0, place=str(folder), **packed)
        text += [
            "",
            f"A checkpoint of the last network takes {1e3 * often['save']:.0f} ms, a mean of {often['saves']:.0f}: one "
            f"every 5 minutes is {often['save'] / 300:.3%} of the time, one a second {often['save']:.1%}.",
            "",
            "## In blocks and in memory, hidden layers 32-32",
            "",
            shuffling(folder, file=str(files["parquet"]), test=str(test)),
        ]
    machine.keep("large" if rows == 10_000_000 else f"large-{rows}", "\n".join(text))


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(json.loads(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000)
