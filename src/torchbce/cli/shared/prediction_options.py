"""The options of `explain` and `compare`: which predictions are read, and in which form the result comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

from torchbce.cli.shared.options import TARGET, AsJson, Cluster, CsvOptions, Only, Weights, option
from torchbce.cli.shared.values import at_most_one, given, only_of, refuse_with

if TYPE_CHECKING:
    from torchbce.io.predictions import PredictionColumns


@dataclass(frozen=True, kw_only=True)
class PredictionOptions(CsvOptions):
    """Columns of predictions, sums of several runs, and forms of the result."""

    weight: Weights = None
    cluster: Cluster = None
    only: Only = None
    merge: Annotated[bool, option("Add up files that --save wrote.", name="--merge")] = False
    save: Annotated[Optional[Path], option("Save what was read, for --merge.", "FILE")] = None
    html: Annotated[Optional[Path], option("Write a page to this file.", "FILE")] = None
    json: AsJson = False
    markdown: Annotated[bool, option("Print Markdown.", name="--markdown")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most_one({"--json": self.json, "--markdown": self.markdown}, "one of them is printed")

    def refuse_with_merge(self, others: Mapping[str, object]) -> None:
        """Refuse options of reading, these and others, where saved files are added up."""
        shared = {"--weight": self.weight, "--cluster": self.cluster, "--only": self.only}
        if self.merge:
            flags = given({**others, **shared}) + self.csv_flags
            refuse_with("--merge", flags, "the saved files hold what was read")

    def columns(self, target: str | None, outputs: str, from_logits: bool, **others: Any) -> PredictionColumns:
        """Return the columns to read."""
        from torchbce.io.predictions import PredictionColumns

        return PredictionColumns(
            outputs,
            target or TARGET,
            from_logits,
            weight=self.weight,
            only=only_of(self.only),
            cluster=self.cluster,
            **others,
        )

    def text_of(self, result: Any) -> str:
        """Return a result in the form that is asked for."""
        if self.json:
            return json.dumps(result.to_dict(), indent=1)
        return str(result.to_markdown() if self.markdown else result)
