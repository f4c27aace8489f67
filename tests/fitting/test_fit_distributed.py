"""`fit` under torchrun: every number is that of one process, whoever wraps the module, and a killed run goes on."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ranks
from torchbce import InputError, fit
from torchbce.engine import select

pytestmark = pytest.mark.usefixtures("reference")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0")
SAME = ["plain", "float32", "dataset", "last batch of one", "last dataset batch of one", "fewer rows than processes"]
SAME += ["sum", "none", "partly", "no seed", "schedule and patience", "ddp", "ddp last batch of one", "ddp sum", "fsdp"]
SAME += ["fsdp last batch of one"]
OTHER = ["rows", "other start", "normed", "uneven", "uneven ddp", "sampler", "loader", "list", "weighted mean", "nan"]
OTHER += ["nan ddp", "nan skipped", "nan skipped ddp", "bfloat16"]
KINDS = ["plain", "ddp", "fsdp"]
KILLED = ["killed", "killed ddp", "killed fsdp", "killed, gone on", "killed, gone on fsdp", "asked to stop", "in use"]
GONE_ON = ["gone on", "gone on ddp", "gone on fsdp"]


def torchrun(count: int, tmp_path: Path, folder: Path, *names: str) -> list[dict]:
    """What each process found; `folder` is for checkpoints."""
    program = Path(ranks.__file__)
    argv = [*TORCHRUN, f"--nproc-per-node={count}", str(program), str(tmp_path / "found"), *names]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "FOLDER": str(folder), "PYTHONFAULTHANDLER": "1"}
    run = subprocess.run(argv, capture_output=True, text=True, env=variables, timeout=300)
    assert run.returncode == 0, run.stderr[-6000:]
    return [torch.load(tmp_path / f"found-{rank}") for rank in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of checkpoints, which two processes begin."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def by_two(tmp_path_factory, folder):
    return torchrun(2, tmp_path_factory.mktemp("two"), folder, *SAME, *OTHER, *KILLED)


@pytest.fixture(scope="module")
def by_three(tmp_path_factory, folder, by_two):
    """They go on with what one process has gone on with meanwhile."""
    with pytest.MonkeyPatch.context() as patch, select.forced("reference"):
        patch.setenv("FOLDER", str(folder))
        for name in KINDS:
            ranks.killed_in(5, name)  # from batch 3 of the first epoch to batch 1 of the second
    return torchrun(3, tmp_path_factory.mktemp("three"), folder, *SAME, "rows", *GONE_ON)


def assert_close(one, other, bound):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_close(one[name], other[name], bound)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_close(a, b, bound)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=bound, abs=bound, nan_ok=True)
    else:
        assert one == other


def bound_of(name: str) -> float:
    """Some hundred roundings of sums in another order, which steps of Adam near a gradient of 0 make larger."""
    return 1e-4 if name in ("float32", "bfloat16") else 1e-11


@pytest.mark.processes
@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("count", ["by_two", "by_three"])
def test_processes_train_as_one_does(count, name, request):
    expected = ranks.PROGRAMS[name]()
    for found in request.getfixturevalue(count):
        assert_close(found[name], expected, bound_of(name))


@pytest.mark.processes
@pytest.mark.parametrize("count", ["by_two", "by_three"])
def test_each_epoch_has_every_row_once(count, request):
    seen = [row for found in request.getfixturevalue(count) for row in found["rows"]]
    x, _ = ranks.data()
    assert sorted(seen) == sorted(2 * x[:, 0].tolist())


@pytest.mark.processes
def test_all_begin_with_the_first_ones_weights(by_two):
    expected = ranks.PROGRAMS["other start"]()
    for found in by_two:
        assert_close(found["other start"], expected, 1e-11)


@pytest.mark.processes
def test_running_statistics_are_the_first_ones(by_two):
    one, other = (found["normed"] for found in by_two)
    assert_close(one, other, 0.0)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["uneven", "uneven ddp"])
def test_parts_of_different_lengths_are_trained_to_their_ends(name, by_two):
    expected = ranks.PROGRAMS["uneven"]()  # the same batches, put together
    for found in by_two:
        assert_close(found[name]["weights"], expected["weights"], 1e-11)
        assert_close(found[name]["history"], expected["history"], 1e-11)


@pytest.mark.processes
def test_a_distributed_sampler_is_used_and_its_repeated_rows_are_named(by_two):
    (one, warned), (other, silent) = (found["sampler"] for found in by_two)
    assert any("DistributedSampler repeats 1 row each epoch" in text for text in warned)
    assert not silent
    assert_close(one, other, 0.0)
    x, y = ranks.data()
    best = min(one["history"], key=lambda epoch: epoch[2])
    assert best[1] == pytest.approx(loss_of(one["weights"], x, y), abs=1e-12)  # without repetition
    assert torch.equal(one["state"]["step"][0], torch.tensor(3.0 * 6))


def loss_of(weights, x, y):
    module = ranks.network()
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(weight)
        return nn.functional.binary_cross_entropy_with_logits(module(x), y).item()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("loader", "InputError", "each would train on all batches of this DataLoader: give the tensors or the Dataset"),
        ("list", "InputError", "or sharded=True, if each process's batches are its own part"),
        ("weighted mean", "InputError", "give it with reduction='sum' or reduction='none'"),
        ("nan", "InputError", "row 8 has input nan in column 3"),
        ("nan ddp", "InputError", "row 8 has input nan in column 3"),
    ],
)
def test_what_cannot_be_is_said_by_all(name, error, text, by_two):
    kinds, texts = zip(*(found[name] for found in by_two), strict=True)
    assert kinds == (error, error)
    assert texts[0] == texts[1]
    assert text in texts[0]


@pytest.mark.processes
@pytest.mark.parametrize("name", ["nan skipped", "nan skipped ddp"])
def test_a_batch_is_left_out_by_all(name, by_two):
    expected, _ = ranks.PROGRAMS["nan skipped"]()
    assert expected["skipped"] > 0
    for found in by_two:
        assert_close(found[name][0], expected, 1e-11)


@pytest.mark.processes
def test_autocast_goes_together(by_two):
    one, other = (found["bfloat16"] for found in by_two)
    assert_close(one, other, 0.0)
    assert_close(one["history"], ranks.PROGRAMS["bfloat16"]()["history"], 1e-2)


@pytest.mark.processes
def test_fit_joins_the_processes_and_leaves_them(by_two):
    for found in by_two:
        assert_close(found["joined by fit"], ranks.PROGRAMS["plain"](), 1e-11)


@pytest.mark.processes
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_with_another_number_of_processes(kind, by_three):
    expected = ranks.PROGRAMS["plain"]()
    for found in by_three:
        result = found["gone on" if kind == "plain" else f"gone on {kind}"]
        assert_close(result, {**expected, "resumed": (2, 1)}, 1e-11)


@pytest.mark.processes
@pytest.mark.parametrize(("name", "whole"), [("killed, gone on", "plain"), ("killed, gone on fsdp", "fsdp")])
def test_processes_go_on_with_the_same_bits(name, whole, by_two):
    for found in by_two:
        assert_close(found[name], {**found[whole], "resumed": (1, 3)}, 0.0)


@pytest.mark.processes
def test_a_signal_to_one_stops_all(by_two):
    assert [found["asked to stop"] for found in by_two] == [143, 143]


@pytest.mark.processes
def test_two_runs_in_one_folder_are_refused_by_all(by_two):
    for found in by_two:
        kind, text = found["in use"]
        assert kind == "InputError"
        assert "another run writes its checkpoints to" in text


ELASTIC = """
import os, signal, sys, torch
from torchbce import fit
folder, where = sys.argv[1:]
rank = int(os.environ["RANK"])
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
x = torch.randn(53, 4, generator=torch.Generator().manual_seed(0)).double()
y = (x[:, :1] > 0).double()
def die(done, steps):
    if rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and die.epoch == 2 and done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    die.epoch += done == steps
