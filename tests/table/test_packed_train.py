"""Training in blocks: as good as in memory, the same bytes with any number of processes and after any kill."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from once import once
from predicting import predict
from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.checkpoint.folder import CheckpointFolder
from torchbce.io import shards
from torchbce.io.size import CELL_BYTES, fits_in_memory
from torchbce.table import memory_table, packed_table
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.ensemble import in_blocks
from torchbce.table.ensemble.block_fit import fit_blocks
from torchbce.table.ensemble.config import UserOptions, block_config
from torchbce.table.network import data_parallel
from torchbce.table.packed import prepare as packing
from torchbce.table.packed.shuffled import Shuffled
from torchbce.table.packed_table import prepare
from torchbce.table.splits.holdout import Holdout
from torchbce.table.train_args import TrainArgs

FILES = ["MODEL_CARD.md", "history.csv", "model.json", "model.safetensors", "predictions.parquet"]
SMALL = ("--target", "y", "--memory", "1K", "--cache", "cache", "--hidden", 8, "--epochs", 3, "--batch-size", 1024)


class Killed(BaseException):
    """As kill -9: nothing in the program expects it."""


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """30,000 rows, of which a few blocks are for training."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(30_000, 4))
    level = chance.integers(0, 6, 30_000)
    p = 1 / (1 + np.exp(-(x[:, 0] - x[:, 1] * x[:, 2] + level / 3 - 1)))
    columns = {f"x{i}": x[:, i] for i in range(4)} | {"level": [f"l{k}" for k in level]}
    whole = pl.DataFrame({**columns, "y": (chance.random(30_000) < p).astype(int)})
    return whole.with_columns(pl.when(chance.random(30_000) < 0.1).then(None).otherwise(pl.col("x3")).alias("x3"))


