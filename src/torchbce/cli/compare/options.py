"""The options of `torchbce compare`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Optional

import typer

from torchbce.cli.shared.options import Targets, option
from torchbce.cli.shared.prediction_options import PredictionOptions
from torchbce.cli.shared.values import at_most_one, given, refuse_with


@dataclass(frozen=True, kw_only=True)
class CompareOptions(PredictionOptions):
    """Which predictions are compared, and how items are paired."""

    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Predictions of the same items: a file or run folder for each model, or one file for all.",
            show_default=False,
        ),
    ]
    target: Targets = None
    probs: Annotated[
        list[str], option("The column of probabilities; repeated for each model of one file.", "COL", name="--prob")
    ] = field(default_factory=list)
    logits: Annotated[
        list[str], option("The column of logits; repeated for each model of one file.", "COL", name="--logit")
    ] = field(default_factory=list)
    key: Annotated[Optional[str], option("A column that names each item, in every file.", "COL", shown="by row")] = None
    by: Annotated[Optional[str], option("A column of groups, or with --every of dates.", "COL")] = None
    periods: Annotated[
        bool, option("Two files of different items: what changed from the first to the second?", name="--periods")
    ] = False
    every: Annotated[
        Optional[str], option("One model over time; --by names the column of dates.", "day|week|month|quarter|year")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most_one(
            {"--periods": self.periods, "--every": self.every},
            "--periods compares two files, --every the dates in one column",
        )
        if self.over_periods:
            same_items = {"--key": self.key, "--merge": self.merge, "--save": self.save, "--markdown": self.markdown}
            refuse_with("--periods" if self.periods else "--every", given(same_items), "it compares different items")
        outputs = {"--target": self.target, "--prob": self.probs, "--logit": self.logits}
        self.refuse_with_merge({**outputs, "--key": self.key, "--by": self.by})
        if self.key is not None and len(self.files) == 1:
            raise typer.BadParameter(f"--key {self.key} joins several files; {self.files[0]} is one")

    @property
    def over_periods(self) -> bool:
        """Whether one model is compared on different items."""
        return self.periods or self.every is not None
