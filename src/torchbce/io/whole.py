"""Read a table into memory, from one file or from several with the same columns, one below the other."""

from __future__ import annotations

import hashlib

import polars as pl

from torchbce.common.errors import InputError
from torchbce.common.signals import look
from torchbce.io.files import READ_ERRORS, Table, first_line, read_raw, read_table
from torchbce.io.kinds import typed
from torchbce.io.scan import expand_names
from torchbce.io.shards import open_shards
from torchbce.io.source import Format, open_source


def read_whole(name: str, format: Format | None = None, as_text: set[str] | None = None) -> Table:
    """Read the table that a file, a pattern or a folder stands for; rows are counted through all files.

    Raises:
        InputError: as `read_table`; files with different columns.
    """
    files = expand_names([name])
    if len(files) == 1:
        return read_table(files[0], format, as_text)
    with open_shards([name], format) as shards:
        columns, label = shards.columns, shards.name
    frames, digest = [], hashlib.sha256()
    for file in files:
        look()
        with open_source(file, format) as source:
            frame, own = read_raw(source)
        frames.append(frame.select(columns))
        digest.update(own.encode())
    try:
        texts = pl.concat(frames, how="vertical_relaxed")
    except READ_ERRORS as error:
        raise InputError(f"{label}: their columns hold different things: {first_line(error)}") from error
    if not texts.height:
        raise InputError(f"{label}: a header and no rows")
    table, kinds = typed(texts, label, (format or Format()).decimal, as_text or set())
    return Table(table, label, kinds, digest.hexdigest())
