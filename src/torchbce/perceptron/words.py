"""The arguments of a call, one word of eight bytes each; those that name a tensor are its address."""

from __future__ import annotations

import struct
from collections import namedtuple
from typing import Any, NamedTuple, get_type_hints


class Words(NamedTuple):
    """Parameters are places in `parameters`, and in `gradient` and the optimiser's state, which are as long."""

    sgemm: int  # BLAS's function
    # The rows, each of `cut` cells, `plain` numbers and `coded` codes; an order of rows, or 0 for all as they come.
    bins: int
    fractions: int
    numbers: int
    codes: int
    target: int
    weight: int
    order: int
    rows: int
    batch: int
    of: int  # 0, or the rows of the whole batch: then these rows are lanes of it, of `batch` rows each; see `lanes`
    # The network
    cut: int
    pieces: int
    plain: int
    coded: int
    inputs: int  # width of an encoded row
    heads: int
    layers: int
    widths: int  # of the inputs, then of each layer
    activations: int
    levels_width: int  # of each coded column's embedding
    start: int  # of each piece, and its length
    length: int
    parameters: int
    gradient: int
    parameter_count: int
    piece_weight: int
    piece_bias: int
    direct: int  # -1: no direct way from inputs to logits
    level_weights: int
    embeddings: int
    signs: int
    dense: int  # weight and bias of each layer
    output_weight: int
    output_bias: int
    sigmoid: int
    # Dropout, from `seed` and the number of the step, or of the first lane
    seed: int
    drop_below: int  # of 2^32; 0 for none
    kept_scale: float
    # The optimiser
    optimizer: int
    first_moment: int
    second_moment: int
    blocks: int  # first parameter, how many, whether their weights decay
    block_count: int
    rates: int  # the learning rate of each step
    step: int
    beta1: float
    beta2: float
    epsilon: float
    decay: float
    training: int
    skip: int  # whether batches whose loss is not finite are left out
    # Working memory
    table: int
    table_gradient: int
    encoded: int
    encoded_gradient: int
    wide_weight: int
    wide_gradient: int
    outputs: int  # of each layer
    slopes: int
    scratch: int
    logits: int
    partials: int  # sums of lanes' gradients
    # Results
    loss: int  # added to, and what is left out: batches, and the weight of their rows; of lanes, one each


_layout = struct.Struct("=" + "".join("d" if kind is float else "q" for kind in get_type_hints(Words).values()))
AT: Any = namedtuple("At", Words._fields)(*range(len(Words._fields)))

WIDTH = 8  # outputs of a column in pieces
CELL = 2 * WIDTH  # of its table: the values at the start of a piece, then the rises
SILU, TANH, RELU = 1, 2, 3  # activations
NO_OPTIMIZER, SGD, ADAM = 0, 1, 2


def packed(words: Words) -> bytes:
    return _layout.pack(*words)