@pytest.fixture(scope="module")
def file(table, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "t.parquet"
    table.write_parquet(path)
    return path


@pytest.fixture(scope="module")
def undisturbed(file, tmp_path_factory) -> tuple[Path, str]:
    """A run and what it says."""
    from typer.testing import CliRunner

    from torchbce.cli.app import app

    def train(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            result = CliRunner().invoke(app, ["train", str(file), *map(str, SMALL), "--out", "run"])
        assert result.exit_code == 0, result.output
        (folder / "output").write_text(result.output)

    folder = once(tmp_path_factory, "undisturbed in blocks", train)
    return folder / "run", (folder / "output").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def number(pattern: str, text: str) -> float:
    return float(re.search(pattern, text).group(1).replace(",", ""))


def test_the_saved_model_predicts_what_the_run_did(undisturbed, file):
    """The run had its rows from the cache; predict encodes them anew."""
    folder, _ = undisturbed
    kept = pl.read_parquet(folder / "predictions.parquet")
    again = predict(folder, str(file)).table
    found = again["logit"].to_numpy()[kept["row"].to_numpy() - 1]
    assert kept["logit"].to_numpy() == pytest.approx(found, abs=1e-4)
    assert kept["target"].to_list() == again["target"].gather(kept["row"] - 1).to_list()


def test_what_is_printed_is_true(undisturbed, file):
    folder, said = undisturbed
    kept = pl.read_parquet(folder / "predictions.parquet")
    assert number(r"estimate\s+(\S+) \+-", said) == pytest.approx(kept["loss"].mean(), abs=1e-6)
    rows, aside = number(r"split\s+(\S+) rows to learn", said), number(r"learn from, (\S+) kept", said)
    assert rows + aside == 30_000
    assert len(kept) == aside
    everyone = predict(folder, str(file)).table
    judged = set(kept["row"].to_list())
    assert number(r"base rate costs (\S+) on", said) == pytest.approx(np.log(2), abs=0.1)
    assert len(judged) == aside
    assert everyone.height == 30_000


def test_it_is_as_good_as_in_memory(undisturbed, file, command):
    _, said = undisturbed
    found = command("train", file, "--target", "y", "--hidden", 8, "--epochs", 3, "--batch-size", 1024, "--members", 1,
                    "--no-trees", "--out", "whole")  # fmt: skip
    assert found.exit_code == 0
    blocks, memory = (number(r"estimate\s+(\S+) \+-", text) for text in (said, found.stdout))
    error = number(r"estimate\s+\S+ \+- (\S+)", said)
    assert abs(blocks - memory) < 4 * error


@pytest.mark.parametrize("window", [1, pytest.param(2, marks=pytest.mark.combination)])
def test_a_run_killed_at_each_checkpoint_ends_with_the_same_bytes(
    file, undisturbed, tmp_path, monkeypatch, command, window
):
    """Each attempt gets a few steps further; `window`: blocks of one, so that an epoch has several windows."""
    monkeypatch.setattr(in_blocks, "TOGETHER", 3)
    monkeypatch.setattr(in_blocks, "Shuffled", lambda stored, seed: Shuffled(stored, seed, blocks=window))
    whole = command("train", file, *SMALL, "--out", "whole")
    assert whole.exit_code == 0, whole.output
    original, kills = CheckpointFolder.save, 0

    def save(self, state):
        original(self, state)
        raise Killed

    monkeypatch.setattr(Checkpointer, "is_due", property(lambda checkpointer: checkpointer.enabled))
    monkeypatch.setattr(CheckpointFolder, "save", save)
    for _ in range(80):
        try:
            found = command("train", file, *SMALL, "--out", "run")
        except Killed:
            kills += 1
            continue
        break
    assert found.exit_code == 0, found.output
    assert "this run, unfinished; it goes on" in found.stdout
    assert kills > 15
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_the_cache_is_used_again_and_not_by_a_changed_table(file, table, tmp_path, command):
    (tmp_path / "t.parquet").write_bytes(file.read_bytes())
    first = command("train", "t.parquet", *SMALL, "--out", "a")
    assert "cache was made" in first.stdout
    assert "cache is used again" in command("train", "t.parquet", *SMALL, "--out", "b").stdout
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    table.head(29_999).write_parquet(tmp_path / "t.parquet")
    assert "cache was made" in command("train", "t.parquet", *SMALL, "--out", "c").stdout


def test_an_unfinished_run_is_not_gone_on_with_on_a_changed_table(file, table, tmp_path, monkeypatch, command):
    (tmp_path / "t.parquet").write_bytes(file.read_bytes())
    original = CheckpointFolder.save

    def save(self, state):
        original(self, state)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "is_due", property(lambda checkpointer: checkpointer.enabled))
        patch.setattr(CheckpointFolder, "save", save)
        with pytest.raises(Killed):
            command("train", "t.parquet", *SMALL, "--out", "run")
    table.head(29_999).write_parquet(tmp_path / "t.parquet")
    found = command("train", "t.parquet", *SMALL, "--out", "run")
    assert found.exit_code == 3
    assert "the table t.parquet was content" in found.stderr


def test_folders_and_patterns_are_one_table(table, tmp_path, command):
    """In memory and in blocks; a model does not depend on how its rows are cut into files."""
    (tmp_path / "shards").mkdir()
    some = table.head(3000)
    some.write_csv(tmp_path / "whole.csv")
    some.head(1200).write_csv(tmp_path / "shards" / "a.csv")
    some.tail(1800).write_csv(tmp_path / "shards" / "b.csv")
    options = ("--target", "y", "--test-share", 0.2, "--no-trees", "--epochs", 2, "--members", 1)
    for name, out in (("whole.csv", "one"), ("shards", "two"), ("shards/*.csv", "three")):
        assert command("train", name, *options, "--out", out).exit_code == 0
        assert command("train", name, *SMALL, "--cache", out + ".cache", "--out", out + "-blocks").exit_code == 0
    for kind in ("", "-blocks"):
        weights = [(tmp_path / (out + kind) / "model.safetensors").read_bytes() for out in ("one", "two", "three")]
        assert weights[0] == weights[1] == weights[2]


def test_what_needs_the_table_in_memory_says_so(file, command):
    assert "leave --compare out" in command("train", file, *SMALL, "--compare").stderr
    assert "needs the table in memory" in command("train", file, *SMALL, "--folds", 3).stderr


def test_a_table_is_taken_into_memory_where_it_fits(file, tmp_path):
    cells = 30_000 * 6
    assert fits_in_memory([str(file)], cells * CELL_BYTES + 1)
    assert not fits_in_memory([str(file)], cells * CELL_BYTES - 1)
    assert fits_in_memory(["-"], 1.0)


@pytest.mark.parametrize("kind", ["stop", "skip"])
def test_a_loss_that_is_not_finite_is_named_or_left_out(table, tmp_path, monkeypatch, kind):
    table.write_parquet(tmp_path / "t.parquet")
    args = TrainArgs(str(tmp_path / "t.parquet"), ColumnRoles("y"), Holdout(share=0), seed=1)
    task = prepare(args, tmp_path / "c")
    chosen = block_config(
        len(task.table.stream.train), UserOptions(hidden=(4,), epochs=1, batch_size=1024, on_nan=kind)
    )
    original, steps = data_parallel.DataParallelStep.step, [0]

    def step(self, rows, order, rate, draw):
        steps[0] += 1
        if steps[0] == 5:
            self.first.steps += 1
            return float("nan")
        return original(self, rows, order, rate, draw)

    monkeypatch.setattr(data_parallel.DataParallelStep, "step", step)
    if kind == "stop":
        with pytest.raises(
            ValueError, match=r"the loss of epoch 1 is nan in batch 5, of the rows \d+, .*--on-nan skip"
        ):
            fit_blocks(task.table.stream, chosen, seed=1)
    else:
        epoch = fit_blocks(task.table.stream, chosen, seed=1).fitted.history[0]
        assert epoch.skipped == 1
        assert "1 batch left out" in str(epoch)
        assert 0.3 < epoch.running < 0.8


def test_the_bits_do_not_depend_on_the_threads(file, tmp_path):
    task = prepare(TrainArgs(str(file), ColumnRoles("y"), seed=1), tmp_path / "c")
    chosen = block_config(len(task.table.stream.train), UserOptions(hidden=(8,), epochs=2, members=2))
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            fitted = fit_blocks(task.table.stream, chosen, seed=1)
            found.append((fitted.fitted.held_out_logits, fitted.train_bce))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(found[0][0], logits) and found[0][1] == train for logits, train in found[1:])


