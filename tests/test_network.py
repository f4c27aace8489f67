"""The table network: it starts at the base rate, and cuts each number at its own edges alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torchbce.training.network import NetworkSpec, Pieces, TableNetwork, quantile_edges


def network(**changes) -> TableNetwork:
    torch.manual_seed(0)
    return TableNetwork(
        NetworkSpec(**{"numbers": 2, "levels": [3], "hidden": [4], "edges": 0, "dropout": 0.0} | changes)
    )


@pytest.mark.parametrize("changes", [{}, {"hidden": []}, {"edges": 3}, {"levels": []}, {"numbers": 0}])
def test_it_starts_at_the_base_rate_everywhere(changes):
    net = network(**changes)
    net.start_at(0.2)
    rows = torch.rand(5, net.spec.numbers + len(net.spec.levels))
    assert torch.sigmoid(net(rows)).flatten().tolist() == pytest.approx([0.2] * 5, rel=1e-6)


def test_every_input_moves_the_trained_logit():
    net = network()
    rows = torch.zeros(3, 3)
    rows[1, 0], rows[2, 2] = 1.0, 2.0
    logits = net(rows).flatten()
    assert logits[0] != logits[1]
    assert logits[0] != logits[2]


def test_pieces_are_the_shares_of_the_intervals_that_a_number_has_passed():
    pieces = Pieces(2, 3, 1)
    pieces.set_edges([np.array([0.0, 1.0, 3.0, 4.0], np.float32), np.array([0.0, 2.0], np.float32)])
    with torch.no_grad():
        pieces.weight[0, :, 0] = torch.tensor([1.0, 10.0, 100.0])
        pieces.weight[1, :, 0] = torch.tensor([1.0, 1e6, 1e6])  # the second number has one interval: the rest is unused
    found = pieces(torch.tensor([[-1.0, -1.0], [0.5, 1.0], [2.0, 5.0], [9.0, 9.0]])).tolist()
    assert found == [[0, 0], [0.5, 0.5], [6, 1], [111, 1]]


def test_edges_are_quantiles_of_values_and_of_distinct_values():
    column = np.array([0.0] * 90 + list(range(1, 11)), np.float32)
    (edges,) = quantile_edges(column[:, None], 4)
    assert edges.tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    (constant,) = quantile_edges(np.ones((5, 1), np.float32), 4)
    assert constant.tolist() == [1.0, 2.0]
