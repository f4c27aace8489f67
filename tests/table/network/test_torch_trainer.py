"""Tables trained by torch: the same steps as compiled code, to rounding; on devices."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from table_networks import SHAPES, twins
from torch_machines import (
    NONE,
    ORDER,
    a_hundred_steps_are_those_of_compiled_code,
    by_torch,
    calls_may_be_cut_and_resumed_anywhere,
    gradients_are_those_of_autograd_and_compiled_code,
    outputs_are_those_of_the_network,
    rows_of,
    trained,
    weights,
)
from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.common.errors import InputError
from torchbce.perceptron.trainer import CompiledTrainer, Optimizer
from torchbce.table.ensemble.config import UserOptions, default_config
from torchbce.table.network.compiled import compiled, encoded
from torchbce.table.network.device_rows import DeviceRows
from torchbce.table.network.devices import device_named
from torchbce.table.network.dropout import dropout, dropout_keys
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.network.torch_forward import TorchForward
from torchbce.table.network.torch_trainer import TorchTrainer
from torchbce.table.network.trainers import MICRO_BATCH, TrainerFactory


@pytest.fixture(autouse=True)
def one_thread():
    """As in a run: these batches are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("changes", SHAPES)
def test_gradients_are_those_of_autograd_and_compiled_code(changes, weighted):
    gradients_are_those_of_autograd_and_compiled_code(changes, weighted, "cpu")


@pytest.mark.parametrize("changes", SHAPES)
def test_outputs_are_those_of_the_network(changes):
    outputs_are_those_of_the_network(changes, "cpu")


@pytest.mark.parametrize(("changes", "name"), [*((changes, "adamw") for changes in SHAPES), ({"heads": 2}, "sgd")])
def test_a_hundred_steps_are_those_of_compiled_code(changes, name):
    a_hundred_steps_are_those_of_compiled_code(changes, name, name == "sgd", "cpu")


def test_calls_may_be_cut_and_resumed_anywhere():
    calls_may_be_cut_and_resumed_anywhere("cpu")


def test_without_columns_of_one_kind_it_learns_all_the_same():
    for pieces, levels in (([0, 0], []), ([3], []), ([], [4])):
        found = []
        for make in (compiled, by_torch):
            net = TableNetwork(NetworkSpec(pieces=pieces, levels=levels, hidden=[5]))
            torch.manual_seed(1)
            for parameter in net.parameters():
                torch.nn.init.normal_(parameter)
            net.set_bin_edges([np.array([0.0, 0.2, 0.5, 1.0], np.float32)] * len(net.spec.binned))
            rows = np.random.default_rng(0).random((300, len(pieces) + len(levels))).astype(np.float32)
            rows[:, len(pieces) :] = np.floor(4 * rows[:, len(pieces) :])
            machine = make(net, Optimizer("none"), batch=300, seed=0)
            machine.train(encoded(rows, net, np.float32(rows[:, 0] > 0.5)), ORDER, NONE)
            found.append(machine.gradient.numpy())
        assert found[1] == pytest.approx(found[0], abs=float(1e-5 * np.abs(found[0]).max()))


@pytest.mark.parametrize("weighted", [False, True])
def test_lanes_are_those_of_compiled_code(weighted):
    found = []
    for make in (compiled, by_torch):
        net, _, rows, target = twins({"dropout": 0.3})
        machine = make(net, Optimizer("adamw"), batch=64, seed=3)
        losses = machine.accumulate_gradient(
            encoded(rows, net, target, weights(weighted)), ORDER, batch_rows=900, dropout_counter=11
        )
        assert losses.dtype == torch.float64
        gradient = machine.gradient.clone()
        machine.apply(1e-2)
        assert machine.steps == 1
        found.append((losses.numpy(), gradient.numpy(), machine.parameters.numpy()))
    assert len(found[0][0]) == 5
    for one, other in zip(*found, strict=True):
        assert other == pytest.approx(one, abs=float(1e-5 * np.abs(one).max()))


