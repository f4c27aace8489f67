"""Is anything lost when training is killed? Runs of `torchbce train` that are killed at random, and gone on with.

A table in memory and the same in blocks from a cache, with one process and with two. Each run is started, killed at a
random moment (kill -9; of two processes sometimes one alone), started again with --resume, killed again, until it ends;
then its weights, predictions and history are compared, byte by byte, with those of a run that nobody disturbed, and the
folder must hold nothing but the run. SIGTERM must end a run with its own exit status. Full disks: the folder lies on a
small file system (root may make one; elsewhere files are limited in size), which is filled at a random moment and freed
later.

Processes are forked from one that has loaded torch, so that most of the moments are in training and not in imports.

Run: python benchmarks/crashes.py [KILLS]            (200: half an hour; below 50 nothing is kept)
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import machine
import numpy as np
import polars as pl

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
TERMS, FULL = KILLS // 4, KILLS // 10
COMPARED = ("model.safetensors", "predictions.parquet", "history.csv", "model.json")
MODES = {
    "in memory": ["--test-share", "0.2", "--members", "2", "--hidden", "16", "--epochs", "12", "--batch-size", "32"],
    "in blocks": ["--memory", "1K", "--cache", "cache", "--hidden", "16", "--epochs", "8", "--batch-size", "512"],
}
ROWS = 12_000
PATIENCE = 120.0  # seconds until a process that hangs is killed
PARTNER = 10.0  # until one is whose partner is gone


def write_table(path: Path) -> None:
    """Numbers with gaps and texts; the answer depends on them."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(ROWS, 6))
    level = chance.integers(0, 12, ROWS)
    p = 1 / (1 + np.exp(-(x[:, 0] - x[:, 1] * x[:, 2] + level / 6 - 1)))
    columns = {f"x{i}": np.where(chance.random(ROWS) < 0.05 * (i == 3), np.nan, x[:, i]) for i in range(6)}
    table = pl.DataFrame({**columns, "level": [f"l{k}" for k in level], "y": (chance.random(ROWS) < p).astype(int)})
    table.with_columns(pl.col("x3").fill_nan(None)).write_parquet(path)


@dataclass
class Run:
    """A folder to run in, and the command."""

    folder: Path
    mode: str
    processes: int
    started: int = 0
    alive: list[int] = field(default_factory=list)

    @property
    def arguments(self) -> list[str]:
        return ["train", "t.parquet", "--target", "y", *MODES[self.mode], "--out", "run", "--checkpoint", "0.05s"]

    def start(self) -> None:
        self.started += 1
        port = free_port()
        self.alive = [self._fork(number, port) for number in range(self.processes)]

    def _fork(self, number: int, port: int) -> int:
        child = os.fork()
        if child:
            return child
        try:
            os.chdir(self.folder)
            log = os.open(self.folder / f"log-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if self.processes > 1:
                os.environ |= {
                    "RANK": str(number),
                    "LOCAL_RANK": str(number),
                    "WORLD_SIZE": str(self.processes),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
            from torchbce.cli.app import app

            app([*self.arguments, "--resume"])
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(int(end.code or 0))
        except BaseException as error:  # as Python itself says it
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)

    def wait(self, seconds: float) -> list[int] | None:
        """The exit statuses, if all have ended by then."""
        until, codes = time.monotonic() + seconds, {}
        while len(codes) < len(self.alive) and time.monotonic() < until:
            for child in self.alive:
                if child not in codes:
                    ended, status = os.waitpid(child, os.WNOHANG)
                    if ended:
                        codes[child] = os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        self.alive = [child for child in self.alive if child not in codes]
        return None if self.alive else list(codes.values())

    def signal(self, number: int, *, one: bool = False) -> None:
        for child in random.sample(self.alive, 1) if one else self.alive:
            os.kill(child, number)

    def end(self, seconds: float = PATIENCE) -> list[int]:
        """Wait for the end; what hangs is killed, as torchrun would."""
        codes = self.wait(seconds)
        if codes is None:
            self.signal(signal.SIGKILL)
            codes = self.wait(PATIENCE)
        assert codes is not None
        return codes

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("log-*")))

    def differences(self, expected: dict[str, bytes]) -> list[str]:
        """Files that are not as they should be, and those that should not be there."""
        found = [name for name in COMPARED if (self.folder / "run" / name).read_bytes() != expected[name]]
        allowed = {"t.parquet", "run", "cache", *(f"log-{number}" for number in range(self.processes))}
        return found + [path.name for path in self.folder.iterdir() if path.name not in allowed]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Tally:
    """What came of the runs of one kind."""

    disturbed: int = 0
    runs: int = 0
    same: int = 0
    resumed: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, run: Run, expected: dict[str, bytes]) -> None:
        wrong = run.differences(expected)
        self.runs += 1
        self.same += not wrong
        self.resumed += run.log().count("resumed ")
        if wrong:
            self.problems.append(f"{run.mode}, {run.processes}: {wrong}")


def kill(run: Run, tally: Tally, seconds: float, expected: dict[str, bytes], most: int, number: int) -> None:
    """One run, killed at random up to `most` times."""
    for _ in range(most):
        run.start()
        if run.wait(random.uniform(0, 1.05 * seconds)) is not None:
            break
        run.signal(number, one=number == signal.SIGKILL and run.processes > 1 and random.random() < 0.5)
        tally.disturbed += 1
        codes = run.end(PARTNER)
        if number == signal.SIGTERM and not set(codes) <= {143, -15, 0, 1}:
            tally.problems.append(f"SIGTERM ended with {codes}")
    finish(run, tally, expected)


