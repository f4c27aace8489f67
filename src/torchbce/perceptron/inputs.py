"""Rows into the network, and what comes back to the weights that encode them.

Nothing is compared with a limit here: bins and codes are within the tables (`rows.Rows` checks each), an order is of
rows that are there and rows are of this network (`Machine._require_within`), and the tables are as large as they are
said to be (`layers.Layers`).
"""

from __future__ import annotations

import numpy as np
from numba import int64

from torchbce.jit.intrinsics import prefetch
from torchbce.jit.primitives import spliced
from torchbce.perceptron.cells import add_to_cell, look_up
from torchbce.perceptron.words import AT, CELL, WIDTH

ZERO = np.float32(0.0)
AHEAD = 12  # rows: about the time that memory takes to answer
LINE = 64  # bytes of a cache line


@spliced
def row_at(rows, position):
    return int64(rows.order[position]) if rows.ordered else position


@spliced
def piece_of(rows, net, row, c):
    """The piece that a cut number lies in, counted over all columns."""
    return c * net.pieces + int64(rows.bins[row * net.cut + c])


@spliced
def ask_for(rows, net, row):
    """A row that will be read soon: in a table larger than the caches, rows in a random order come too late else."""
    for line in range(0, net.cut, LINE // 2):
        prefetch(rows.bins, row * net.cut + line)
    for line in range(0, net.cut, LINE // 4):
        prefetch(rows.fractions, row * net.cut + line)
    for line in range(0, net.plain, LINE // 4):
        prefetch(rows.numbers, row * net.plain + line)
    for line in range(0, net.coded, LINE // 4):
        prefetch(rows.codes, row * net.coded + line)
    prefetch(rows.target, row)


@spliced
def encode(rows, net, memory, first, size):
    """Pieces, then numbers as they are, then embeddings."""
    parameters, out = memory.parameters, memory.encoded
    for i in range(size):
        row = row_at(rows, first + i)
        if rows.ordered and i + AHEAD < size:
            ask_for(rows, net, row_at(rows, first + i + AHEAD))
        place = i * net.inputs
        for c in range(net.cut):
            cell = piece_of(rows, net, row, c) * CELL
            look_up(memory.table, cell, rows.fractions[row * net.cut + c], out, place + c * WIDTH)
        place += net.cut * WIDTH
        for c in range(net.plain):
            out[place + c] = rows.numbers[row * net.plain + c]
        place += net.plain
        for c in range(net.coded):
            width = net.levels_width[c]
            level = net.embeddings[c] + int64(rows.codes[row * net.coded + c]) * width
            for w in range(width):
                out[place + w] = parameters[level + w]
            place += width


@spliced
def gradient_of_encoding(rows, net, memory, first, size):
    gradient, arrived = memory.gradient, memory.encoded_gradient
    for i in range(size):
        row = row_at(rows, first + i)
        place = i * net.inputs
        for c in range(net.cut):
            cell = piece_of(rows, net, row, c) * CELL
            fraction = rows.fractions[row * net.cut + c]
            add_to_cell(memory.table_gradient, cell, fraction, memory.encoded, arrived, place + c * WIDTH)
        place += net.cut * WIDTH + net.plain
        for c in range(net.coded):
            width = net.levels_width[c]
            level = net.embeddings[c] + int64(rows.codes[row * net.coded + c]) * width
            for w in range(width):
                gradient[level + w] += arrived[place + w]
            place += width


@spliced
def number_in(rows, net, row, c):
    """A cut number, from its cell."""
    piece = piece_of(rows, net, row, c)
    return net.start[piece] + rows.fractions[row * net.cut + c] * net.length[piece]


@spliced
def directly(a, rows, net, parameters, row):
    """What goes from a row to its logits past all layers: logistic regression."""
    total, direct = ZERO, a[AT.direct]
    if direct < 0:
        return total
    for c in range(net.cut):
        total += parameters[direct + c] * number_in(rows, net, row, c)
    for c in range(net.plain):
        total += parameters[direct + net.cut + c] * rows.numbers[row * net.plain + c]
    for c in range(net.coded):
        total += parameters[net.level_weights[c] + int64(rows.codes[row * net.coded + c])]
    return total


@spliced
def gradient_of_direct(a, rows, net, gradient, row, arrived):
    direct = a[AT.direct]
    if direct < 0:
        return
    for c in range(net.cut):
        gradient[direct + c] += arrived * number_in(rows, net, row, c)
    for c in range(net.plain):
        gradient[direct + net.cut + c] += arrived * rows.numbers[row * net.plain + c]
    for c in range(net.coded):
        gradient[net.level_weights[c] + int64(rows.codes[row * net.coded + c])] += arrived
