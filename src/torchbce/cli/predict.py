"""`torchbce predict`: predictions to the screen or to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from torchbce.cli.output import remark
from torchbce.common.errors import OutputError
from torchbce.common.writing import is_same_file
from torchbce.explanation.render.text import counted
from torchbce.training.predict import predict
from torchbce.training.table.files import write_table
from torchbce.training.table.opened import Format


def run(folder: Path, file: str, out: Path | None, format: Format, *, overwrite: bool) -> None:
    """Predictions go to standard output or to `out`, all else to standard error."""
    if out is not None and is_same_file(out, Path(file)):
        raise typer.BadParameter(f"--out {out} is the table that is read; name another file")
    if out is not None and out.is_file() and not overwrite:
        raise OutputError(f"{out} exists already; name another file, or pass --overwrite")
    predictions = predict(folder, file, format)
    for note in predictions.notes:
        remark(f"note      {note}")
    if predictions.bce is not None:
        remark(f"bce       {predictions.bce:.6f} nats per item over {counted(predictions.known, 'row')}")
    if out is None:
        sys.stdout.write(predictions.table.write_csv())
        sys.stdout.flush()
    else:
        write_table(predictions.table, out)
        remark(f"saved     {out}: {', '.join(predictions.table.columns)}")
