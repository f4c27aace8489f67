"""`torchbce predict`: predictions to the screen or to a file, batch by batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchbce.cli.predict.options import PredictOptions
from torchbce.cli.shared.files_out import check_outputs
from torchbce.cli.shared.output import LAYOUT, print_err, require_stdout
from torchbce.cli.shared.values import decision_of
from torchbce.common.errors import OutputError
from torchbce.common.text import counted
from torchbce.common.visible import visible
from torchbce.io.files import write_batches
from torchbce.table.run.predict import Predictor

if TYPE_CHECKING:
    import polars as pl


def run(options: PredictOptions) -> None:
    """Write predictions to standard output or to --out, and all else to standard error."""
    out = options.out
    if out is None:
        require_stdout()
    check_outputs({"--out": out}, [options.file])
    if out is not None and out.is_file() and not options.overwrite:
        raise OutputError(f"{out} exists already; name another file, or pass --overwrite")
    decision = decision_of(options.threshold, options.cost)
    predictor = Predictor(options.run, keys=options.keys, decision=decision)
    parts = predictor.batches(options.file, options.format)
    if out is None:
        _to_screen(parts)
        names: list[str] = []
    else:
        names = write_batches(parts, out)
    print_err(f"predicts  {predictor.target.predicted}")
    for note in predictor.notes:
        print_err(f"note      {note}")
    if predictor.bce is not None:
        print_err(f"bce       {predictor.bce:.6f} nats per item over {counted(predictor.known, 'row')}")
    if decision is not None:
        of_costs = "" if predictor.cost is None else f", {predictor.cost:.6g} per row on average"
        print_err(f"decision  {predictor.target.positive} above a probability of {decision.threshold:.6g}{of_costs}")
    if out is not None:
        print_err(f"saved     {out}: {', '.join(names)}")


def _to_screen(parts: Iterator[pl.DataFrame]) -> None:
    for i, part in enumerate(parts):
        text = part.write_csv(include_header=i == 0)
        sys.stdout.write(visible(text, LAYOUT) if sys.stdout.isatty() else text)
        sys.stdout.flush()
