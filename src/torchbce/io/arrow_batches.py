"""Read how many rows the record batches of an Arrow file have, from its footer and their headers; none is decoded.

Both are flatbuffers: a table begins with the distance back to a list of where its fields are. See File.fbs,
Message.fbs and "IPC File Format" in the columnar format of Apache Arrow.
"""

from __future__ import annotations

import struct
from typing import IO

from torchbce.io.files import translate_read_errors
from torchbce.io.signatures import ARROW
from torchbce.io.source import SourceFile

RECORD_BATCHES, HEADER, LENGTH = 3, 2, 0  # numbers of fields, in a Footer, a Message and a RecordBatch
FOOTER_ENTRY = 24  # bytes of a batch's entry in the footer
FOOTER_TAIL = 10  # the footer's size and ARROW1
CONTINUES = 0xFFFFFFFF


def largest_batch(source: SourceFile) -> int:
    """Return the number of rows of the largest record batch.

    Raises:
        InputError: the file is damaged.
    """
    with translate_read_errors(source.name, ARROW), source.path.open("rb") as file:
        try:
            return max((_row_count(file, offset) for offset in _batch_offsets(file)), default=0)
        except struct.error as error:
            raise ValueError(f"its footer cannot be read: {error}") from error


def _batch_offsets(file: IO[bytes]) -> list[int]:
    """Return the byte at which each record batch begins."""
    end = file.seek(-FOOTER_TAIL, 2)
    (size,) = struct.unpack("<i", file.read(4))
    if not 0 < size <= end:
        raise ValueError(f"its footer cannot have {size:,} bytes")
    file.seek(end - size)
    footer = file.read(size)
    field = _field_offset(footer, _unpack("<I", footer, 0), RECORD_BATCHES)
    if field is None:
        return []
    start = field + _unpack("<I", footer, field)
    count = _unpack("<I", footer, start)
    return [_unpack("<q", footer, start + 4 + i * FOOTER_ENTRY) for i in range(min(count, size // FOOTER_ENTRY))]


def _row_count(file: IO[bytes], offset: int) -> int:
    """Read the number of rows from the header of the record batch that begins at a byte."""
    if offset < 0:
        raise ValueError(f"a record batch cannot begin at {offset}")
    file.seek(offset)
    (size,) = struct.unpack("<I", file.read(4))
    if size == CONTINUES:
        (size,) = struct.unpack("<I", file.read(4))
    message = file.read(size)
    header = _field_offset(message, _unpack("<I", message, 0), HEADER)
    if header is None:
        return 0
    length = _field_offset(message, header + _unpack("<I", message, header), LENGTH)
    return 0 if length is None else _unpack("<q", message, length)


def _field_offset(content: bytes, table: int, number: int) -> int | None:
    """Return where a field of a table is; None where it is left at its default."""
    fields = table - _unpack("<i", content, table)
    if 4 + 2 * number >= _unpack("<H", content, fields):
        return None
    offset = _unpack("<H", content, fields + 4 + 2 * number)
    return table + offset if offset else None


def _unpack(form: str, content: bytes, offset: int) -> int:
    if offset < 0:
        raise ValueError(f"its footer points to {offset}")
    return int(struct.unpack_from(form, content, offset)[0])
