"""Rows of a cache as they were encoded, but for numbers beyond the outermost edges: as the network sees them."""

from __future__ import annotations

import numpy as np

from torchbce.engine.numba_cpu.perceptron.machine import Rows
from torchbce.training.network.table_network import TableNetwork


def decoded(rows: Rows, network: TableNetwork, chosen: np.ndarray | None = None) -> np.ndarray:
    """Numbers and codes (N, inputs), float32, of all rows or of those chosen."""
    spec = network.spec
    which = slice(None) if chosen is None else chosen
    bins, fractions = rows.bins.numpy()[which].astype(np.int64), rows.fractions.numpy()[which]
    start, length = network.start.numpy(), network.length.numpy()
    found = np.empty((len(bins), len(spec.pieces) + len(spec.levels)), np.float32)
    columns = np.arange(len(spec.cut))
    found[:, spec.cut] = start[columns, bins] + fractions * length[columns, bins]
    found[:, spec.plain] = rows.numbers.numpy()[which]
    found[:, len(spec.pieces) :] = rows.codes.numpy()[which]
    return found
