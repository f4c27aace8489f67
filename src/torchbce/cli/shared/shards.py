"""Sums of what several runs or several processes have read."""

from __future__ import annotations

from collections.abc import Callable

from torchbce.common.errors import InputError
from torchbce.common.processes import rank_and_size
from torchbce.explanation.sketch.archive import MOST
from torchbce.explanation.sketch.gather import Part, merged
from torchbce.io.scan import open_sources


def of_all_processes(
    read: Callable[[], Part], to_bytes: Callable[[Part], bytes], from_bytes: Callable[[bytes], Part]
) -> Part | None:
    """Return what all processes have read, in the first of them; None in the others."""
    part, failure = None, None
    try:
        part = read()
    except InputError as error:
        if rank_and_size()[1] == 1:
            raise
        failure = str(error)
    whole = merged(part, failure, to_bytes, from_bytes)
    if isinstance(whole, str):
        raise InputError(whole)
    return None if rank_and_size()[0] else whole


def merged_files(names: list[str], from_bytes: Callable[[bytes], Part]) -> Part:
    """Return the sum of what other runs saved."""
    whole: Part | None = None
    with open_sources(names) as files:
        for source in files:
            try:
                size = source.path.stat().st_size
                if size > MOST:
                    raise ValueError(f"it has {size:,} bytes, and a sketch at most {MOST:,}")
                part = from_bytes(source.path.read_bytes())
                if whole is None:
                    whole = part
                else:
                    whole.merge(part)
            except (OSError, ValueError) as error:
                raise InputError(f"{source.name}: {error}") from error
    if whole is None:
        raise InputError("there is nothing to merge")
    return whole
