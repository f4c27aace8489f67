"""What the results go to is looked at before the work: files that cannot be written, and streams that are closed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from torchbce.cli.shared import output
from torchbce.cli.shared.exit_codes import reported

POSIX = pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")
PREDICTIONS = "y,p,q\n" + "".join(f"{i % 2},0.{i % 8 + 1},0.{i % 7 + 1}\n" for i in range(60))
OUTPUTS = {
    "explain --save": ["explain", "p.csv", "--target", "y", "--prob", "p", "--save"],
    "explain --html": ["explain", "p.csv", "--target", "y", "--prob", "p", "--html"],
    "compare --save": ["compare", "p.csv", "--target", "y", "--prob", "p", "--prob", "q", "--save"],
    "compare --html": ["compare", "p.csv", "--target", "y", "--prob", "p", "--prob", "q", "--html"],
    "compare --periods": ["compare", "p.csv", "q.csv", "--target", "y", "--prob", "p", "--periods", "--html"],
    "labels --out": ["labels", "p.csv", "--target", "y", "--prob", "p", "--out"],
    "predict --out": ["predict", "run", "p.csv", "--out"],
    "export": ["export", "run"],
    "train --out": ["train", "p.csv", "--target", "y", "--out"],
}


@pytest.fixture
def nothing_is_read(monkeypatch, command):
    """The tables are there, and whoever opens one fails."""
    for name in ("p.csv", "q.csv"):
        Path(name).write_text(PREDICTIONS)
    for module in list(sys.modules.values()):
        for name in ("open_source", "load_model"):
            if getattr(module, "__name__", "").startswith("torchbce.") and hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("it reads first"))
    return command


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("where", ["nowhere/made", "folder", "locked/made", "p.csv/made"])
def test_what_cannot_be_written_is_said_before_anything_is_read(nothing_is_read, monkeypatch, name, where):
    Path("folder").mkdir()
    Path("locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and access(path, mode))
    before = sorted(Path().rglob("*"))
    if name == "train --out" and where == "nowhere/made":
        pytest.skip("train makes the folders above a run folder")
    found = nothing_is_read(*OUTPUTS[name], where)
    assert found.exit_code == 4, found.output
    assert where in found.stderr
    assert "cannot be written" in found.stderr or "exists already" in found.stderr
    assert sorted(Path().rglob("*")) == before


def test_what_can_be_written_is_written(command):
    Path("p.csv").write_text(PREDICTIONS)
    Path("there.sketch").write_text("before")
    Path("link.sketch").symlink_to("elsewhere.sketch")
    for made in ("new.sketch", "there.sketch", "link.sketch", "/dev/null"):
        found = command("explain", "p.csv", "--target", "y", "--prob", "p", "--save", made)
        assert found.exit_code == 0, found.output
    assert Path("elsewhere.sketch").is_file()


def test_without_standard_output_a_command_that_prints_does_not_begin(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as end, reported():
        pytest.fail("it began")
    assert end.value.code == 4
    assert capsys.readouterr().err.startswith("torchbce: standard output is closed")


def test_a_terminal_that_is_gone_is_no_traceback(monkeypatch):
    class Gone(output.Closed):
        pass

    monkeypatch.setattr(sys, "stderr", Gone())
    with pytest.raises(SystemExit) as end, reported(prints=False):
        raise KeyboardInterrupt
    assert end.value.code == 130


CLOSED = """
import os, sys
from torchbce.cli.app import app
for argv in {commands}:
    sys.stdout = None  # as Python begins
    try:
        app(argv)
    except SystemExit as end:
        os.write(2, f"{{argv[0]}} {{end.code}}\\n".encode())
"""


@POSIX
@pytest.mark.slow
@pytest.mark.processes
def test_no_command_ends_in_a_traceback_where_its_streams_are_closed(tmp_path):
    (tmp_path / "p.csv").write_text(PREDICTIONS)
    options = ["p.csv", "--target", "y", "--prob", "p"]
    commands = [["explain", *options], ["compare", *options, "--prob", "q"], ["labels", *options], ["check", *options]]
    commands += [["selftest"], ["bench"], ["build"], ["explain", "-", *options[1:]]]
    train = ["train", "p.csv", "--target", "y", "--no-trees", "--epochs", "1", "--folds", "2", "--out", "run"]
    commands += [train, ["predict", "run", "p.csv"], ["predict", "run", "p.csv", "--out", "out.csv"]]
    script = CLOSED.format(commands=commands)
    run = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, script],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=300,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    ends = [line for line in run.stderr.splitlines() if re.fullmatch(r"\w+ \d+", line)]
    expected = ["explain 4", "compare 4", "labels 4", "check 4", "selftest 4", "bench 4", "build 4", "explain 4"]
    assert ends == [*expected, "train 4", "predict 4", "predict 0"], run.stderr
    assert (tmp_path / "run" / "model.json").is_file()  # the model is saved all the same
    assert "the model is in run" in run.stderr
