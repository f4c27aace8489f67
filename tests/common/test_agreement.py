"""Processes that train together see the same: what differs is said by all of them before the first epoch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

import differing
from torchbce import InputError
from torchbce.common.processes import collective
from torchbce.common.processes.collective import _difference


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """What each of two processes has to say."""
    folder = tmp_path_factory.mktemp("agreement")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    variables["MASTER_PORT"] = str(port)
    argv = [sys.executable, differing.__file__, str(folder / "found")]
    runs = [
        subprocess.Popen(
            argv, cwd=folder, env={**variables, "RANK": str(rank)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)[-6000:]
    return [json.loads((folder / f"found-{rank}").read_text()) for rank in range(2)]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("columns", ["the content of the table is ", " in process 0 and ", " in process 1"]),
        ("value", ["the content of the table is "]),
        ("names", ["the list of columns is x0 Float64, x1 Float64, x2 Float64 in process 0 and x0"]),
        ("target", ["--positive is None in process 0 and 0 in process 1"]),
        ("seed", ["--seed is 8 in process 0 and 7 in process 1"]),
        ("versions", ["the version of numba is ", " in process 0 and 0.1 in process 1"]),
        ("columns in blocks", ["the content of the table is "]),
    ],
)
def test_runs_of_different_things_end_in_all_processes(found, name, words):
    for code, said in (one[name] for one in found):
        assert code == 3, said
        assert "the 2 processes do not train on the same: " in said
        assert "start all with the same command, table and versions" in said
        assert all(word in said for word in words), said
        assert "Traceback" not in said


@pytest.mark.processes
def test_what_one_process_cannot_read_is_said_by_all(found):
    (first, said_first), (second, said_second) = (one["missing"] for one in found)
    assert (first, second) == (3, 3)
    assert "process 1: missing-1.csv: no such file" in said_first
    assert "missing-1.csv: no such file" in said_second


@pytest.mark.processes
def test_runs_of_the_same_are_trained(found):
    assert all(one[name][0] == 0 for one in found for name in ("the same", "the same in blocks"))


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("fit's data", "data's content is "),
        ("fit's rate", "the optimizer's lr is 0.1 in process 0 and 0.2 in process 1"),
        ("fit's epochs", "patience is 1 in process 0 and 2 in process 1"),
        ("classifier", "the content of the encoded rows is "),
    ],
)
def test_calls_with_different_things_end_in_all_processes(found, name, word):
    for one in found:
        assert word in one[name]


@pytest.mark.processes
def test_calls_with_the_same_are_trained_and_parts_that_are_each_ones_own(found):
    assert all(one[name] == "" for one in found for name in ("fit", "fit's own parts"))


def test_what_differs_is_refused(monkeypatch):
    """As two processes would see it, without starting them."""
    others: dict[str, str] = {"--seed": "1", "the target": "y"}
    monkeypatch.setattr(collective, "world_size", lambda: 2)
    monkeypatch.setattr(collective, "all_gather", lambda own: [own, others])
    collective.require_same({"--seed": 1, "the target": "y"})
    with pytest.raises(InputError, match="--seed is 2 in process 0 and 1 in process 1; the target is z in process 0"):
        collective.require_same({"--seed": 2, "the target": "z"})


def test_a_difference_names_the_processes_and_shows_where_it_is():
    assert _difference("--seed", ["1", "2", "1"]) == "--seed is 1 in processes 0, 2 and 2 in process 1"
    one, other = "a" * 100 + "bc", "a" * 100 + "cb" + "d" * 100
    assert _difference("it", [one, other]) == (
        f"it is ...{'a' * 30}bc in process 0 and ...{'a' * 30}cb{'d' * 28}... in process 1"
    )