def torchrun(count: int, *arguments: object, cwd: Path) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "-m", "torchbce"]
    return subprocess.Popen(
        [sys.executable, *command, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def kill_all(text: str) -> None:
    """Every process that has it on its command line: torchrun's workers outlive it when it is killed."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text in path.read_bytes().decode(errors="replace").split("\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes as Linux shows them")
def test_processes_come_and_go_and_the_bytes_stay(file, undisturbed, tmp_path):
    """Two processes, killed; then one, stopped; then three."""
    more = (*SMALL[:-4], "--epochs", 40, "--patience", 40, "--batch-size", 1024, "--checkpoint", "0.2s")
    whole = subprocess.run(
        [sys.executable, "-m", "torchbce", "train", str(file), *map(str, more), "--out", "whole"], cwd=tmp_path
    )
    assert whole.returncode == 0
    for count in (2, 1):
        process = torchrun(count, "train", file, *more, "--out", "run", cwd=tmp_path)
        for line in process.stdout:
            if line.startswith(f"epoch {'  8' if count == 2 else ' 20'}"):
                break
        kill_all(str(file))
        process.communicate()
    process = torchrun(3, "train", file, *more, "--out", "run", cwd=tmp_path)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "resumed   in epoch" in said
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.processes
def test_members_in_memory_are_shared_out_without_changing_a_byte(table, tmp_path, command):
    table.head(2000).write_csv(tmp_path / "t.csv")
    options = ("train", "t.csv", "--target", "y", "--folds", 2, "--epochs", 3, "--members", 3, "--hidden", 4)
    assert command(*options, "--out", "one").exit_code == 0
    process = torchrun(2, *options, "--out", "two", cwd=tmp_path)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("estimate  ") == 1
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_epochs_that_are_announced_are_those_of_the_training(file, tmp_path):
    """They depend on the rows that are learnt from, without those that choose the epoch."""
    task = prepare(TrainArgs(str(file), ColumnRoles("y"), seed=1), tmp_path / "c")
    assert len(task.table.stream.train) < task.outline.train_rows
    assert task.table.config(UserOptions()) == block_config(len(task.table.stream.train), UserOptions())


def test_a_time_budget_covers_reading(file, command, monkeypatch):
    """In memory and in blocks; what is left is for training."""
    found = command("train", file, *SMALL, "--time-budget", "1m")
    assert found.exit_code == 0, found.stderr
    given = []
    fit = packed_table.fit_blocks
    monkeypatch.setattr(packed_table, "fit_blocks", lambda *a, **k: given.append(a[1].time_budget) or fit(*a, **k))
    assert command("train", file, *SMALL, "--time-budget", "1m").exit_code == 0
    assert 0 < given[0] < 60
    told = []
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 2000)
    monkeypatch.setattr(packing, "_Heard", slow(packing._Heard, told))
    found = command("train", file, *SMALL, "--cache", "other", "--time-budget", "0.2s")
    assert found.exit_code == 3
    assert "has taken all of --time-budget, 0.2 s, and nothing is left to train in" in " ".join(found.stderr.split())
    assert len(told) < 6  # of 30 batches of rows
    assert not Path("other").exists()
    prepare_slowly = memory_table.prepare
    monkeypatch.setattr(memory_table, "prepare", lambda *a, **k: (time.sleep(0.3), prepare_slowly(*a, **k))[1])
    found = command("train", file, "--target", "y", "--time-budget", "0.2s")
    assert found.exit_code == 3
    assert "has taken all of --time-budget" in " ".join(found.stderr.split())


def slow(heard, told):
    """A listener that takes its time."""

    class Slow(heard):
        def __call__(self, rows):
            told.append(rows)
            time.sleep(0.1)
            super().__call__(rows)

    return Slow
