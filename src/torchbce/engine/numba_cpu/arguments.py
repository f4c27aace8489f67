"""How the arguments of a compiled pass lie in memory: one ordered table of words of eight bytes.

A pass takes one address, as calling C with many arguments is slow. Launching and compiled code read this table.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple, get_type_hints


class Words(NamedTuple):
    """The words in their order; a call without options ends after `scale`.

    Those that name a tensor are its address. `inner` and `period` say how it repeats along the items (see
    `layout.Pattern`).
    """

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


AT = Words(*range(len(Words._fields)))  # the number of each word, by name
PARAMETERS = len(Words._fields)  # of the loss: three words each, the number or an address, and how it repeats
OPTIONAL = Words._fields[Words._fields.index("scale") + 1 :]

_formats = ["d" if kind is float else "q" for kind in get_type_hints(Words).values()]
_plain = struct.Struct("=" + "".join(_formats[: len(_formats) - len(OPTIONAL)]))


def pack(
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
    optional: bytes,
) -> bytes:
    """The words of a call, in the table's order."""
    return _plain.pack(input, target, weight, grad_output, out, sums, next_piece, piece, end, items, scale) + optional


def pack_optional(named: dict[str, float], parameters: list[tuple[str, tuple[float, int, int]]]) -> bytes:
    """The words of the options by name, then of the loss's parameters: their kind, "t" a tensor or "n" a number."""
    layout = "".join("3q" if kind == "t" else "d2q" for kind, _ in parameters)
    words = [named[name] for name in OPTIONAL]
    return _layout(layout).pack(*words, *(word for _, words in parameters for word in words))


@functools.cache
def _layout(parameters: str) -> struct.Struct:
    return struct.Struct("=" + "".join(_formats[-len(OPTIONAL) :]) + parameters)
