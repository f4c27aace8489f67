"""How many processes there are is one rule: what a batch system sets for its own ends speaks of nobody."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from torchbce import EpochBCE, InputError, fit
from torchbce.common import processes

MEETING = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.fixture(
    params=[{"WORLD_SIZE": "4"}, {"WORLD_SIZE": "many"}, {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}]
)
def batch_system(request, monkeypatch):
    for name in MEETING:
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


def test_a_batch_systems_variables_alone_are_no_processes(batch_system):
    assert processes.rank_and_size() == (0, 1)
    assert processes.local_rank() == 0
    with processes.joined():
        assert not torch.distributed.is_initialized()
    assert math.isfinite(
        fit(nn.Linear(2, 1), (torch.ones(4, 2), torch.tensor([[0.0], [1.0]] * 2)), epochs=1, on_epoch=None)[0].running
    )
    meter = EpochBCE()
    meter.update(torch.tensor(0.5), torch.ones(3))
    assert meter.gathered().count == 3


def test_commands_work_under_a_batch_system(batch_system, mixed, trained, command):
    options = ("--target", "bought", "--epochs", 1, "--no-trees", "--test-share", 0.2, "--members", 1)
    assert command("train", mixed, *options, "--out", "run").exit_code == 0
    assert command("explain", trained).exit_code == 0


@pytest.mark.parametrize("wrong", [{"RANK": "3"}, {"RANK": "-1"}, {"WORLD_SIZE": "x"}])
def test_variables_that_name_no_process_are_named(monkeypatch, wrong):
    for name, value in {**MEETING, **wrong}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="RANK is .* and WORLD_SIZE is .*unset them to work alone"):
        processes.rank_and_size()


def test_all_of_torchruns_variables_are_believed(monkeypatch):
    for name, value in MEETING.items():
        monkeypatch.setenv(name, value)
    assert processes.rank_and_size() == (1, 3)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert processes.local_rank() == 1
