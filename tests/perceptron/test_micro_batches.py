"""A batch in lanes: the same gradient as one batch to rounding, and the same bits whoever does which lanes."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from torchbce.common import processes
from torchbce.perceptron.trainer import Optimizer, one_blas_thread
from torchbce.table.ensemble.member import new_network
from torchbce.table.network.all_reduce import all_reduce
from torchbce.table.network.bins import quantile_bin_edges
from torchbce.table.network.compiled import compiled, compiled_shared, encoded
from torchbce.table.network.data_parallel import DataParallelStep
from torchbce.table.network.pairwise_sum import share_of, subtree_sum, subtrees
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.network.trainers import MICRO_BATCH


def reference(lanes: list[Tensor], first: int, size: int) -> Tensor | None:
    """The sum of a subtree, as `tree` says it is."""
    if first >= len(lanes):
        return None
    if size == 1:
        return lanes[first]
    left, right = reference(lanes, first, size // 2), reference(lanes, first + size // 2, size // 2)
    return left if right is None else left + right


def size_of(subtree: tuple[int, int]) -> int:
    return 1 << (subtree[1] - subtree[0] - 1).bit_length()


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7])
def test_the_sum_of_lanes_does_not_depend_on_who_adds_what(workers):
    torch.manual_seed(0)
    for count in range(1, 40):
        lanes = list(torch.randn(count, 50))
        parts = {}
        for number in range(workers):
            own = subtrees(share_of(count, number, workers), count)
            assert len(own) <= 2 * count.bit_length()
            parts |= {subtree: reference(lanes, subtree[0], size_of(subtree)) for subtree in own}
        whole = reference(lanes, 0, 64)
        assert torch.equal(subtree_sum(parts, (0, count), count), whole)
        assert whole.double().numpy() == pytest.approx(torch.stack(lanes).double().sum(0).numpy(), abs=1e-4)


def test_each_lane_is_some_workers_once():
    for count in range(40):
        for workers in range(1, 9):
            own = [subtrees(share_of(count, number, workers), count) for number in range(workers)]
            assert [lane for some in own for a, b in some for lane in range(a, b)] == list(range(count))


def network(**changes: object) -> tuple[TableNetwork, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(3000, 4)).astype(np.float32)
    rows[:, 3] = generator.integers(0, 5, 3000)
    edges = quantile_bin_edges(rows[:, :2], 8)
    spec = {"pieces": [len(edges[0]) - 1, len(edges[1]) - 1, 0], "levels": [5], "hidden": [16, 8], "dropout": 0.2}
    return new_network(NetworkSpec(**spec | changes), edges, 0.4, 3), rows, (rows[:, 0] > 0.3).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_of_lanes_is_that_of_the_batch(weighted):
    weight = np.random.default_rng(2).random(3000).astype(np.float32) if weighted else None
    order = torch.from_numpy(np.random.default_rng(3).permutation(3000).astype(np.int32))[:1500]
    found = []
    for batch in (1500, MICRO_BATCH):
        net, rows, target = network(dropout=0.0)
        ready = encoded(rows, net, target, weight)
        machine = compiled(net, Optimizer(), batch=batch, seed=0)
        losses = machine.accumulate_gradient(ready, order, batch_rows=1500, dropout_counter=0)
        assert len(losses) == -(-1500 // batch)
        found.append((machine.gradient.clone(), losses.sum().item()))
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
    size = found[0][0].abs().max().item()
    assert found[1][0].numpy() == pytest.approx(found[0][0].numpy(), abs=1e-5 * size)


def test_a_step_by_lanes_is_a_step_of_the_batch():
    """Without dropout, whose draws differ."""
    found = []
    order = torch.arange(MICRO_BATCH, dtype=torch.int32)
    for by_lanes in (False, True):
        net, rows, target = network(dropout=0.0)
        ready = encoded(rows, net, target)
        machine = compiled(net, Optimizer("adamw", 0.1), batch=MICRO_BATCH, seed=0)
        for step in range(5):
            if by_lanes:
                machine.accumulate_gradient(ready, order, batch_rows=MICRO_BATCH, dropout_counter=step)
                machine.apply(1e-2)
            else:
                machine.train(ready, order, torch.full((1,), 1e-2, dtype=torch.float64))
        found.append(machine.parameters.clone())
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_the_number_of_threads_changes_no_bit(threads, monkeypatch):
    def trained(count: int) -> tuple[list[float], Tensor, np.ndarray]:
        monkeypatch.setattr(torch, "get_num_threads", lambda: count)
        net, rows, target = network()
        ready = encoded(rows, net, target)
        with one_blas_thread(), ThreadPoolExecutor(5) as pool:
            parallel = DataParallelStep.of(net, Optimizer("adamw", 0.1), pool, seed=1)
            losses = []
            for step in range(6):
                order = torch.from_numpy(np.random.default_rng(step).permutation(3000).astype(np.int32))
                losses.append(parallel.step(ready, order[: 1700 + step], 1e-2, dropout_counter=20 * step))
            return losses, parallel.first.parameters.clone(), parallel.outputs(ready)

    one, other = trained(1), trained(threads)
    assert one[0] == other[0]
    assert torch.equal(one[1], other[1])
    assert np.array_equal(one[2], other[2])


def test_a_loss_that_is_not_finite_takes_no_step():
    net, rows, target = network()
    target[700] = np.inf
    with one_blas_thread(), ThreadPoolExecutor(2) as pool:
        parallel = DataParallelStep.of(net, Optimizer("adamw"), pool, seed=1)
        before = parallel.first.parameters.clone()
        loss = parallel.step(encoded(rows, net, target), torch.arange(1000, dtype=torch.int32), 1e-2, dropout_counter=0)
        assert not np.isfinite(loss)
        assert torch.equal(parallel.first.parameters, before)
        assert parallel.first.steps == 1


def test_lanes_draw_different_dropout():
    net, rows, target = network(dropout=0.5)
    rows[:] = rows[0]
    ready, order = encoded(rows, net, target), torch.arange(MICRO_BATCH, dtype=torch.int32)
    with torch.no_grad():
        net.output_weight.fill_(1.0)
    machine = compiled_shared(net, Optimizer(), 1, batch=MICRO_BATCH, seed=0)[0]
    losses = [
        machine.accumulate_gradient(ready, order, batch_rows=MICRO_BATCH, dropout_counter=draw).item()
        for draw in range(20)
    ]
    assert len(set(losses)) == 20


@pytest.mark.parametrize("count", [2, 3, 4, 6, 8])
def test_what_processes_tell_each_other_sums_to_the_same_bits(count, monkeypatch):
    """Threads stand for processes, and queues for the network."""
    here = threading.local()
    mail = {(a, b): queue.Queue() for a in range(count) for b in range(count)}

    def send_receive(other: int, mine: Tensor) -> Tensor:
        mail[here.number, other].put(mine.clone())
        return mail[other, here.number].get(timeout=10)

    def all_gather_tensor(mine: Tensor) -> Tensor:
        for other in range(count):
            mail[here.number, other].put(mine.clone())
        return torch.stack([mail[other, here.number].get(timeout=10) for other in range(count)])

    for name, stand_in in (
        ("rank", lambda: here.number),
        ("world_size", lambda: count),
        ("send_receive", send_receive),
        ("all_gather_tensor", all_gather_tensor),
    ):
        monkeypatch.setattr(processes, name, stand_in)
    torch.manual_seed(1)
    for lanes in (1, 5, 8, 16, 24, 32):
        each, losses = list(torch.randn(lanes, 30)), torch.rand(lanes, dtype=torch.float64)

        def work(number: int, lanes=lanes, each=each, losses=losses) -> tuple[Tensor, Tensor]:
            here.number = number
            own = share_of(lanes, number, count)
            parts = {subtree: reference(each, subtree[0], size_of(subtree)) for subtree in subtrees(own, lanes)}
            told = torch.zeros(lanes, dtype=torch.float64)
            told[own[0] : own[1]] = losses[own[0] : own[1]]
            return all_reduce(parts, told, lanes, 30)

        with ThreadPoolExecutor(count) as pool:
            for gradient, found in pool.map(work, range(count)):
                assert torch.equal(gradient, reference(each, 0, 32))
                assert torch.equal(found, losses)
