"""The options of `torchbce predict`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Optional

import typer

from torchbce.cli.shared.options import Cost, CsvOptions, Overwrite, Run, Table, Threshold, option


@dataclass(frozen=True, kw_only=True)
class PredictOptions(CsvOptions):
    """Which model predicts which rows, and where the predictions go."""

    run: Run
    file: Table
    out: Annotated[Optional[Path], option("The CSV or Parquet file to write.", "FILE", shown="CSV to the screen")] = (
        None
    )
    overwrite: Overwrite = False
    keys: Annotated[
        list[str], option("A column to copy beside the predictions; may be repeated.", "COL", name="--key")
    ] = field(default_factory=list)
    threshold: Threshold = None
    cost: Cost = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overwrite and self.out is None:
            raise typer.BadParameter("--overwrite replaces the file that --out names, and --out is missing")
