"""`torchbce predict`: predictions to the screen or to a file, batch by batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torchbce.cli.files_out import check_made
from torchbce.cli.options import decision_of
from torchbce.cli.output import LAYOUT, remark
from torchbce.common.errors import OutputError
from torchbce.common.text import counted
from torchbce.common.visible import visible
from torchbce.io.files import write_batches
from torchbce.io.opened import Format
from torchbce.table.run.predict import Predictor

if TYPE_CHECKING:
    import polars as pl


def run(
    folder: Path,
    file: str,
    out: Path | None,
    format: Format,
    *,
    overwrite: bool,
    keys: list[str],
    threshold: float | None,
    cost: str | None,
) -> None:
    """Predictions go to standard output or to `out`, all else to standard error."""
    check_made({"--out": out}, [file])
    if out is not None and out.is_file() and not overwrite:
        raise OutputError(f"{out} exists already; name another file, or pass --overwrite")
    decision = decision_of(threshold, cost)
    predictor = Predictor(folder, keys=keys, decision=decision)
    parts = predictor.batches(file, format)
    if out is None:
        _to_screen(parts)
        names: list[str] = []
    else:
        names = write_batches(parts, out)
    remark(f"predicts  {predictor.target.predicted}")
    for note in predictor.notes:
        remark(f"note      {note}")
    if predictor.bce is not None:
        remark(f"bce       {predictor.bce:.6f} nats per item over {counted(predictor.known, 'row')}")
    if decision is not None:
        of_costs = "" if predictor.cost is None else f", {predictor.cost:.6g} per row on average"
        remark(f"decision  {predictor.target.positive} above a probability of {decision.threshold:.6g}{of_costs}")
    if out is not None:
        remark(f"saved     {out}: {', '.join(names)}")


def _to_screen(parts: Iterator[pl.DataFrame]) -> None:
    for i, part in enumerate(parts):
        text = part.write_csv(include_header=i == 0)
        sys.stdout.write(visible(text, LAYOUT) if sys.stdout.isatty() else text)
        sys.stdout.flush()
