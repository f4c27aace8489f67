"""Whatever a file holds, the command answers with a result or with one message, and never with a traceback.

`make fuzz` does the same with many more files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from answering import answer
from corpus import hostile
from torchbce.explanation.sketch.file import from_bytes, to_bytes

FILES = int(os.environ.get("TORCHBCE_FUZZ", 160))
FIRST = int(os.environ.get("TORCHBCE_FUZZ_FIRST", 0))
PARTS = 8  # of the files, for the processes that share the tests


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(  # each part has every command, four parts every kind of file
    "part", [*range(4), *(pytest.param(part, marks=pytest.mark.combination) for part in range(4, PARTS))]
)
def test_tables_of_all_kinds_get_an_answer(part, command, pictures, trained):
    for seed in range(FIRST + part, FIRST + FILES, PARTS):
        name, content = hostile.file(seed)
        Path(name).write_bytes(content)
        small = ("--epochs", "1", "--hidden", "0", "--members", "1", "--folds", "2")
        which = seed // PARTS % 4
        if which == 0:
            answer(command("train", name, "--target", "y", "--exclude", "p", *small, "--out", f"r{seed}"), name)
        elif which == 1:
            answer(command("explain", name, "--target", "y", "--prob", "p", "--by", "c"), name)
        elif which == 2:
            answer(command("check", name, "--target", "y", "--logit", "p"), name)
        else:
            answer(command("predict", trained, name), name)
        assert not [path for path in Path().iterdir() if path.name.startswith(".")], name  # no draft, no lock


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.combination)])
def test_damaged_sketches_are_refused(part, command):
    Path("t.csv").write_text("p,y\n" + "".join(f"0.{i}1,{i % 2}\n" for i in range(1, 10)))
    assert command("explain", "t.csv", "--prob", "p", "--target", "y", "--save", "whole").exit_code == 0
    whole = Path("whole").read_bytes()
    rng = np.random.default_rng(part)
    for _ in range(FILES // 4):
        content = hostile._damaged(whole, rng)
        if content == whole:
            continue
        with pytest.raises(ValueError, match="sketch"):
            from_bytes(content)
    assert to_bytes(from_bytes(whole))


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.combination)])
def test_damaged_runs_are_refused_with_their_own_status(part, command, trained, mixed, tmp_path):
    import shutil

    rng = np.random.default_rng(part)
    expected = command("predict", trained, mixed).stdout
    for number in range(FILES // 16):
        run = Path(shutil.copytree(trained, tmp_path / f"run{number}"))
        file = run / str(rng.choice(["model.json", "model.safetensors", "predictions.parquet"]))
        whole = file.read_bytes()
        content = hostile._damaged(whole, rng)
        if content == whole:
            continue
        file.write_bytes(content)
        use = ("explain", run) if file.name == "predictions.parquet" else ("predict", run, mixed)
        found = command(*use)
        answer(found, file.name)
        spaces = file.name == "model.json" and found.stdout == expected  # nothing but them was damaged
        assert found.exit_code == 5 or spaces, (file.name, found.output)
