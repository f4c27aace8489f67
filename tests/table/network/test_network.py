"""The table network: it starts at the base rate, cuts numbers at their own edges, and its compiled twin is the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from table_networks import ROUNDINGS, SHAPES, mean_loss, network, random_table, twins
from torchbce.perceptron.trainer import Optimizer, one_blas_thread
from torchbce.table.network.bins import bins_and_fractions, quantile_bin_edges
from torchbce.table.network.compiled import compiled, encoded
from torchbce.table.network.table_network import TableNetwork


@pytest.mark.parametrize(
    "changes", [{}, {"hidden": []}, {"pieces": [3, 0]}, {"levels": []}, {"pieces": []}, {"heads": 3}]
)
def test_it_starts_at_the_base_rate_everywhere(changes):
    net = network(**changes)
    net.set_bin_edges([np.array([0.0, 0.2, 0.5, 1.0], np.float32)] * len(net.spec.binned))
    net.start_at(0.2)
    rows = torch.rand(5, len(net.spec.pieces) + len(net.spec.levels))
    assert torch.sigmoid(net(rows)).flatten().tolist() == pytest.approx([0.2] * 5 * net.spec.heads, rel=1e-6)


def test_every_input_moves_the_trained_logit():
    net = network()
    torch.nn.init.normal_(net.output_weight)
    rows = torch.zeros(3, 3)
    rows[1, 0], rows[2, 2] = 1.0, 2.0
    logits = net(rows).flatten()
    assert logits[0] != logits[1]
    assert logits[0] != logits[2]


def test_pieces_are_the_shares_of_the_intervals_that_a_number_has_passed():
    net = network(pieces=[3, 1], levels=[])
    net.set_bin_edges([np.array([0.0, 1.0, 3.0, 4.0], np.float32), np.array([0.0, 2.0], np.float32)])
    found = net._passed(torch.tensor([[-1.0, -1.0], [0.5, 1.0], [2.0, 5.0], [9.0, 9.0]]))
    assert found[:, 0].tolist() == [[0, 0, 0], [0.5, 0, 0], [1, 0.5, 0], [1, 1, 1]]
    assert found[:, 1].tolist() == [[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_cells_say_the_same_as_pieces():
    rows, _, edges, spec = random_table()
    net = TableNetwork(spec)
    net.set_bin_edges(edges)
    numbers = np.concatenate([rows[:, spec.binned], 100 * rows[:, spec.binned]])
    bins, fractions = bins_and_fractions(numbers, net.start.numpy(), net.length.numpy())
    passed = net._passed(torch.from_numpy(numbers)).sum(2)  # whole pieces, and a fraction of one
    assert bins + fractions == pytest.approx(passed.numpy(), rel=1e-6)


def test_edges_are_quantiles_of_values_and_of_distinct_values():
    column = np.array([0.0] * 90 + list(range(1, 11)), np.float32)
    (edges,) = quantile_bin_edges(column[:, None], 4)
    assert edges.tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    (constant,) = quantile_bin_edges(np.ones((5, 1), np.float32), 4)
    assert constant.tolist() == [1.0]


def test_no_piece_is_so_narrow_that_rounding_decides_it():
    column = np.concatenate([1 + np.arange(1000) * 1e-12, np.linspace(0, 2, 1000)])
    (edges,) = quantile_bin_edges(column[:, None], 64)
    assert np.diff(edges).min() > 1e-6


@pytest.mark.parametrize("changes", SHAPES)
def test_compiled_outputs_are_the_networks(changes):
    net, exact, rows, target = twins(changes)
    machine = compiled(net, Optimizer(), batch=64, seed=0)
    found = machine.outputs(encoded(rows, net, target))
    with torch.no_grad():
        expected = exact(torch.from_numpy(rows).double())
        size = expected.abs().max().item() + 10
    assert found.double().numpy() == pytest.approx(expected.numpy(), abs=ROUNDINGS * size)
    some = torch.arange(0, 300, 7, dtype=torch.int32)
    again = machine.outputs(encoded(rows, net, target), some)
    assert again.numpy() == pytest.approx(found[some.long()].numpy(), abs=ROUNDINGS * size)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("changes", SHAPES)
def test_compiled_gradients_are_autograds(changes, weighted):
    net, exact, rows, target = twins(changes)
    weight = np.random.default_rng(2).random(300).astype(np.float32) if weighted else None
    machine = compiled(net, Optimizer("none"), batch=300, seed=0)
    order = torch.arange(300, dtype=torch.int32)
    total = machine.train(encoded(rows, net, target, weight), order, torch.zeros(1, dtype=torch.float64))
    wide = None if weight is None else torch.from_numpy(weight).double()
    loss = mean_loss(exact(torch.from_numpy(rows).double()), torch.from_numpy(target).double(), wide)
    loss.backward()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in exact.parameters()])
    assert total / 300 == pytest.approx(loss.item(), rel=1e-5)
    assert machine.gradient.numpy() == pytest.approx(expected.numpy(), abs=ROUNDINGS * expected.abs().max().item())


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("changes", SHAPES)
def test_a_hundred_compiled_steps_are_torchs(changes, name):
    net, exact, rows, target = twins(changes)
    decay = 0.1 if name == "adamw" else 0.0
    machine = compiled(net, Optimizer(name, decay), batch=60, seed=0)
    groups = [
        {"params": [p for n, p in exact.named_parameters() if n != "output_bias"]},
        {"params": [exact.output_bias], "weight_decay": 0.0},
    ]
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimizer = kinds[name](groups, lr=1e-2, weight_decay=decay)
    ready, wide, y = encoded(rows, net, target), torch.from_numpy(rows).double(), torch.from_numpy(target).double()
    for epoch in range(20):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(300))
        rates = torch.linspace(1e-3, 1e-2, 5, dtype=torch.float64)
        total = 0.0
        for some, rate in zip(order.split(60), rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate.item()
            optimizer.zero_grad()
            loss = mean_loss(exact(wide[some]), y[some])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(some)
        found = machine.train(ready, order.int(), rates)
        assert found == pytest.approx(total, rel=1e-4)
    with torch.no_grad():
        assert mean_loss(net(torch.from_numpy(rows)), torch.from_numpy(target)).item() == pytest.approx(
            mean_loss(exact(wide), y).item(), rel=1e-5
        )


def test_the_last_batch_may_be_short_and_calls_may_be_cut_anywhere():
    order = torch.from_numpy(np.random.default_rng(0).permutation(300).astype(np.int32))
    rates = torch.full((5,), 1e-2, dtype=torch.float64)
    found = []
    for calls in ([5], [2, 3], [1, 1, 1, 1, 1]):
        net, _, rows, target = twins({"dropout": 0.3, "heads": 2})
        machine = compiled(net, Optimizer("adamw", 0.1), batch=64, seed=3)
        ready, done = encoded(rows, net, target), 0
        for count in calls:
            machine.train(ready, order[64 * done : 64 * (done + count)], rates[done : done + count])
            done += count
        found.append(torch.cat([parameter.detach().reshape(-1) for parameter in net.parameters()]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_dropout_keeps_the_mean_and_its_share():
    """Seen in the gradient of the output weights: each is a mean over rows of what its unit gives."""
    order, rates = torch.arange(300, dtype=torch.int32), torch.zeros(1, dtype=torch.float64)

    def gradient(seed: int, dropout: float) -> torch.Tensor:
        net, _, rows, target = twins({"hidden": [8], "dropout": dropout})
        with torch.no_grad():
            net.output_weight.zero_()  # the loss's slopes are then the same, whatever is dropped
        machine = compiled(net, Optimizer("none"), batch=300, seed=seed)
        machine.train(encoded(rows, net, target), order, rates)
        before = itertools.takewhile(lambda named: named[0] != "output_weight", net.named_parameters())
        start = sum(parameter.numel() for _, parameter in before)
        return machine.gradient[start : start + 8].double()

    dropped = torch.stack([gradient(seed, 0.25) for seed in range(400)])
    assert len({tuple(row.tolist()) for row in dropped}) == 400
    assert ((dropped.mean(0) - gradient(0, 0.0)).abs() < 4.5 * dropped.std(0) / 20).all()


def test_blas_may_have_any_number_of_threads():
    found = []
    for limited in (True, False):
        net, _, rows, target = twins({"heads": 4})
        machine = compiled(net, Optimizer("adamw"), batch=100, seed=0)
        order = torch.arange(300, dtype=torch.int32)
        if limited:
            with one_blas_thread():
                machine.train(encoded(rows, net, target), order, torch.full((3,), 1e-2, dtype=torch.float64))
        else:
            machine.train(encoded(rows, net, target), order, torch.full((3,), 1e-2, dtype=torch.float64))
        found.append(machine.outputs(encoded(rows, net, target)))
    assert found[0].numpy() == pytest.approx(found[1].numpy(), abs=1e-4)
