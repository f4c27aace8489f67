"""The arguments of a call, eight bytes each; those that name a tensor are its address."""

from __future__ import annotations

import struct
from collections import namedtuple
from typing import Any, NamedTuple, get_type_hints


class Arguments(NamedTuple):
    """Parameters of the network are offsets into `parameters`, `gradient` and the moments, which are equally long."""

    sgemm: int  # address of BLAS's function
    # The rows, of `binned` bins and fractions, `numeric` numbers and `categorical` codes
    bins: int
    fractions: int
    numbers: int
    codes: int
    target: int
    weight: int
    order: int  # of rows; 0 for all as they come
    rows: int
    batch: int
    whole_batch: int  # 0, or the rows of the batch that these rows are micro-batches of, of `batch` rows each
    # The network
    binned: int  # columns of each kind
    numeric: int
    categorical: int
    bin_count: int
    inputs: int  # width of an encoded row
    heads: int
    layers: int
    widths: int  # of the inputs, then of each layer
    activations: int
    embedding_widths: int
    start: int  # of each bin, and its length
    length: int
    parameters: int
    gradient: int
    parameter_count: int
    bin_weight: int
    bin_bias: int
    direct: int  # weights from the inputs to the logits; -1 without
    level_weights: int
    embeddings: int
    signs: int
    dense: int  # weight and bias of each layer
    output_weight: int
    output_bias: int
    sigmoid: int
    # Dropout, by `seed` and the number of the step, or of the first micro-batch
    seed: int
    drop_threshold: int  # of 2^32; 0 for none
    keep_scale: float
    # The optimiser
    optimizer: int
    first_moment: int
    second_moment: int
    blocks: int  # first parameter, number of them, whether their weights decay
    block_count: int
    rates: int  # the learning rate of each step
    step: int
    beta1: float
    beta2: float
    epsilon: float
    decay: float
    training: int
    skip: int  # whether batches whose loss is not finite are skipped
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
    partials: int  # gradients of subtrees of micro-batches
    # Results
    loss: int  # of each micro-batch; else the sum, then the number of skipped batches and the weight of their rows


_layout = struct.Struct("=" + "".join("d" if kind is float else "q" for kind in get_type_hints(Arguments).values()))
OFFSET: Any = namedtuple("Offset", Arguments._fields)(*range(len(Arguments._fields)))

WIDTH = 8  # outputs of a binned column
BIN_FLOATS = 2 * WIDTH  # of a bin in the table: the values at its start, then the rises
SILU, TANH, RELU = 1, 2, 3  # activations
NO_OPTIMIZER, SGD, ADAM = 0, 1, 2


def pack(arguments: Arguments) -> bytes:
    """Return the bytes that compiled code reads."""
    return _layout.pack(*arguments)
