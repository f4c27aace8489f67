"""The options of `torchbce check`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Optional

import typer

from torchbce.cli.shared.options import AsJson, Cluster, CsvOptions, Logits, Probabilities, Targets, Weights, option
from torchbce.cli.shared.values import at_most_one, given, refuse_with


@dataclass(frozen=True, kw_only=True)
class CheckOptions(CsvOptions):
    """What is checked, and how that is printed."""

    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Predictions, losses per epoch, or a run folder; - is standard input.",
            show_default=False,
        ),
    ]
    target: Targets = None
    prob: Probabilities = None
    logit: Logits = None
    weight: Weights = None
    cluster: Cluster = None
    train: Annotated[Optional[str], option("The column of training losses, a row per epoch.", "COL")] = None
    valid: Annotated[Optional[str], option("The column of validation losses, beside --train.", "COL")] = None
    ignore: Annotated[list[str], option("A check to leave out; may be repeated.", "CODE")] = field(default_factory=list)
    json: AsJson = False
    sarif: Annotated[bool, option("Print SARIF, for code hosts.", name="--sarif")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most_one({"--json": self.json, "--sarif": self.sarif}, "one of them is printed")
        if self.train is not None:
            refuse_with("--train", given({"--target": self.target}), "a log of losses has no targets")

    @property
    def reading(self) -> list[str]:
        """The flags that say how a file is read and were given."""
        outputs = {"--target": self.target, "--prob": self.prob, "--logit": self.logit, "--weight": self.weight}
        others = {"--cluster": self.cluster, "--train": self.train, "--valid": self.valid}
        return given({**outputs, **others}) + self.csv_flags