def test_batches_that_are_not_finite_are_left_out_as_in_compiled_code():
    found = []
    for make in (compiled, by_torch):
        net, _, rows, target = twins({})
        target[ORDER[70]] = np.inf
        ready = encoded(rows, net, target, weights(True))
        machine = make(net, Optimizer("adamw", 0.1), batch=64, seed=0, skip=True)
        total = machine.train(ready, ORDER, torch.full((5,), 1e-2, dtype=torch.float64), 1.0)
        found.append((total, machine.skipped, machine.skipped_weight, machine.steps))
        assert machine.parameters.isfinite().all()
        before = [part.clone() for part in (machine.parameters, *machine.moments)]
        assert machine.train(ready, ORDER[64:128], NONE + 1e-2) == 0.0
        after = machine.parameters, *machine.moments
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        assert machine.skipped == 2
    assert found[0][1:] == pytest.approx(found[1][1:], rel=1e-6)
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][1] == 1


def test_a_loss_that_is_not_finite_is_told():
    net, _, rows, target = twins({})
    target[0] = np.inf
    machine = by_torch(net, Optimizer("sgd"), batch=300)
    assert not np.isfinite(machine.train(encoded(rows, net, target), ORDER, NONE))
    assert machine.skipped == 0


def test_random_states_are_left_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained([2, 3])
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)
    net, _, rows, target = twins({"dropout": 0.5})
    torch.manual_seed(5)
    machine = by_torch(net, Optimizer("adamw"), batch=100)
    machine.train(encoded(rows, net, target), ORDER, torch.full((3,), 1e-2, dtype=torch.float64))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_drops_its_share_and_keeps_the_mean():
    values = torch.ones(400, 500)
    keys = dropout_keys(7, 3, 2, 2).flatten()
    found = [dropout(values, 0.2, key) for key in keys]
    for one in found:
        assert set(one.unique().tolist()) == {0.0, 1.25}
        assert abs((one == 0).float().mean().item() - 0.2) < 5 * (0.2 * 0.8 / values.numel()) ** 0.5
    both = ((found[0] == 0) & (found[1] == 0)).float().mean().item()
    assert abs(both - 0.04) < 5 * (0.04 * 0.96 / values.numel()) ** 0.5
    assert len(set(keys.tolist())) == 4
    assert torch.equal(dropout_keys(7, 4, 1, 2), dropout_keys(7, 3, 2, 2)[1:])


