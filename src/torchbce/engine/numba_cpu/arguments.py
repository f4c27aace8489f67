"""How the arguments of compiled code lie in memory: ordered tables of words of eight bytes.

Compiled code takes one address, as calling C with many arguments is slow. Launching and compiled code read these
tables.
"""

from __future__ import annotations

import functools
import struct
from collections import namedtuple
from typing import Any, NamedTuple, get_type_hints

import torch

from torchbce.engine.numba_cpu.variant import BLOCK


class PassArguments(NamedTuple):
    """The arguments of every pass, in their order. Those that name a tensor are its address."""

    input: int
    target: int
    out: int  # 0: no gradient is wanted
    sums: int
    next_piece: int  # a counter that all threads take from
    piece: int  # chunks in a piece
    end: int  # the chunk to stop before
    items: int
    scale: float


class OptionArguments(NamedTuple):
    """Further arguments, of a pass with options. Its columns follow, then one of each parameter of the loss."""

    formula: int  # address of the compiled `Formula`
    result: int  # one of `RESULTS`
    by_product: int  # whether a total may be the logarithm of a product
    checked: int
    out_dtype: int
    transformed: int  # targets, by threshold or label smoothing
    threshold: float
    factor: float
    shift: float
    ignoring: int
    ignored: float
    classes: int  # 0: targets are no class numbers
    class_inner: int
    columns: int


class Columns(NamedTuple):
    """What has a value for each item, or for some that repeat along the items."""

    input: int
    target: int
    weight: int
    grad_output: int
    mask: int


class ColumnArguments(NamedTuple):
    """A column: `dtype` is one of `CODES`, `inner` and `period` are those of a `layout.Pattern`."""

    value: int  # an address, or a number
    dtype: int
    inner: int
    period: int


class BlockArguments(NamedTuple):
    """What a compiled `Formula` takes: where a block's items lie, and what is wanted of them.

    The first are addresses, in the order of `Columns`. Values and slopes are not wanted where their address is 0.
    """

    input: int
    target: int
    weight: int
    grad_output: int
    mask: int
    parameters: int  # columns of `BLOCK` items
    exact_parameters: int  # columns of `LANES` float64
    checked_target: int  # the target before smoothing
    size: int
    task: int  # one of `TASKS`
    soft: int  # whether targets are known not to be all 0 and 1, or it does not matter
    checked: int
    values: int
    slopes: int
    scale: float  # of the slopes
    lanes: int  # the factors of `product`, by lane
    formula: int  # its own address
    invalid: int  # result: how many items are not allowed


DTYPES = (  # of the codes from 1 on; bool lies in memory as uint8
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)
ABSENT, NUMBER = -1, 0
CODES = {dtype: code for code, dtype in enumerate(DTYPES, 1)}  # how compiled code names a column's dtype
CODES[torch.bool] = CODES[torch.uint8]
RESULTS = namedtuple("Results", "total items grad_input count")(*range(4))
TASKS = namedtuple("Tasks", "evaluate exact factors product")(*range(4))
COLUMN = Columns(*range(len(Columns._fields)))
_names = PassArguments._fields + OptionArguments._fields
OFFSET: Any = namedtuple("Offset", _names)(*range(len(_names)))  # the number of each argument of a pass, by name
BLOCK_OFFSET: Any = BlockArguments(*range(len(BlockArguments._fields)))
COLUMN_OFFSET = ColumnArguments(*range(len(ColumnArguments._fields)))
FIRST_COLUMN, COLUMN_SIZE = len(_names), len(ColumnArguments._fields)
# A block's memory: its results and targets, then a column of `BLOCK` items for each column of the pass.
MEMORY: Any = namedtuple("Memory", "values slopes checked_target columns")(0, BLOCK, 2 * BLOCK, 3 * BLOCK)


def _format(arguments: type) -> str:
    return "".join("d" if kind is float else "q" for kind in get_type_hints(arguments).values())


_pass, _options = struct.Struct("=" + _format(PassArguments)), _format(OptionArguments)


def pack_pass(
    *, input: int, target: int, out: int, sums: int, next_piece: int, piece: int, end: int, items: int, scale: float
) -> bytes:
    """The arguments of every pass. Written out: making a `PassArguments` first would cost a small call much time."""
    return _pass.pack(input, target, out, sums, next_piece, piece, end, items, scale)


class Column(NamedTuple):
    """A column as it is packed."""

    value: int | float
    dtype: int
    inner: int = 0
    period: int = 0


def pack_options(options: OptionArguments, columns: list[Column]) -> bytes:
    """The options, then the columns."""
    kinds = "".join("d" if isinstance(column.value, float) else "q" for column in columns)
    words = [word for column in columns for word in column]
    return _layout(kinds).pack(*options, *words)


@functools.cache
def _layout(kinds: str) -> struct.Struct:
    return struct.Struct("=" + _options + "".join(f"{kind}3q" for kind in kinds))
