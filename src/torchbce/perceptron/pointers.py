"""The arguments of a call as pointers and sizes, under the names of `arguments`."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from torchbce.jit.intrinsics import pointer_to
from torchbce.jit.primitives import spliced
from torchbce.perceptron.arguments import OFFSET

to_floats, to_doubles = pointer_to(types.float32), pointer_to(types.float64)
to_integers, to_codes, to_bins = pointer_to(types.int64), pointer_to(types.int32), pointer_to(types.uint16)


class Rows(NamedTuple):
    bins: Any
    fractions: Any
    numbers: Any
    codes: Any
    target: Any
    weight: Any
    order: Any
    ordered: Any
    weighted: Any


class Network(NamedTuple):
    binned: Any
    bins: Any
    numeric: Any
    categorical: Any
    inputs: Any
    heads: Any
    layers: Any
    widths: Any
    activations: Any
    embedding_widths: Any
    start: Any
    length: Any
    level_weights: Any
    embeddings: Any
    dense: Any


class Buffers(NamedTuple):
    parameters: Any
    gradient: Any
    table: Any
    table_gradient: Any
    encoded: Any
    encoded_gradient: Any
    wide_weight: Any
    wide_gradient: Any
    outputs: Any
    slopes: Any
    logits: Any
    partials: Any


@spliced
def rows_of(a):
    return Rows(
        to_bins(a[OFFSET.bins]),
        to_floats(a[OFFSET.fractions]),
        to_floats(a[OFFSET.numbers]),
        to_codes(a[OFFSET.codes]),
        to_floats(a[OFFSET.target]),
        to_floats(a[OFFSET.weight]),
        to_codes(a[OFFSET.order]),
        a[OFFSET.order] != 0,
        a[OFFSET.weight] != 0,
    )


@spliced
def network_of(a):
    return Network(
        a[OFFSET.binned],
        a[OFFSET.bin_count],
        a[OFFSET.numeric],
        a[OFFSET.categorical],
        a[OFFSET.inputs],
        a[OFFSET.heads],
        a[OFFSET.layers],
        to_integers(a[OFFSET.widths]),
        to_integers(a[OFFSET.activations]),
        to_integers(a[OFFSET.embedding_widths]),
        to_floats(a[OFFSET.start]),
        to_floats(a[OFFSET.length]),
        to_integers(a[OFFSET.level_weights]),
        to_integers(a[OFFSET.embeddings]),
        to_integers(a[OFFSET.dense]),
    )


@spliced
def buffers_of(a):
    return Buffers(
        to_floats(a[OFFSET.parameters]),
        to_floats(a[OFFSET.gradient]),
        to_floats(a[OFFSET.table]),
        to_floats(a[OFFSET.table_gradient]),
        to_floats(a[OFFSET.encoded]),
        to_floats(a[OFFSET.encoded_gradient]),
        to_floats(a[OFFSET.wide_weight]),
        to_floats(a[OFFSET.wide_gradient]),
        to_integers(a[OFFSET.outputs]),
        to_integers(a[OFFSET.slopes]),
        to_floats(a[OFFSET.logits]),
        to_floats(a[OFFSET.partials]),
    )
