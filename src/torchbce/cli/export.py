"""`torchbce export`: a model for other runtimes."""

from __future__ import annotations

from pathlib import Path

from torchbce.cli.files_out import check_made
from torchbce.cli.output import remark
from torchbce.common.errors import OutputError
from torchbce.table.run.export.files import export


def run(folder: Path, out: Path, *, overwrite: bool) -> None:
    """Write the file and say what it takes."""
    check_made({"FILE": out}, [])
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already; name another file, or pass --overwrite")
    remark(f"saved     {out}: {export(folder, out)}")
