"""Encode rows, and compute the gradient of the weights that encode them.

Bounds are not checked here: bins and codes are within the tables (`rows.Rows` checks each), an order is of
rows that exist and rows are of this network (`CompiledTrainer._require_within`), and the tables have their sizes
(`layers.Layers`).
"""

from __future__ import annotations

import numpy as np
from numba import int64

from torchbce.jit.intrinsics import prefetch
from torchbce.jit.primitives import spliced
from torchbce.perceptron.arguments import BIN_FLOATS, OFFSET, WIDTH
from torchbce.perceptron.bin_table import add_to_bin, look_up

ZERO = np.float32(0.0)
AHEAD = 12  # rows that are prefetched
LINE = 64  # bytes of a cache line


@spliced
def row_at(rows, position):
    """Return the number of the row at a position of the order."""
    return int64(rows.order[position]) if rows.ordered else position


@spliced
def bin_of(rows, net, row, c):
    """Return the bin of a number, counted over all columns."""
    return c * net.bins + int64(rows.bins[row * net.binned + c])


@spliced
def prefetch_row(rows, net, row):
    """Prefetch a row: in a table larger than the caches, rows in a random order arrive too late otherwise."""
    for line in range(0, net.binned, LINE // 2):
        prefetch(rows.bins, row * net.binned + line)
    for line in range(0, net.binned, LINE // 4):
        prefetch(rows.fractions, row * net.binned + line)
    for line in range(0, net.numeric, LINE // 4):
        prefetch(rows.numbers, row * net.numeric + line)
    for line in range(0, net.categorical, LINE // 4):
        prefetch(rows.codes, row * net.categorical + line)
    prefetch(rows.target, row)


@spliced
def encode(rows, net, memory, first, size):
    """Write encoded rows: outputs of binned numbers, then numbers, then embeddings."""
    parameters, out = memory.parameters, memory.encoded
    for i in range(size):
        row = row_at(rows, first + i)
        if rows.ordered and i + AHEAD < size:
            prefetch_row(rows, net, row_at(rows, first + i + AHEAD))
        offset = i * net.inputs
        for c in range(net.binned):
            bin_offset = bin_of(rows, net, row, c) * BIN_FLOATS
            look_up(memory.table, bin_offset, rows.fractions[row * net.binned + c], out, offset + c * WIDTH)
        offset += net.binned * WIDTH
        for c in range(net.numeric):
            out[offset + c] = rows.numbers[row * net.numeric + c]
        offset += net.numeric
        for c in range(net.categorical):
            width = net.embedding_widths[c]
            level = net.embeddings[c] + int64(rows.codes[row * net.categorical + c]) * width
            for w in range(width):
                out[offset + w] = parameters[level + w]
            offset += width


@spliced
def gradient_of_encoding(rows, net, memory, first, size):
    """Add the gradient of encoded rows to that of the table and the embeddings."""
    gradient, grad = memory.gradient, memory.encoded_gradient
    for i in range(size):
        row = row_at(rows, first + i)
        offset = i * net.inputs
        for c in range(net.binned):
            bin_offset = bin_of(rows, net, row, c) * BIN_FLOATS
            fraction = rows.fractions[row * net.binned + c]
            add_to_bin(memory.table_gradient, bin_offset, fraction, memory.encoded, grad, offset + c * WIDTH)
        offset += net.binned * WIDTH + net.numeric
        for c in range(net.categorical):
            width = net.embedding_widths[c]
            level = net.embeddings[c] + int64(rows.codes[row * net.categorical + c]) * width
            for w in range(width):
                gradient[level + w] += grad[offset + w]
            offset += width


@spliced
def number_in(rows, net, row, c):
    """Return a binned number, from its bin and fraction."""
    bin_number = bin_of(rows, net, row, c)
    return net.start[bin_number] + rows.fractions[row * net.binned + c] * net.length[bin_number]


@spliced
def direct_logit(a, rows, net, parameters, row):
    """Return a row's part of its logits that passes no layer: logistic regression."""
    total, direct = ZERO, a[OFFSET.direct]
    if direct < 0:
        return total
    for c in range(net.binned):
        total += parameters[direct + c] * number_in(rows, net, row, c)
    for c in range(net.numeric):
        total += parameters[direct + net.binned + c] * rows.numbers[row * net.numeric + c]
    for c in range(net.categorical):
        total += parameters[net.level_weights[c] + int64(rows.codes[row * net.categorical + c])]
    return total


@spliced
def gradient_of_direct(a, rows, net, gradient, row, grad):
    """Add the gradient of `direct_logit` to that of its weights."""
    direct = a[OFFSET.direct]
    if direct < 0:
        return
    for c in range(net.binned):
        gradient[direct + c] += grad * number_in(rows, net, row, c)
    for c in range(net.numeric):
        gradient[direct + net.binned + c] += grad * rows.numbers[row * net.numeric + c]
    for c in range(net.categorical):
        gradient[net.level_weights[c] + int64(rows.codes[row * net.categorical + c])] += grad
