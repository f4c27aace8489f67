"""Networks for a table, each twice: for compiled code and for autograd."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch.nn import functional as F

from torchbce.table.network.bins import quantile_bin_edges
from torchbce.table.network.table_network import NetworkSpec, TableNetwork

ROUNDINGS = 64 * 2.0**-24  # of float32, of sums of some hundred terms


def network(**changes) -> TableNetwork:
    torch.manual_seed(0)
    return TableNetwork(NetworkSpec(**{"pieces": [0, 0], "levels": [3], "hidden": [4]} | changes))


def random_table(count: int = 300) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], NetworkSpec]:
    """Rows of five numbers (one of them 0 or 1, one rounded) and two codes; a target; edges; a network for them."""
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal((count, 5))
    numbers[:, 1] = numbers[:, 1] > 0
    numbers[:, 3] = np.round(numbers[:, 3])
    codes = np.stack([rng.integers(0, 7, count), rng.integers(0, 30, count)], 1)
    edges = quantile_bin_edges(numbers.astype(np.float32), 8)
    spec = NetworkSpec(
        pieces=[len(cuts) - 1 if len(cuts) > 2 else 0 for cuts in edges], levels=[7, 30], hidden=[16, 12]
    )
    rows = np.concatenate([numbers, codes], 1).astype(np.float32)
    return rows, (rng.random(count) < 0.3).astype(np.float32), [cuts for cuts in edges if len(cuts) > 2], spec


def twins(changes: dict, seed: int = 0) -> tuple[TableNetwork, TableNetwork, np.ndarray, np.ndarray]:
    """A network with weights that are not 0 anywhere, the same in float64, rows and targets."""
    rows, target, edges, spec = random_table()
    torch.manual_seed(seed)
    net = TableNetwork(spec.model_copy(update=changes))
    net.set_bin_edges(edges)
    net.start_at(0.3)
    with torch.no_grad():
        net.output_weight.normal_()
        net.direct.normal_()
        for weights in net.level_weights:
            weights.normal_()
    return net, copy.deepcopy(net).double(), rows, target


def mean_loss(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    losses = F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits), reduction="none")
    return (losses if weight is None else losses * weight[:, None]).mean()


SHAPES = [{"hidden": []}, {"hidden": [9]}, {}, {"heads": 4}, {"heads": 3, "hidden": [5]}, {"hidden": [8, 8, 8, 8]}]
