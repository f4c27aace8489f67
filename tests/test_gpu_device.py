"""Which device is current while the GPU kernels run: that of the tensors, and not the one that happens to be."""

from __future__ import annotations

import contextlib

import pytest
import torch

from torchbce import functional
from torchbce.engine import select

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
    x = torch.tensor([0.25, 0.5], requires_grad=True)
    with select.forced("gpu"):
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
