"""The options of `torchbce warmup`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from torchbce.cli.shared.options import option


@dataclass(frozen=True, kw_only=True)
class WarmupOptions:
    """Which calls of the losses are compiled."""

    losses: Annotated[
        list[str],
        option(
            "Name of a loss; may be repeated. Default: binary_cross_entropy and ..._with_logits.",
            name="--loss",
            shown=True,
        ),
    ] = field(default_factory=list)
    dtypes: Annotated[
        list[str], option("Dtype of the input; may be repeated. Default: float32.", name="--dtype", shown=True)
    ] = field(default_factory=list)
    target_dtypes: Annotated[
        list[str],
        option("Dtype of the target; may be repeated. Default: the input's.", name="--target-dtype", shown=True),
    ] = field(default_factory=list)
    tensors: Annotated[
        list[str],
        option("weight, pos_weight or mask, as a tensor; repeated ones are given together.", name="--with", shown=True),
    ] = field(default_factory=list)