die.epoch = 1
history = fit(net, (x, y), epochs=3, batch_size=10, seed=1, on_step=die, checkpoint=folder, checkpoint_every=0.0)
if rank == 0:
    torch.save([net.state_dict(), [e.running for e in history], history.resumed_at], where)
"""


@pytest.mark.processes
def test_a_killed_process_is_started_again_and_the_run_goes_on(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(ELASTIC)
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    argv = [*TORCHRUN, "--max-restarts=2", "--nproc-per-node=2", str(program), str(tmp_path / "kept")]
    run = subprocess.run([*argv, str(tmp_path / "end")], capture_output=True, text=True, env=variables, timeout=300)
    assert run.returncode == 0, run.stderr[-6000:]
    assert run.stdout.count("epoch   3") == 1  # the first process prints for all
    weights, losses, resumed = torch.load(tmp_path / "end")
    assert resumed == (2, 2), run.stderr[-6000:]
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.randn(53, 4, generator=torch.Generator().manual_seed(0)).double()
    history = fit(module, (x, (x[:, :1] > 0).double()), epochs=3, batch_size=10, seed=1, on_epoch=None)
    assert_close([weights, losses], [module.state_dict(), [e.running for e in history]], 1e-11)


def test_one_process_joins_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    history = fit(nn.Linear(4, 1).double(), ranks.data(), epochs=1, on_epoch=None)
    assert math.isfinite(history[0].running)
    assert not torch.distributed.is_initialized()


def test_a_mean_over_weights_is_refused_only_where_it_must_be():
    from torchbce.fitting.backward import require_mean_over_items

    for loss_func in (nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(weight=torch.ones(1)), nn.MSELoss(), len):
        require_mean_over_items(loss_func)
    require_mean_over_items(nn.CrossEntropyLoss(weight=torch.ones(2), reduction="sum"))
    with pytest.raises(InputError, match="reduction='sum'"):
        require_mean_over_items(nn.CrossEntropyLoss(weight=torch.ones(2)))


LATE = """
import sys, time
from torchbce.common.processes import from_first, is_first, joined
with joined():
    if not is_first():
        time.sleep(1.0)
    assert from_first(lambda: "x" * 100_000)[:2] == "xx"
print("ended")
"""


@pytest.mark.processes
def test_the_first_process_waits_for_those_that_still_read(tmp_path):
    (tmp_path / "program.py").write_text(LATE)
    argv = [*TORCHRUN, "--nproc-per-node=2", str(tmp_path / "program.py")]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-6000:]
    assert run.stdout.count("ended") == 2
