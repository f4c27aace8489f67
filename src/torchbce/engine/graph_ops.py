"""Define operations that torch.compile puts into its graph whole, for calls that are transformed.

It traces neither derivatives of one's own under `vmap` nor what looks beneath a transform. As operations both are run
as Python when the graph is taken apart, with the transforms in force, and leave torch's own operations, which it fuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torchbce.engine import torch_internals

_LIBRARY = torch.library.Library("torchbce", "DEF")  # type: ignore[no-untyped-call]


def needed() -> bool:
    """Return whether torch.compile traces a call that is transformed."""
    return (
        torch.compiler.is_compiling()
        and torch_internals.MISSING is None
        and (torch_internals.transforms_active() or torch_internals.forward_mode_active())
    )


def graph_op(schema: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as an operation of that name and signature, called before torch.func unwraps them."""
    name = _LIBRARY.define(schema)  # type: ignore[no-untyped-call]
    for key in ("CompositeImplicitAutograd", torch_internals.BEFORE_TRANSFORMS):
        _LIBRARY.impl(name, function, key)  # type: ignore[no-untyped-call]
    return getattr(torch.ops.torchbce, name)  # type: ignore[no-any-return]
