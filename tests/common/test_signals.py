"""Ctrl-C, SIGTERM and SIGHUP: none vanishes, and after the last epoch none costs the training."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest

from torchbce.common import signals
from torchbce.common.signals import Terminated, look, signals_held, signals_watched, stopping
from torchbce.table import evaluate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
FILES = ["MODEL_CARD.md", "history.csv", "model.json", "model.safetensors", "predictions.parquet"]
MEMORY = ("--target", "bought", "--test-share", 0.2, "--no-trees", "--epochs", 3, "--members", 2, "--hidden", 4)
BLOCKS = ("--target", "bought", "--test-share", 0.2, "--epochs", 3, "--memory", "1K", "--cache", "cache", "--hidden", 4)
WAYS = {"in memory": MEMORY, "in blocks": BLOCKS}
ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


class Thing:
    """Something that can be referred to weakly."""


def in_a_callback(number: int) -> None:
    """The signal comes in the callback of a weak reference, where an exception is lost."""
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert reference() is None


def in_a_finalizer(number: int) -> None:
    """The same in `__del__`."""

    class Dying:
        def __del__(self):
            signal.raise_signal(number)

    Dying()


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def shop(mixed_table, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("signals") / "shop.csv"
    mixed_table.head(600).write_csv(path)
    return path


@pytest.fixture(scope="module")
def whole(shop, tmp_path_factory) -> dict[str, Path]:
    """Runs that nothing disturbs."""
    from typer.testing import CliRunner

    from torchbce.cli.app import app

    found = {}
    for way, options in WAYS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("whole"))
            result = CliRunner().invoke(app, ["train", str(shop), *map(str, options), "--out", "run"])
            assert result.exit_code == 0, result.output
            found[way] = Path("run").absolute()
    return found


@pytest.mark.parametrize("comes", [in_a_callback, in_a_finalizer])
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGHUP, Terminated)])
def test_a_signal_whose_exception_is_lost_is_obeyed_at_the_next_look(comes, number, kind, capsys):
    with signals_watched():
        look()
        comes(number)
        with pytest.raises(kind):
            look()
    assert capsys.readouterr().err == ""  # Python has nothing to say about it
    look()  # the next block begins anew


def test_a_held_signal_waits_and_another_one_does_not(monkeypatch):
    def hold():
        with signals_held() as came:
            assert not came
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # so soon, it is the same one
            look()
            assert came
            monkeypatch.setattr(signals, "ONE", 0.0)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    with signals_watched(), pytest.raises(KeyboardInterrupt):
        hold()


def test_outside_of_the_command_a_held_signal_goes_to_whoever_saw_to_it_before():
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with signals_held():
            signal.raise_signal(signal.SIGTERM)
            assert not seen
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]


def test_what_is_ignored_at_the_start_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in stopping()
        with signals_watched(), signals_held() as came:
            signal.raise_signal(signal.SIGHUP)
            assert not came
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stopping() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "number"), [(way, number) for way in WAYS for number in ENDS])
def test_a_signal_after_the_last_epoch_does_not_cost_the_training(
    shop, whole, tmp_path, monkeypatch, command, way, number
):
    options, increase = WAYS[way], evaluate.permutation_increase
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "permutation_increase", lambda *given: (in_a_callback(number), increase(*given))[1])
        found = command("train", shop, *options, "--out", "run")
    assert found.exit_code == ENDS[number], found.output
    assert "run.unfinished has what is done; the same command goes on with it" in found.stderr
    again = command("train", shop, *options, "--out", "run")
    assert again.exit_code == 0, again.output
    assert "this run, unfinished; it goes on" in again.stdout
    assert "\nepoch " not in again.stdout
    assert "resumed" not in again.stdout
    assert contents(tmp_path / "run") == contents(whole[way])


def test_a_signal_while_the_run_is_written_says_where_the_model_is(shop, tmp_path, monkeypatch, command):
    import torchbce.table.run.write as module

    original = module.write_report

    def write(*arguments):
        signal.raise_signal(signal.SIGTERM)
        original(*arguments)

    monkeypatch.setattr(module, "write_report", write)
    found = command("train", shop, *MEMORY, "--out", "run")
    assert found.exit_code == 143
    assert found.stderr.strip() == "torchbce: terminated; the finished model is in run"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_ended_at_a_drawn_moment_after_its_last_epoch_goes_on(shop, whole, tmp_path, command, way):
    options = WAYS[way]
    drawn, ended = random.Random(way), 0
    for attempt, number in enumerate({"in memory": [signal.SIGINT, signal.SIGHUP], "in blocks": [signal.SIGTERM]}[way]):
        argv = [sys.executable, "-m", "torchbce", "train", shop, *options, "--out", f"run-{attempt}"]
        process = subprocess.Popen(
            list(map(str, argv)), cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for line in process.stdout:
            if line.startswith("epoch   3"):
                break
        time.sleep(drawn.uniform(0, 0.2))
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        folder = tmp_path / f"run-{attempt}"
        if process.returncode:
            ended += 1
            assert process.returncode == ENDS[number], errors
            assert "nothing was written" not in errors
            assert "Traceback" not in errors
        if not folder.exists():
            again = command("train", shop, *options, "--out", folder.name)
            assert again.exit_code == 0, again.output
            assert "\nepoch " not in again.stdout
        assert contents(folder) == contents(whole[way])
    assert ended


@pytest.mark.processes
def test_under_nohup_a_lost_terminal_ends_nothing(shop, tmp_path):
    argv = ["nohup", sys.executable, "-m", "torchbce", "train", shop, *MEMORY, "--epochs", 60, "--out", "run"]
    process = subprocess.Popen(
        list(map(str, argv)), cwd=tmp_path, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch   1"):
            break
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
