"""A `TableNetwork` trained in compiled code; its parameters are the module's own."""

from __future__ import annotations

import numpy as np
import torch

from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS
from torchbce.perceptron.flat_parameters import flattened
from torchbce.perceptron.layers import BinnedLayer, Dense, Layers
from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import CompiledTrainer, Optimizer
from torchbce.table.network.bins import bins_and_fractions
from torchbce.table.network.table_network import TableNetwork


def compiled(
    network: TableNetwork, optimizer: Optimizer, *, batch: int, seed: int, skip: bool = False
) -> CompiledTrainer:
    """Make the network's trainer; the network must live, and not be moved, while it is used."""
    return CompiledTrainer(_layers(network), BCE_WITH_LOGITS, optimizer, batch=batch, seed=seed, skip=skip)


def compiled_shared(
    network: TableNetwork, optimizer: Optimizer, count: int, *, batch: int, seed: int
) -> list[CompiledTrainer]:
    """Make trainers for as many threads, with shared parameters; the first has the optimiser."""
    layers = _layers(network)
    optimizers = [optimizer, *[Optimizer()] * (count - 1)]
    return [CompiledTrainer(layers, BCE_WITH_LOGITS, optimizer, batch=batch, seed=seed) for optimizer in optimizers]


def encoded(
    rows: np.ndarray, network: TableNetwork, target: np.ndarray | None = None, weight: np.ndarray | None = None
) -> Rows:
    """Encode rows of numbers and codes; the same for all networks with these bin edges."""
    spec = network.spec
    numbers = rows[:, : len(spec.pieces)]
    bins, fractions = bins_and_fractions(numbers[:, spec.binned], network.start.numpy(), network.length.numpy())
    return Rows(
        bins=torch.from_numpy(bins),
        fractions=torch.from_numpy(fractions),
        numbers=torch.from_numpy(np.ascontiguousarray(numbers[:, spec.numeric])),
        codes=torch.from_numpy(np.ascontiguousarray(rows[:, len(spec.pieces) :], dtype=np.int32)),
        target=torch.zeros(len(rows)) if target is None else torch.from_numpy(target.astype(np.float32)),
        weight=None if weight is None else torch.from_numpy(weight.astype(np.float32)),
        limits=spec.limits,
    )


def _layers(network: TableNetwork) -> Layers:
    spec = network.spec
    return Layers(
        parameters=flattened(network),
        numeric=len(spec.numeric),
        output_weight=network.output_weight.data,
        output_bias=network.output_bias.data,
        binned=BinnedLayer(network.piece_weight.data, network.piece_bias.data, network.start, network.length)
        if spec.binned
        else None,
        direct=network.direct.data,
        level_weights=[weights.data for weights in network.level_weights],
        embeddings=[embedding.data for embedding in network.embeddings],
        signs=None if network.signs is None else network.signs.data,
        hidden=[Dense(layer.weight.data, layer.bias.data, "silu") for layer in network.layers],
        dropout=spec.dropout,
        undecayed=[network.output_bias.data],
    )
