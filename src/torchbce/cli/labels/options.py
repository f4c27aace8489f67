"""The options of `torchbce labels`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer

from torchbce.cli.shared.options import TARGET, AsJson, CsvOptions, Logits, Only, Probabilities, Weights, option


@dataclass(frozen=True, kw_only=True)
class LabelsOptions(CsvOptions):
    """Which labels are looked at, and where the suspects go."""

    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Predictions by models that have not seen the item, or a run folder; - is standard input.",
            show_default=False,
        ),
    ]
    target: Annotated[str, option("The column of labels, 0 or 1.", "COL", shown=True)] = TARGET
    prob: Probabilities = None
    logit: Logits = None
    weight: Weights = None
    only: Only = None
    top: Annotated[int, option("How many suspects to keep.", shown=True, min=1, max=100_000)] = 100
    out: Annotated[Optional[Path], option("Write the suspects to a .csv or .parquet file.", "FILE")] = None
    json: AsJson = False
