"""The files that commands write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from torchbce.common.errors import OutputError
from torchbce.common.processes import rank_and_size
from torchbce.common.writing import is_same_file, obstacle


def check_outputs(outputs: Mapping[str, Path | None], inputs: list[str]) -> None:
    """Check before the work that the file of each option can be written and is none of those that are read.

    Raises:
        OutputError: it cannot be written.
    """
    for option, path in outputs.items():
        if path is None:
            continue
        if any(is_same_file(path, Path(name)) for name in inputs):
            raise typer.BadParameter(f"{option} {path} is one of the files that are read; name another")
        why = None if rank_and_size()[0] else obstacle(path)  # the first of several processes writes
        if why is not None:
            raise OutputError(f"{path} cannot be written: {why}; name another file with {option}")
