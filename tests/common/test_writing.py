"""Files appear whole or not at all, beside links, devices and other people's permissions."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import forked
from torchbce.common.writing import whole_file

POSIX = pytest.mark.skipif(os.name != "posix", reason="links and devices of POSIX")


def write(path: Path, content: bytes = b"new") -> None:
    with whole_file(path) as file:
        file.write(content)


def test_after_an_error_nothing_has_changed(tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "f") as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"old")]


@POSIX
def test_the_umask_and_the_permissions_of_what_is_there_are_kept(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "mine").write_bytes(b"")
    (tmp_path / "mine").chmod(0o600)
    write(tmp_path / "mine")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o600


@POSIX
def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"new"
    assert len(list((tmp_path / "there").iterdir())) == 1


@POSIX
def test_a_device_and_a_pipe_are_written_and_stay(tmp_path):
    write(Path(os.devnull))
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE)
    write(tmp_path / "pipe")
    assert reader.communicate(timeout=60)[0] == b"new"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_the_draft_has_a_name_that_nobody_foresees(tmp_path):
    names = []
    for _ in range(2):
        with whole_file(tmp_path / "f"):
            names += [path.name for path in tmp_path.iterdir() if path.name != "f"]
    assert len(set(names)) == 2


# The command


@POSIX
@pytest.mark.parametrize("out", ["a pipe", "/dev/full"])
def test_a_model_is_saved_though_nobody_reads_what_is_printed(out, tmp_path, mixed):
    if out.startswith("/") and not Path(out).exists():
        pytest.skip(f"there is no {out}")
    options = ("--target", "bought", "--test-share", 0.2, "--epochs", 1, "--no-trees", "--members", 1)
    with open(out, "w") if out.startswith("/") else contextlib.nullcontext(subprocess.PIPE) as stdout:
        process = forked.start(forked.COMMAND, "train", mixed, *options, folder=tmp_path, stdout=stdout)
    if process.stdout is not None:
        process.stdout.close()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (141 if out == "a pipe" else 4), errors
    assert "the model is in runs/shop" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "runs" / "shop" / "model.json").is_file()


@POSIX
def test_sigterm_ends_it_with_a_status_of_its_own(tmp_path, mixed):
    options = ("--target", "bought", "--test-share", 0.2, "--no-trees", "--epochs", 5000, "--patience", 5000)
    process = forked.start(forked.COMMAND, "train", mixed, *options, folder=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch   2"):
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.strip() == (
        "torchbce: terminated; runs/shop.unfinished has what is done; the same command goes on with it"
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["shop.unfinished"]


@POSIX
def test_what_cannot_be_written_is_saved_elsewhere(tmp_path, mixed, monkeypatch, command):
    from torchbce.table.run.reservation import RunFolderLock

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolderLock, "finish", full)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = command("train", mixed, "--target", "bought", "--epochs", 1, "--no-trees")
    assert found.exit_code == 4
    place = Path(found.stderr.split("the finished model is in ")[1].strip())
    assert (place / "model.safetensors").is_file()


def test_predictions_never_replace_their_table_nor_in_silence_anything_else(command, trained, mixed, tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes(Path(mixed).read_bytes())
    assert command("predict", trained, table, "--out", table, "--overwrite").exit_code == 2
    assert table.read_bytes() == Path(mixed).read_bytes()
    (tmp_path / "p.csv").write_text("mine")
    refused = command("predict", trained, table, "--out", "p.csv")
    assert (refused.exit_code, "--overwrite" in refused.stderr) == (4, True)
    assert (tmp_path / "p.csv").read_text() == "mine"
    assert command("predict", trained, table, "--out", "p.csv", "--overwrite").exit_code == 0
    for flag in ("--save", "--html"):
        assert command("explain", "p.csv", "--logit", "logit", flag, "p.csv").exit_code == 2


@POSIX
def test_ascii_terminals_and_escape_sequences(tmp_path):
    rows = "".join(f"{i % 7},{i % 2}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("\x1b[31mübel,y\n" + rows)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "torchbce", "train", "t.csv", "--target", "y", "--exclude", "\x1b[31mübel"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert run.returncode == 3
    assert b"\x1b" not in run.stdout + run.stderr
    assert b"\\x1b[31m" in run.stderr
