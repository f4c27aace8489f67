"""What `TorchTrainer` owes to compiled code and to autograd, on any device; for two files of tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from table_networks import ROUNDINGS, mean_loss, twins
from torchbce.perceptron.flat_parameters import flattened
from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import Optimizer
from torchbce.table.network.compiled import compiled, encoded
from torchbce.table.network.data_parallel import DataParallelStep
from torchbce.table.network.device_rows import DeviceRows
from torchbce.table.network.torch_forward import TorchForward
from torchbce.table.network.torch_trainer import TorchTrainer

ORDER = torch.from_numpy(np.random.default_rng(0).permutation(300).astype(np.int32))
NONE = torch.zeros(1, dtype=torch.float64)


def by_torch(network, optimizer, *, device="cpu", **options) -> TorchTrainer:
    """Also where `TrainerFactory` would take compiled code."""
    device = torch.device(device)
    parameters = flattened(network.to(device))
    forward = TorchForward(network)
    return TorchTrainer(forward, parameters, optimizer, rows=DeviceRows(device), **options)


def weights(weighted: bool) -> np.ndarray | None:
    return np.random.default_rng(2).random(300).astype(np.float32) if weighted else None


def gradients_are_those_of_autograd_and_compiled_code(changes, weighted, device):
    net, exact, rows, target = twins(changes)
    weight, other = weights(weighted), twins(changes)[0]
    ready = encoded(rows, net, target, weight)
    machine = by_torch(net, Optimizer("none"), device=device, batch=300)
    total = machine.train(ready, ORDER, NONE)
    twin = compiled(other, Optimizer("none"), batch=300, seed=0)
    assert total == pytest.approx(twin.train(ready, ORDER, NONE), rel=1e-6)
    wide = None if weight is None else torch.from_numpy(weight).double()
    loss = mean_loss(exact(torch.from_numpy(rows).double()), torch.from_numpy(target).double(), wide)
    loss.backward()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in exact.parameters()])
    bound = ROUNDINGS * expected.abs().max().item()
    assert total / 300 == pytest.approx(loss.item(), rel=1e-5)
    assert machine.gradient.cpu().numpy() == pytest.approx(expected.numpy(), abs=bound)
    assert machine.gradient.cpu().numpy() == pytest.approx(twin.gradient.numpy(), abs=bound)


def outputs_are_those_of_the_network(changes, device):
    net, exact, rows, target = twins(changes | {"dropout": 0.5})
    ready = encoded(rows, net, target)
    machine = by_torch(net, Optimizer("none"), device=device, batch=64)
    found = machine.outputs(ready)
    with torch.no_grad():
        expected = exact(torch.from_numpy(rows).double())
    assert found.device.type == "cpu"
    assert found.dtype == torch.float32
    size = expected.abs().max().item() + 10
    assert found.double().numpy() == pytest.approx(expected.numpy(), abs=ROUNDINGS * size)
    assert torch.equal(machine.outputs(ready, ORDER[:64]), machine.outputs(ready, ORDER)[:64])


def a_hundred_steps_are_those_of_compiled_code(changes, name, weighted, device):
    """With dropout: both draw the same."""
    found = []
    for make in (compiled, by_torch):
        net, _, rows, target = twins(changes | {"dropout": 0.3})
        ready = encoded(rows, net, target, weights(weighted))
        options = {} if make is compiled else {"device": device}
        decay = 0.1 if name == "adamw" else 0.0
        machine = make(net, Optimizer(name, decay), batch=64, seed=(1 << 31) + 5, **options)
        totals = []
        for epoch in range(20):
            order = torch.from_numpy(np.random.default_rng(epoch).permutation(300).astype(np.int32))
            totals.append(machine.train(ready, order, torch.linspace(1e-3, 1e-2, 5, dtype=torch.float64)))
        assert machine.steps == 100
        found.append((totals, machine.outputs(ready)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    assert found[1][1].numpy() == pytest.approx(found[0][1].numpy(), abs=2e-3)  # a few tens of roundings each step


def trained(calls, device="cpu", *, resumed=False) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Parameters, moments and total after five steps, in calls of so many; each by a new machine if resumed."""
    rates, state, total, done = torch.full((5,), 1e-2, dtype=torch.float64), None, 0.0, 0
    machine = None
    for count in calls:
        if machine is None or resumed:
            net, _, rows, target = twins({"dropout": 0.3, "heads": 2})
            ready = encoded(rows, net, target, weights(True))
            machine = by_torch(net, Optimizer("adamw", 0.1), device=device, batch=64, seed=3)
            if state is not None:
                for part, before in zip((machine.parameters, *machine.moments), state[0], strict=True):
                    part.copy_(before)
                machine.steps = state[1]
        total = machine.train(ready, ORDER[64 * done : 64 * (done + count)], rates[done : done + count], total)
        done += count
        state = [part.cpu().clone() for part in (machine.parameters, *machine.moments)], machine.steps
    return torch.cat(state[0][:1]), torch.cat(state[0][1:]), total


def calls_may_be_cut_and_resumed_anywhere(device):
    whole = trained([5], device)
    for calls, resumed in (([2, 3], False), ([1] * 5, False), ([1, 3, 1], True), ([4, 1], True)):
        found = trained(calls, device, resumed=resumed)
        assert torch.equal(found[0], whole[0])
        assert torch.equal(found[1], whole[1])
        assert found[2] == whole[2]


def stepped(machines, threads: int, monkeypatch) -> tuple[list[float], torch.Tensor, np.ndarray]:
    """Losses, parameters and outputs after some data-parallel steps."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    net, _, rows, target = twins({"dropout": 0.3, "heads": 2})
    ready = encoded(np.tile(rows, (9, 1)), net, np.tile(target, 9))
    pool = ThreadPoolExecutor(5)
    parallel = DataParallelStep.of(net, Optimizer("adamw", 0.1), pool, 1, machines)
    monkeypatch.undo()
    with machines.single_threaded(), pool:
        losses = []
        for step in range(3):
            order = torch.from_numpy(np.random.default_rng(step).permutation(2700).astype(np.int32))
            losses.append(parallel.step(ready, order[: 1700 + step], 1e-2, dropout_counter=20 * step))
        return losses, parallel.first.parameters.cpu().clone(), parallel.outputs(ready)


def rows_of(count: int = 300) -> Rows:
    net, _, rows, target = twins({})
    return encoded(rows[:count], net, target[:count])
