"""The options of `torchbce export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from torchbce.cli.shared.options import Overwrite, Run


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which model is exported, and to which file."""

    run: Run
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="model.onnx, or model.pt2 for torch.export.", show_default=False)
    ]
    overwrite: Overwrite = False
