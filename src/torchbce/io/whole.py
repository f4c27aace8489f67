"""A table in memory, of one file or of several with the same columns, one below the other."""

from __future__ import annotations

import hashlib

import polars as pl

from torchbce.common.errors import InputError
from torchbce.common.signals import look
from torchbce.io.files import READ_ERRORS, Table, first_line, read_raw, read_table
from torchbce.io.kinds import typed
from torchbce.io.opened import Format, opened
from torchbce.io.scan import files_of
from torchbce.io.shards import shards_of


def read_whole(name: str, format: Format | None = None, as_text: set[str] | None = None) -> Table:
    """What a file, a pattern or a folder of tables stands for; rows are counted through all of them.

    Raises:
        InputError: as `read_table`; files with different columns.
    """
    files = files_of([name])
    if len(files) == 1:
        return read_table(files[0], format, as_text)
    with shards_of([name], format) as shards:
        columns, whole = shards.columns, shards.name
    frames, digest = [], hashlib.sha256()
    for file in files:
        look()
        with opened(file, format) as source:
            frame, own = read_raw(source)
        frames.append(frame.select(columns))
        digest.update(own.encode())
    try:
        together = pl.concat(frames, how="vertical_relaxed")
    except READ_ERRORS as error:
        raise InputError(f"{whole}: their columns hold different things: {first_line(error)}") from error
    if not together.height:
        raise InputError(f"{whole}: a header and no rows")
    table, kinds = typed(together, whole, (format or Format()).decimal, as_text or set())
    return Table(table, whole, kinds, digest.hexdigest())
