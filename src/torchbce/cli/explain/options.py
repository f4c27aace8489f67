"""The options of `torchbce explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Optional

import typer

from torchbce.cli.shared.options import Cost, Logits, Probabilities, Targets, Threshold, option
from torchbce.cli.shared.prediction_options import PredictionOptions


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(PredictionOptions):
    """Which predictions are explained, and by what."""

    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Predictions: CSV, Parquet or Arrow files, 'patterns*', - for standard input; or a run folder.",
            show_default=False,
        ),
    ]
    target: Targets = None
    prob: Probabilities = None
    logit: Logits = None
    by: Annotated[Optional[str], option("A column of groups: which of them carries the loss?", "COL")] = None
    slices: Annotated[bool, option("Find the slices of the other columns that carry excess loss.", name="--slices")] = (
        False
    )
    table: Annotated[Optional[str], option("The table of a run folder, if it is not beside the folder.", "FILE")] = None
    threshold: Threshold = None
    cost: Cost = None
    top: Annotated[int, option("How many of the worst items to show.", shown=True, min=0, max=1000)] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        outputs = {"--target": self.target, "--prob": self.prob, "--logit": self.logit}
        self.refuse_with_merge({**outputs, "--by": self.by, "--table": self.table})
        if self.slices and self.markdown:
            raise typer.BadParameter("--slices and --markdown were both given; slices are printed as text or --json")
        if self.table is not None and not (self.slices or self.by or self.cluster or self.weight):
            raise typer.BadParameter(
                f"--table {self.table} is read only for --by, --cluster, --weight or --slices; name one of them too"
            )
