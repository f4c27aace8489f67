"""What a person at a terminal sees: commands run there to their end, with their bars."""

from __future__ import annotations

import contextlib
import os
import pty

import numpy as np
import polars as pl
import pytest

import forked


def on_a_terminal(*argv: str) -> tuple[int, str]:
    """Exit status and output of the command, whose output is a terminal."""
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "120"}
    process = forked.start(forked.COMMAND, *argv, environment=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while part := os.read(ours, 4096):
            output += part
    os.close(ours)
    return process.wait(), output.decode(errors="replace")


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    path = tmp_path / "t.csv"
    pl.DataFrame({"x": x, "z": rng.normal(size=200), "y": (x + rng.normal(size=200) > 0).astype(int)}).write_csv(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["in memory", "in blocks"])
def test_train_and_predict_run_to_their_end(memory, table, tmp_path):
    run = str(tmp_path / "run")
    blocks = ["--memory", "1K", "--test-share", "0.3"] if memory == "in blocks" else ["--folds", "2"]
    options = ["--epochs", "3", "--members", "1", "--hidden", "0", "--no-trees", "--out", run, *blocks]
    status, said = on_a_terminal("train", str(table), "--target", "y", *options)
    assert status == 0, said
    assert "estimate" in said
    assert "Traceback" not in said
    status, said = on_a_terminal("predict", run, str(table), "--out", str(tmp_path / "p.csv"))
    assert status == 0, said
    noted = table.with_name("n.csv")
    pl.read_csv(table).with_columns(note=pl.lit("\x1b]0;title\x07\u202e")).write_csv(noted)
    status, said = on_a_terminal("predict", run, str(noted), "--key", "note")
    assert status == 0, said
    assert said.count(r"\x1b]0;title\x07\u202e") == 200  # on a terminal text shows and does nothing
    assert not any(obeyed in said for obeyed in ("\x1b]0", "\x07", "\u202e"))
