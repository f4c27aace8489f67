"""Decode the rows of a cache; numbers beyond the outermost edges come back as those edges, as the network sees them."""

from __future__ import annotations

import numpy as np

from torchbce.perceptron.rows import Rows
from torchbce.table.network.table_network import TableNetwork


def decoded(rows: Rows, network: TableNetwork) -> np.ndarray:
    """Return numbers and codes (N, inputs), float32."""
    spec = network.spec
    bins, fractions = rows.bins.numpy().astype(np.int64), rows.fractions.numpy()
    start, length = network.start.numpy(), network.length.numpy()
    inputs = np.empty((len(bins), len(spec.pieces) + len(spec.levels)), np.float32)
    columns = np.arange(len(spec.binned))
    inputs[:, spec.binned] = start[columns, bins] + fractions * length[columns, bins]
    inputs[:, spec.numeric] = rows.numbers.numpy()
    inputs[:, len(spec.pieces) :] = rows.codes.numpy()
    return inputs
