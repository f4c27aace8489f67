"""A run that is killed, wherever that is, goes on and ends with the bytes of one that was not."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import forked
from once import once
from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.checkpoint.folder import CheckpointFolder
from torchbce.checkpoint.record import DamagedError, read_record, write_record
from torchbce.common.errors import InputError

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
FILES = ["MODEL_CARD.md", "history.csv", "model.json", "model.safetensors", "predictions.parquet"]
SMALL = ("--target", "bought", "--folds", 2, "--epochs", 3, "--members", 2, "--hidden", 4)


class Killed(BaseException):
    """As kill -9: nothing in the program expects it."""


def attempted(command, *arguments):
    """What came of it; None where it was killed."""
    try:
        return command(*arguments)
    except Killed:
        return None


@pytest.fixture(scope="module")
def shop(mixed_table, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("resume") / "shop.csv"
    mixed_table.head(300).write_csv(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_a_state_comes_back_to_the_last_bit(tmp_path):
    generator = np.random.default_rng(3)
    state = {
        "tensors": [torch.randn(3, 2), torch.tensor(1.5, dtype=torch.float64), torch.zeros(0, 4), torch.arange(3)],
        "half": torch.randn(5).to(torch.bfloat16),
        "view": torch.randn(4, 4).T[1:],
        "flags": torch.tensor([True, False]),
        "generator": generator.bit_generator.state,
        "numbers": (0.1, -0.0, 5e-324, math.inf, 2**130, None, True),
        "by number": {0: {"step": torch.tensor(3.0)}, 1: {}},
        "": {"__tensor": "no tensor"},
    }
    write_record(tmp_path / "f", state)
    found = read_record(tmp_path / "f")
    assert found["numbers"] == state["numbers"]
    assert math.copysign(1, found["numbers"][1]) == -1
    assert found["generator"] == state["generator"]
    assert found["by number"][0]["step"] == 3
    assert found[""] == state[""]
    for name in ("half", "view", "flags"):
        assert torch.equal(found[name], state[name])
        assert found[name].dtype == state[name].dtype
    for before, after in zip(state["tensors"], found["tensors"], strict=True):
        assert torch.equal(before, after)
        assert before.dtype == after.dtype


def test_nan_comes_back(tmp_path):
    write_record(tmp_path / "f", {"loss": math.nan})
    assert math.isnan(read_record(tmp_path / "f")["loss"])


def test_what_is_no_plain_value_is_not_pickled(tmp_path):
    with pytest.raises(TypeError, match="a checkpoint cannot keep .*, a Path|PosixPath"):
        write_record(tmp_path / "f", {"path": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_every_changed_or_missing_byte_is_seen(tmp_path):
    path = tmp_path / "f"
    write_record(path, {"weights": torch.randn(5), "epoch": 3})
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match="is damaged"):
            read_record(path)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match="is damaged"):
            read_record(path)


def test_the_last_two_checkpoints_are_kept_and_a_damaged_one_is_named(tmp_path):
    unfinished = CheckpointFolder(tmp_path / "run.unfinished", {"--seed": 1})
    for epoch in range(5):
        unfinished.save({"epoch": epoch})
    names = sorted(path.name for path in unfinished.folder.glob("checkpoint*"))
    assert names == ["checkpoint-000004.safetensors", "checkpoint-000005.safetensors"]
    assert unfinished.latest() == {"epoch": 4}
    newest = unfinished.folder / names[1]
    newest.write_bytes(newest.read_bytes()[:-1])
    assert unfinished.latest() == {"epoch": 3}
    assert names[1] in unfinished.notes[0]
    assert "the checkpoint before it is used" in unfinished.notes[0]
    unfinished.save({"epoch": 5})
    assert unfinished.latest() == {"epoch": 5}


def test_another_run_is_refused_by_what_differs(tmp_path):
    folder = tmp_path / "run.unfinished"
    CheckpointFolder(folder, {"the table t.csv": "content ab", "--epochs": 10, "--lr": None}).create()
    CheckpointFolder(folder, {"the table t.csv": "content ab", "--epochs": 10, "--lr": None}).check_identity()
    with pytest.raises(InputError) as error:
        CheckpointFolder(folder, {"the table t.csv": "content cd", "--epochs": 12, "--lr": None}).check_identity()
    assert "the table t.csv was content ab, now content cd; --epochs was 10, now 12" in str(error.value)
    assert "--lr" not in str(error.value)
    assert "--no-resume" in str(error.value)


def test_what_a_kill_left_of_a_folder_is_no_run(tmp_path):
    unfinished = CheckpointFolder(tmp_path / "run.unfinished", {"--seed": 1})
    unfinished.folder.mkdir()
    (unfinished.folder / ".torchbce-0.draft").write_bytes(b"half")
    unfinished.check_identity()
    unfinished.create()
    assert [path.name for path in unfinished.folder.iterdir()] == ["run.safetensors"]


@pytest.fixture(scope="module")
def undisturbed(shop, tmp_path_factory) -> Path:
    from typer.testing import CliRunner

    from torchbce.cli.app import app

    def train(folder):
        result = CliRunner().invoke(app, ["train", str(shop), *map(str, SMALL), "--out", f"{folder}/run"])
        assert result.exit_code == 0, result.output

    return once(tmp_path_factory, "undisturbed in memory", train) / "run"


@pytest.mark.parametrize("after", [False, True], ids=["before it is written", "after it is written"])
def test_a_run_killed_at_each_of_its_writes_ends_with_the_same_bytes(
    shop, undisturbed, tmp_path, monkeypatch, command, after
):
    """Each attempt gets a few writes further; together they are killed at many places."""
    monkeypatch.setattr(Checkpointer, "is_due", property(lambda checkpointer: checkpointer.enabled))
    original = CheckpointFolder._write
    writes = {"left": 0, "kills": 0}

    def counted(self, name, state):
        if writes["left"] <= 0 and not after:
            raise Killed
        original(self, name, state)
        if writes["left"] <= 0 and after:
            raise Killed
        writes["left"] -= 1

    monkeypatch.setattr(CheckpointFolder, "_write", counted)
    for attempt in range(60):
        writes["left"] = attempt % 3 if after else 1 + attempt % 3
        found = attempted(command, "train", shop, *SMALL, "--out", "run")
        if found is not None:
            break
        writes["kills"] += 1
    assert found.exit_code == 0, found.output
    assert writes["kills"] > 5
    assert contents(tmp_path / "run") == contents(undisturbed)
    assert not (tmp_path / "run.unfinished").exists()


def test_a_run_whose_checkpoints_cannot_be_written_goes_on(shop, undisturbed, tmp_path, monkeypatch, command):
    import torchbce.checkpoint.folder as module

    monkeypatch.setattr(Checkpointer, "is_due", property(lambda checkpointer: checkpointer.enabled))
    original, count = module.write_record, [0]

    def full(path, state):
        count[0] += 1
        if count[0] % 3 and "run.safetensors" not in path.name:
            raise OSError(28, "No space left on device")
        original(path, state)

    monkeypatch.setattr(module, "write_record", full)
    found = command("train", shop, *SMALL, "--out", "run")
    assert found.exit_code == 0, found.output
    assert "cannot be written: No space left on device; what was kept before is as it was" in found.stderr
    assert "the run goes on" in found.stderr
    assert contents(tmp_path / "run") == contents(undisturbed)


def test_the_same_command_finds_the_run_and_another_is_refused(shop, tmp_path, monkeypatch, command):
    monkeypatch.setattr(Checkpointer, "is_due", property(lambda checkpointer: checkpointer.enabled))
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save_result", lambda *_: (_ for _ in ()).throw(Killed))
        attempted(command, "train", shop, *SMALL, "--out", "run")
    assert (tmp_path / "run.unfinished").exists() is False  # nothing was kept yet
    original = Checkpointer.save

    def save(self, state):
        original(self, state)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save", save)
        attempted(command, "train", shop, *SMALL, "--out", "run")
    other = command("train", shop, *SMALL, "--out", "run", "--lr", 0.1)
    assert other.exit_code == 3
    assert "--lr was (not there), now 0.1" in other.stderr
    again = command("train", shop, *SMALL, "--out", "run")
    assert again.exit_code == 0
    assert "run.unfinished: this run, unfinished; it goes on" in again.stdout
    assert command("train", shop, *SMALL, "--out", "run").exit_code == 4
    finished = command("train", shop, *SMALL, "--out", "run", "--resume")
    assert finished.exit_code == 0
    assert "run is this very run; there is nothing left to do" in finished.stdout
    assert command("train", shop, *SMALL, "--out", "run", "--resume", "--lr", 0.1).exit_code == 4


def test_a_changed_table_is_refused_by_name_and_no_resume_begins_anew(
    shop, tmp_path, monkeypatch, command, undisturbed
):
    original = Checkpointer.save_result

    def keep(self, name, state):
        original(self, name, state)
        raise Killed

    table = pl.read_csv(shop)
    table.head(299).write_csv(tmp_path / "shop.csv")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save_result", keep)
        attempted(command, "train", "shop.csv", *SMALL, "--out", "run")
    (tmp_path / "shop.csv").write_bytes(shop.read_bytes())
    found = command("train", "shop.csv", *SMALL, "--out", "run")
    assert found.exit_code == 3
    assert "the table shop.csv was content" in found.stderr
    anew = command("train", "shop.csv", *SMALL, "--out", "run", "--no-resume")
    assert anew.exit_code == 0, anew.output
    assert contents(tmp_path / "run") == contents(undisturbed)


def test_checkpoint_off_keeps_nothing(shop, undisturbed, tmp_path, command, monkeypatch):
    monkeypatch.setattr(CheckpointFolder, "create", lambda _: pytest.fail("a folder was made"))
    assert command("train", shop, *SMALL, "--out", "run", "--checkpoint", "off").exit_code == 0
    assert contents(tmp_path / "run") == contents(undisturbed)


@POSIX
@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_training_changes_no_byte(shop, tmp_path, command, number):
    options = ("train", shop, "--target", "bought", "--test-share", 0.2, "--no-trees", "--epochs", 3000)
    options += ("--patience", 3000, "--hidden", 4, "--members", 2, "--checkpoint", "1s")
    whole = command(*options, "--out", "whole")
    assert whole.exit_code == 0
    process = forked.start(forked.COMMAND, *options, "--out", "run", folder=tmp_path)
    begun = False
    for (
        line
    ) in process.stdout:  # read on until there is what the signal is to find: a full pipe would stop the training
        begun = begun or line.startswith("epoch 100")
        if begun and (number != signal.SIGKILL or list((tmp_path / "run.unfinished").glob("checkpoint*"))):
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    if number != signal.SIGKILL:
        assert "the same command goes on with it" in errors
    again = command(*options, "--out", "run")
    assert again.exit_code == 0
    assert "resumed" in again.stdout
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@POSIX
def test_two_processes_do_not_share_a_run(shop, tmp_path, command):
    options = ("--target", "bought", "--test-share", 0.2, "--no-trees", "--epochs", 5000, "--patience", 5000)
    process = forked.start(forked.COMMAND, "train", shop, *options, "--out", "run", folder=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch   1"):
            break
    found = command("train", shop, "--target", "bought", "--out", "run")
    process.kill()
    process.communicate()
    assert found.exit_code == 4
    assert "is about to be made by another run" in found.stderr
