"""How the arguments of a compiled pass lie in memory: one ordered table of words of eight bytes.

A pass takes one address, as calling C with many arguments is slow. Launching and compiled code read this table.
"""

from __future__ import annotations

import functools
import struct
from collections import namedtuple
from typing import Any, NamedTuple, get_type_hints


class PlainWords(NamedTuple):
    """The arguments of every call, in their order. Those that name a tensor are its address."""

    input: int
    target: int
    weight: int
    grad_output: int
    out: int
    sums: int
    next_piece: int  # a counter that all threads take from
    piece: int  # chunks in a piece
    end: int  # the chunk to stop before
    items: int
    scale: float


class OptionalWords(NamedTuple):
    """Further arguments, of a call with options. `inner` and `period`: how a tensor repeats (see `layout.Pattern`)."""

    mask: int
    weight_inner: int
    weight_period: int
    grad_inner: int
    grad_period: int
    mask_inner: int
    mask_period: int
    class_inner: int
    classes: int
    threshold: float
    factor: float
    shift: float
    ignored: float


_names = PlainWords._fields + OptionalWords._fields
AT: Any = namedtuple("At", _names)(*range(len(_names)))  # the number of each word, by name
PARAMETERS = len(_names)  # of the loss: three words each, the number or an address, and how it repeats


def _format(words: type) -> str:
    return "".join("d" if kind is float else "q" for kind in get_type_hints(words).values())


_plain, _optional = struct.Struct("=" + _format(PlainWords)), _format(OptionalWords)


def pack_plain(
    *,
    input: int,
    target: int,
    weight: int,
    grad_output: int,
    out: int,
    sums: int,
    next_piece: int,
    piece: int,
    end: int,
    items: int,
    scale: float,
) -> bytes:
    """The words of every call. Written out: making a `PlainWords` first would cost a small call a tenth of its time."""
    return _plain.pack(input, target, weight, grad_output, out, sums, next_piece, piece, end, items, scale)


def pack_optional(words: OptionalWords, kinds: str, parameters: list[float]) -> bytes:
    """The options, then the loss's parameters: "t" is a tensor's address and how it repeats, "n" a number."""
    return _layout(kinds).pack(*words, *parameters)


@functools.cache
def _layout(kinds: str) -> struct.Struct:
    return struct.Struct("=" + _optional + "".join({"t": "3q", "-": ""}.get(kind, "d2q") for kind in kinds))
