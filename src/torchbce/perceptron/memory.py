"""The words of a call as pointers and sizes, under the names of `words`."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from torchbce.jit.intrinsics import pointer_to
from torchbce.jit.primitives import spliced
from torchbce.perceptron.words import AT

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
    cut: Any
    pieces: Any
    plain: Any
    coded: Any
    inputs: Any
    heads: Any
    layers: Any
    widths: Any
    activations: Any
    levels_width: Any
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
        to_bins(a[AT.bins]),
        to_floats(a[AT.fractions]),
        to_floats(a[AT.numbers]),
        to_codes(a[AT.codes]),
        to_floats(a[AT.target]),
        to_floats(a[AT.weight]),
        to_codes(a[AT.order]),
        a[AT.order] != 0,
        a[AT.weight] != 0,
    )


@spliced
def network_of(a):
    return Network(
        a[AT.cut],
        a[AT.pieces],
        a[AT.plain],
        a[AT.coded],
        a[AT.inputs],
        a[AT.heads],
        a[AT.layers],
        to_integers(a[AT.widths]),
        to_integers(a[AT.activations]),
        to_integers(a[AT.levels_width]),
        to_floats(a[AT.start]),
        to_floats(a[AT.length]),
        to_integers(a[AT.level_weights]),
        to_integers(a[AT.embeddings]),
        to_integers(a[AT.dense]),
    )


@spliced
def buffers_of(a):
    return Buffers(
        to_floats(a[AT.parameters]),
        to_floats(a[AT.gradient]),
        to_floats(a[AT.table]),
        to_floats(a[AT.table_gradient]),
        to_floats(a[AT.encoded]),
        to_floats(a[AT.encoded_gradient]),
        to_floats(a[AT.wide_weight]),
        to_floats(a[AT.wide_gradient]),
        to_integers(a[AT.outputs]),
        to_integers(a[AT.slopes]),
        to_floats(a[AT.logits]),
        to_floats(a[AT.partials]),
    )
