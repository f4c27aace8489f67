"""How many rows the record batches of an Arrow file have, from its footer and their headers, without decoding any.

Both are flatbuffers: a table begins with the distance back to a list of where its fields are. See File.fbs,
Message.fbs and "IPC File Format" in the columnar format of Apache Arrow.
"""

from __future__ import annotations

import struct
from typing import IO

from torchbce.io.files import ARROW, damaged
from torchbce.io.opened import Source

RECORD_BATCHES, HEADER, LENGTH = 3, 2, 0  # numbers of fields, in a Footer, a Message and a RecordBatch
BLOCK = 24  # bytes of a batch's entry in the footer
TAIL = 10  # the footer's size and ARROW1
CONTINUES = 0xFFFFFFFF


def largest_batch(source: Source) -> int:
    """Rows of the record batch that has most.

    Raises:
        InputError: the file is damaged.
    """
    with damaged(source.name, ARROW), source.path.open("rb") as file:
        try:
            return max((_rows(file, place) for place in _places(file)), default=0)
        except struct.error as error:
            raise ValueError(f"its footer cannot be read: {error}") from error


def _places(file: IO[bytes]) -> list[int]:
    """Where each record batch begins."""
    end = file.seek(-TAIL, 2)
    (size,) = struct.unpack("<i", file.read(4))
    if not 0 < size <= end:
        raise ValueError(f"its footer cannot have {size:,} bytes")
    file.seek(end - size)
    footer = file.read(size)
    field = _field(footer, _at("<I", footer, 0), RECORD_BATCHES)
    if field is None:
        return []
    start = field + _at("<I", footer, field)
    count = _at("<I", footer, start)
    return [_at("<q", footer, start + 4 + i * BLOCK) for i in range(min(count, size // BLOCK))]


def _rows(file: IO[bytes], place: int) -> int:
    if place < 0:
        raise ValueError(f"a record batch cannot begin at {place}")
    file.seek(place)
    (size,) = struct.unpack("<I", file.read(4))
    if size == CONTINUES:
        (size,) = struct.unpack("<I", file.read(4))
    message = file.read(size)
    header = _field(message, _at("<I", message, 0), HEADER)
    if header is None:
        return 0
    length = _field(message, header + _at("<I", message, header), LENGTH)
    return 0 if length is None else _at("<q", message, length)


def _field(content: bytes, table: int, number: int) -> int | None:
    """Where a field of a table is; None where it is left at its default."""
    fields = table - _at("<i", content, table)
    if 4 + 2 * number >= _at("<H", content, fields):
        return None
    offset = _at("<H", content, fields + 4 + 2 * number)
    return table + offset if offset else None


def _at(form: str, content: bytes, place: int) -> int:
    if place < 0:
        raise ValueError(f"its footer points to {place}")
    return int(struct.unpack_from(form, content, place)[0])
