"""The options of `torchbce warmup`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer


@dataclass(frozen=True, kw_only=True)
class WarmupOptions:
    """Which calls of the losses are compiled."""

    losses: Annotated[
        list[str],
        typer.Option(
            "--loss", help="Name of a loss; may be repeated. Default: binary_cross_entropy and ..._with_logits."
        ),
    ] = field(default_factory=list)
    dtypes: Annotated[
        list[str], typer.Option("--dtype", help="Dtype of the input; may be repeated. Default: float32.")
    ] = field(default_factory=list)
    target_dtypes: Annotated[
        list[str], typer.Option("--target-dtype", help="Dtype of the target; may be repeated. Default: the input's.")
    ] = field(default_factory=list)
    tensors: Annotated[
        list[str],
        typer.Option("--with", help="weight, pos_weight or mask, as a tensor; repeated ones are given together."),
    ] = field(default_factory=list)
