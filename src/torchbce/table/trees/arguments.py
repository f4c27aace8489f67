"""The arguments of a call, eight bytes each; all but the counts are addresses."""

from __future__ import annotations

import struct
from collections import namedtuple
from typing import Any, NamedTuple

BLOCK = 64  # rows that go down a tree together


class Arguments(NamedTuple):
    """Addresses of tensors, and counts."""

    rows: int
    row_count: int
    width: int  # numbers in a row
    trees: int
    column: int  # of each node, as the three below
    threshold: int
    left: int
    value: int
    root: int  # of each tree, and its depth
    depth: int
    at: int  # working memory: the node that each row of a block has come to
    out: int


OFFSET: Any = namedtuple("Offset", Arguments._fields)(*range(len(Arguments._fields)))


def pack(arguments: Arguments) -> bytes:
    """Return the bytes that compiled code reads."""
    return struct.pack(f"={len(arguments)}q", *arguments)
