"""Rows of a cache as they were encoded, but for numbers beyond the outermost edges: as the network sees them."""

from __future__ import annotations

import numpy as np

from torchbce.perceptron.rows import Rows
from torchbce.table.network.table_network import TableNetwork


def decoded(rows: Rows, network: TableNetwork) -> np.ndarray:
    """Numbers and codes (N, inputs), float32."""
    spec = network.spec
    bins, fractions = rows.bins.numpy().astype(np.int64), rows.fractions.numpy()
    start, length = network.start.numpy(), network.length.numpy()
    found = np.empty((len(bins), len(spec.pieces) + len(spec.levels)), np.float32)
    columns = np.arange(len(spec.binned))
    found[:, spec.binned] = start[columns, bins] + fractions * length[columns, bins]
    found[:, spec.numeric] = rows.numbers.numpy()
    found[:, len(spec.pieces) :] = rows.codes.numpy()
    return found