def finish(run: Run, tally: Tally, expected: dict[str, bytes]) -> None:
    for _ in range(3):
        run.start()
        if not any(codes := run.end()):
            break
    else:
        tally.problems.append(f"{run.mode}, {run.processes}: ended with {codes}: {run.log()[-600:]}")
        return
    tally.add(run, expected)


def fill(run: Run, tally: Tally, seconds: float, expected: dict[str, bytes], disk: Path | None) -> None:
    """One run, whose disk is full for a while."""
    run.start()
    run.wait(random.uniform(0, 0.9 * seconds))
    tally.disturbed += 1
    if disk is not None:
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(65_536))
    else:
        for child in run.alive:
            resource.prlimit(child, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    run.wait(random.uniform(0, seconds))
    if disk is not None:
        (disk / "filler").unlink(missing_ok=True)
    else:
        for child in run.alive:
            resource.prlimit(child, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.end()
    tally.resumed += run.log().count("the run goes on")
    finish(run, tally, expected)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of 16 MiB, if this user may make one."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "torchbce", str(folder)], capture_output=True)
    try:
        yield folder if made.returncode == 0 else None
    finally:
        if made.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def main() -> None:
    import sklearn.ensemble  # noqa: F401 - loaded before processes are forked
    import torch

    import torchbce.cli.train.run  # noqa: F401

    torch.set_num_threads(1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        writer = multiprocessing.get_context("spawn").Process(target=write_table, args=(root / "t.parquet",))
        writer.start()  # elsewhere: polars' threads do not live on in what is forked
        writer.join()
        workers = [os.fork() or in_child(root, mode) for mode in MODES]  # side by side
        for worker in workers:
            os.waitpid(worker, 0)
        found = [json.loads((root / f"{mode}.json").read_text()) for mode in MODES]
    rows = [row for part in found for row in part["rows"]]
    problems = [problem for part in found for problem in part["problems"]]
    head = ["", "disturbed", "runs", "went on from a checkpoint, or without one", "the same bytes"]
    text = "\n".join(
        [
            "# Runs of torchbce train that were killed and gone on with",
            "",
            machine.describe("numpy", "polars"),
            "",
            machine.table(head, rows),
            "",
            "The same bytes: weights, predictions, history and description of the model, and no other file is left.",
            "Problems: " + ("; ".join(problems) if problems else "none."),
        ]
    )
    if KILLS < 50:
        print(text)
    else:
        machine.keep("crashes", text)
    sys.exit(bool(problems))


def in_child(root: Path, mode: str) -> NoReturn:
    """All runs of one kind, in a process of its own."""
    try:
        of_mode(root, mode)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def of_mode(root: Path, mode: str) -> None:
    """All runs of one kind; what came of them is left in a file."""
    random.seed(1)
    rows: list[list[str]] = []
    problems: list[str] = []
    home = root / mode.replace(" ", "-")
    home.mkdir()
    shutil.copy2(root / "t.parquet", home)
    for count in (1, 2):
        expected, seconds = undisturbed(home, mode, count)
        for what, goal in (("kill -9", KILLS), ("SIGTERM", TERMS), ("full disk", FULL)):
            tally = Tally()
            share = -(-goal // (2 * len(MODES)))
            while tally.disturbed < share:
                one(home, mode, count, what, tally, share, seconds, expected)
            cells = [tally.disturbed, tally.runs, tally.resumed, tally.same]
            rows.append([f"{mode}, {count} process{'es' * (count > 1)}: {what}", *map(str, cells)])
            problems += tally.problems
            print(rows[-1], tally.problems, flush=True)
    (root / f"{mode}.json").write_text(json.dumps({"rows": rows, "problems": problems}))


def one(
    home: Path, mode: str, count: int, what: str, tally: Tally, share: int, seconds: float, expected: dict[str, bytes]
) -> None:
    """A run, disturbed, gone on with and compared."""
    folder = home / "one"
    folder.mkdir()
    with small_disk(folder) if what == "full disk" else contextlib.nullcontext() as disk:
        shutil.copy2(home / "t.parquet", folder)
        run = Run(folder, mode, count)
        if what == "full disk":
            fill(run, tally, seconds, expected, disk)
        else:
            number = signal.SIGKILL if what == "kill -9" else signal.SIGTERM
            kill(run, tally, seconds, expected, min(8, share - tally.disturbed), number)
    shutil.rmtree(folder)


def undisturbed(root: Path, mode: str, count: int) -> tuple[dict[str, bytes], float]:
    """What a run comes to that nobody disturbs, and its seconds: of one process, started by the shell's command."""
    folder = root / "whole"
    folder.mkdir()
    shutil.copy2(root / "t.parquet", folder)
    whole = Run(folder, mode, 1)
    subprocess.run([sys.executable, "-m", "torchbce", *whole.arguments], cwd=folder, check=True, capture_output=True)
    expected = {name: (folder / "run" / name).read_bytes() for name in COMPARED}
    shutil.rmtree(folder / "run")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    timed = Run(folder, mode, count)
    start = time.monotonic()
    timed.start()
    codes = timed.end()
    assert not any(codes), f"{codes}: {timed.log()}"
    seconds = time.monotonic() - start
    wrong = timed.differences(expected)
    assert not wrong, wrong
    shutil.rmtree(folder)
    return expected, seconds


if __name__ == "__main__":
    main()
