"""Trainings for test_agreement.py: one of several processes, that differ in one thing at a time; results as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import distributed, nn
from typer.testing import CliRunner

from leaving import leave_group
from torchbce import BCEClassifier, fit
from torchbce.cli.app import app
from torchbce.common import versions
from torchbce.engine import select

RANK = int(os.environ.get("RANK", "0"))
ODD = RANK == 1  # the process that differs
MEMORY = ("--target", "y", "--folds", 2, "--epochs", 2, "--members", 2, "--hidden", 4, "--no-trees")
BLOCKS = ("--target", "y", "--memory", "1K", "--epochs", 2, "--hidden", 4)


def table() -> pl.DataFrame:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(600, 3)).round(3)
    columns = {f"x{i}": x[:, i] for i in range(3)}
    return pl.DataFrame({**columns, "y": (x[:, 0] + chance.normal(size=600) > 0).astype(int)})


def shuffled(whole: pl.DataFrame) -> pl.DataFrame:
    """The same names over other columns."""
    return whole.select("x2", "x0", "x1", "y").rename({"x2": "x0", "x0": "x1", "x1": "x2"})


def one_value(whole: pl.DataFrame) -> pl.DataFrame:
    return whole.with_columns(pl.when(pl.int_range(pl.len()) == 77).then(9.0).otherwise(pl.col("x1")).alias("x1"))


def train(name: str, *options: object, change=None) -> tuple[int, str]:
    """The command, with a table of this process's own; the run is the first one's."""
    whole = table()
    whole = change(whole) if change is not None and ODD else whole
    folder = Path(f"{name}-{RANK}")
    folder.mkdir()
    whole.write_csv(folder / "t.csv")
    cache = ("--cache", folder / "cache") if "--memory" in options else ()
    argv = ["train", folder / "t.csv", *options, *cache, "--out", f"{name}-run"]
    found = CliRunner().invoke(app, list(map(str, argv)))
    return found.exit_code, found.stderr


def fitted(*, odd_data: bool = False, odd_rate: bool = False, **options) -> str:
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    y = (x[:, :1] > 0).float()
    if odd_data and ODD:
        x = x.flip(1)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2 if odd_rate and ODD else 0.1)
    return raised(lambda: fit(net, (x, y), optimizer=optimizer, epochs=1, on_epoch=None, **{"seed": 0, **options}))


def classified() -> str:
    x = table().drop("y").to_numpy()
    y = table()["y"].to_numpy()
    return raised(lambda: BCEClassifier(epochs=1, random_state=0).fit(x[:, ::-1] if ODD else x, y))


def raised(run) -> str:
    try:
        run()
    except ValueError as error:
        return str(error)
    return ""


def other_versions() -> tuple[int, str]:
    """numba's, in one process."""
    original = versions.version
    versions.version = lambda name: "0.1" if ODD and name == "numba" else original(name)
    try:
        return train("versions", *MEMORY)
    finally:
        versions.version = original


def missing() -> tuple[int, str]:
    """The table of one process is gone."""
    file = Path(f"missing-{RANK}.csv")
    if not ODD:
        table().write_csv(file)
    found = CliRunner().invoke(app, ["train", str(file), *map(str, MEMORY), "--out", "missing-run"])
    return found.exit_code, found.stderr


PROGRAMS = {
    "columns": lambda: train("columns", *MEMORY, change=shuffled),
    "value": lambda: train("value", *MEMORY, change=one_value),
    "names": lambda: train("names", *MEMORY, change=lambda whole: whole.rename({"x1": "z"})),
    "target": lambda: train("target", *MEMORY, *(("--positive", 0) if ODD else ())),
    "seed": lambda: train("seed", *MEMORY, "--seed", 7 if ODD else 8),
    "versions": other_versions,
    "missing": missing,
    "columns in blocks": lambda: train("blocks", *BLOCKS, change=shuffled),
    "the same": lambda: train("same", *MEMORY),
    "the same in blocks": lambda: train("same-blocks", *BLOCKS),
    "fit's data": lambda: fitted(odd_data=True),
    "fit's rate": lambda: fitted(odd_rate=True),
    "fit's epochs": lambda: fitted(patience=1 + RANK, valid=(torch.zeros(2, 3), torch.tensor([[0.0], [1.0]]))),
    "fit's own parts": lambda: fitted(odd_data=True, sharded=True),
    "fit": fitted,
    "classifier": classified,
}


def main(file: str) -> None:
    torch.set_num_threads(1)
    with select.forced("reference"):
        distributed.init_process_group("gloo")
        found = {name: program() for name, program in PROGRAMS.items()}
    Path(f"{file}-{RANK}").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave_group()
