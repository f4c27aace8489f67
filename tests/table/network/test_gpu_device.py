"""On a GPU: which device is current while the kernels run, that of the tensors; and the training of tables there."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch

import torch_machines
from table_networks import SHAPES, twins
from torchbce import functional
from torchbce.engine import select
from torchbce.perceptron.trainer import Optimizer
from torchbce.table.network.compiled import encoded
from torchbce.table.network.trainers import TrainerFactory

pytest.importorskip("triton")
from torchbce.engine.triton_gpu import launch, passes

KERNELS = ("item_pass", "add_up", "multiply")


class Watched:
    """A kernel that may be launched only while a device has been made current."""

    def __init__(self, kernel, current, launches):
        self.kernel, self.current, self.launches = kernel, current, launches

    def __getitem__(self, grid):
        assert self.current, "launched on whatever device is current"
        self.launches.append(self.current[-1])
        return self.kernel[grid]


@pytest.fixture
def launches(monkeypatch):
    current, seen = [], []

    @contextlib.contextmanager
    def asked_for(device):
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(launch, "current", asked_for)
    for name in KERNELS:
        monkeypatch.setattr(passes, name, Watched(getattr(passes, name), current, seen))
    return seen


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_launch_asks_for_the_device_of_its_tensors(launches, reduction):
    device = "cuda" if torch.cuda.is_available() else "cpu"  # there Triton's interpreter
    with torch.device(device), select.forced("gpu"):
        x = torch.tensor([0.25, 0.5], requires_grad=True)
        loss = functional.binary_cross_entropy(x, torch.ones(2), reduction=reduction, normalize="numel")
        (3.0 * loss.sum()).backward()
        functional.binary_cross_entropy_with_logits(
            x, torch.ones(2), mask=torch.tensor([True, False]), reduction="mean", normalize="valid"
        )
    assert len(launches) >= 4
    assert set(launches) == {x.device}


def test_a_cuda_device_is_made_current_with_its_own_stream(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "device", lambda device: asked.append(device) or contextlib.nullcontext())
    with launch.current(torch.device("cuda:1")), launch.current(torch.device("cpu")):
        pass
    assert asked == [torch.device("cuda:1")]


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@CUDA
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("changes", SHAPES)
def test_gradients_on_a_gpu_are_those_of_autograd_and_compiled_code(changes, weighted):
    torch_machines.gradients_are_those_of_autograd_and_compiled_code(changes, weighted, "cuda")
    torch_machines.outputs_are_those_of_the_network(changes, "cuda")


@CUDA
@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("changes", SHAPES)
def test_a_hundred_steps_on_a_gpu_are_those_of_compiled_code(changes, name):
    torch_machines.a_hundred_steps_are_those_of_compiled_code(changes, name, name == "sgd", "cuda")


@CUDA
def test_calls_on_a_gpu_may_be_cut_and_resumed_anywhere():
    torch_machines.calls_may_be_cut_and_resumed_anywhere("cuda")


@CUDA
def test_random_states_of_a_gpu_are_left_as_they_were():
    torch.manual_seed(0)  # as the data is made with, so that this changes nothing
    before = torch.cuda.get_rng_state()
    torch_machines.trained([2, 3], "cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)


@CUDA
def test_a_gpu_is_waited_for_as_often_for_many_steps_as_for_one():
    net, _, rows, target = twins({"dropout": 0.3})
    machine = torch_machines.by_torch(net, Optimizer("adamw", 0.1), device="cuda", batch=50)
    ready, counts = encoded(rows, twins({})[0], target), []
    for steps in (1, 1, 6):  # the first moves the rows
        with warnings.catch_warnings(record=True) as waits:  # setting the mode warns too, once
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                machine.train(ready, torch_machines.ORDER[: 50 * steps], torch.full((steps,), 1e-2).double())
            finally:
                torch.cuda.set_sync_debug_mode("default")
        counts.append(len(waits))
    assert counts[1] == counts[2]


@CUDA
def test_a_crew_on_a_gpu_gives_the_same_bits_again(monkeypatch):
    one, other = (torch_machines.stepped(TrainerFactory("cuda"), count, monkeypatch) for count in (1, 2))
    assert one[0] == other[0]
    assert torch.equal(one[1], other[1])
    assert one[2].shape == (2700, 2)