class Reads(TorchDispatchMode):
    """Counts what a GPU would have to be waited for."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.count += name in ("_local_scalar_dense", "nonzero", "item")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("skip", [False, True])
def test_nothing_is_read_from_the_device_between_steps(skip):
    net, _, rows, target = twins({"dropout": 0.3})
    machine = by_torch(net, Optimizer("adamw", 0.1), batch=50, skip=skip)
    counts = []
    for steps in (1, 6):
        with Reads() as reads:
            machine.train(encoded(rows, net, target), ORDER[: 50 * steps], torch.full((steps,), 1e-2).double())
        counts.append(reads.count)
    assert counts[0] == counts[1]


def test_rows_are_moved_once():
    place, rows = DeviceRows(torch.device("cpu")), rows_of()
    there = place.of(rows)
    assert place.of(rows) is there
    assert there.bins.dtype == torch.int16
    other = place.of(rows_of(100))
    assert len(other) == 100
    assert place.of(rows) is not other


@pytest.mark.parametrize("changes", SHAPES)
def test_shapes_without_memory(changes):
    net, _, rows, target = twins(changes)
    ready = encoded(rows, net, target)
    forward = TorchForward(net.to("meta"))
    there = DeviceRows(torch.device("meta")).of(ready)
    logits = forward(there, dropout_keys(0, 0, 1, len(net.layers))[0].to("meta"))
    assert logits.shape == forward.outputs(there).shape == (300, net.spec.heads)
    assert logits.is_meta


@pytest.fixture
def forced(monkeypatch):
    """torch trains on the CPU too."""
    monkeypatch.setattr(TrainerFactory, "uses_torch", True)


def test_threads_of_a_run_have_no_threads_of_their_own(monkeypatch):
    torch.set_num_threads(2)
    seen: list[int] = []
    monkeypatch.setattr(TrainerFactory, "uses_torch", True)
    with TrainerFactory().single_threaded():
        worker = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        worker.start()
        worker.join()
    assert seen == [1]
    assert torch.get_num_threads() == 2
    monkeypatch.undo()
    with TrainerFactory().single_threaded():
        assert torch.get_num_threads() == 2


def test_compiled_code_trains_on_the_cpu():
    optimizer, factory = Optimizer("adamw"), TrainerFactory()
    trainer = factory.trainer(twins({})[0], optimizer, batch=64, seed=0, skip=True)
    shared = factory.shared_trainers(twins({})[0], optimizer, 3, seed=0)
    assert [type(own) for own in (trainer, *shared)] == [CompiledTrainer] * 4
    assert len({own.parameters.data_ptr() for own in shared}) == 1
    assert factory.micro_batch_rows == MICRO_BATCH


def test_torch_trains_with_one_thread(forced):
    optimizer, factory = Optimizer("adamw"), TrainerFactory()
    trainer = factory.trainer(twins({})[0], optimizer, batch=64, seed=0, skip=True)
    shared = factory.shared_trainers(twins({})[0], optimizer, 3, seed=0)
    assert [type(own) for own in (trainer, *shared)] == [TorchTrainer] * 2


def test_devices_are_named_where_they_are_there(monkeypatch):
    assert device_named("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:0", "cuda:12"):
        with pytest.raises(InputError, match="no CUDA device is to be seen here .*; the device that there is is cpu"):
            device_named(name)
    for name in ("gpu", "cuda:", "cuda:-1", "CUDA", "mps", "meta", ""):
        with pytest.raises(InputError, match=f"the device is '{name}'; it is cpu, cuda, or cuda:1"):
            device_named(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device_named(name)) for name in ("cuda", "cuda:1")] == ["cuda:0", "cuda:1"]
    with pytest.raises(InputError, match="no cuda:2; the devices that there are are cpu, cuda:0, cuda:1$"):
        device_named("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(device_named("cuda")) == "cuda:0"  # alone: a batch system has set it
    for name, value in {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert [str(device_named(name)) for name in ("cuda", "cuda:0")] == ["cuda:1", "cuda:0"]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="torchrun --nproc-per-node"):
        device_named("cuda")


def test_where_it_is_trained_does_not_change_what_is_trained():
    how = {"device": "cuda"}
    for rows in (50, 500, 200_000):
        plain, other = default_config(rows, UserOptions()), default_config(rows, UserOptions(**how))
        assert {**plain.__dict__, **how} == other.__dict__


class Killed(BaseException):
    """As kill -9: nothing in the program expects it."""


FILES = ["MODEL_CARD.md", "history.csv", "model.json", "model.safetensors", "predictions.parquet"]


@pytest.mark.parametrize("memory", ["1G", "1K"], ids=["in memory", "in blocks"])
def test_a_run_by_torch_that_is_killed_ends_with_the_same_bytes(mixed_table, memory, forced, monkeypatch, command):
    mixed_table.head(400).write_csv("shop.csv")
    options = ["train", "shop.csv", "--target", "bought", "--test-share", 0.2, "--no-trees", "--epochs", 3]
    options += ["--members", 2, "--hidden", 4, "--batch-size", 64, "--memory", memory]
    whole = command(*options, "--out", "whole")
    assert whole.exit_code == 0, whole.output
    monkeypatch.setattr(Checkpointer, "is_due", property(lambda checkpointer: checkpointer.enabled))
    original, left, kills = Checkpointer.save, 0, 0

    def save(self, state):
        nonlocal left
        original(self, state)
        left -= 1
        if left == 0:
            raise Killed

    monkeypatch.setattr(Checkpointer, "save", save)
    for saves in (1, 1, 10**9):
        left = saves
        try:
            found = command(*options, "--out", "run")
        except Killed:
            kills += 1
    assert kills == 2
    assert found.exit_code == 0, found.output
    assert "resumed" in found.stdout
    for name in FILES:
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes(), name


def test_a_device_that_is_not_there_is_told_before_the_table_is_read(tmp_path, monkeypatch, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(pl, "read_csv", lambda *_, **__: pytest.fail("it was read"))
    Path("t.csv").write_text("x,y\n1,0\n2,1\n")
    found = command("train", "t.csv", "--target", "y", "--device", "cuda")
    assert found.exit_code == 3
    assert "no CUDA device is to be seen here" in found.stderr
