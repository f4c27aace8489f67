"""The arguments of a call, one word of eight bytes each; all but the counts are addresses."""

from __future__ import annotations

import struct
from collections import namedtuple
from typing import Any, NamedTuple

BLOCK = 64  # rows that go down a tree together


class Words(NamedTuple):
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


AT: Any = namedtuple("At", Words._fields)(*range(len(Words._fields)))


def packed(words: Words) -> bytes:
    return struct.pack(f"={len(words)}q", *words)
