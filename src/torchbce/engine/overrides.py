"""Support torch's overrides as torch's functions do: subclasses, modes, `torch.fx.symbolic_trace`, scripts.

A handler is offered torchbce's function. One that knows only torch's own of the same name is offered that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from torchbce.engine.options import Range, check_ranges, known, spell_out

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["handled", "has_torch_function_variadic", "loss_function", "not_compiled", "scripted_as"]


def handled(
    function: Callable[..., Tensor],
    torchs: Callable[..., Tensor] | None,
    tensors: tuple[Any, ...],
    *args: Any,
    **own: Any,
) -> Tensor:
    """Return the result of the overrides of `tensors`, or of active modes, for ``function(*args, **own)``."""
    for offered in _offers(function, torchs):
        try:
            return handle_torch_function(offered, tensors, *args, **own)
        except TypeError as error:
            if torchs is None or not str(error).startswith("no implementation found"):
                raise
            refused = error
    if torchs is None or own:
        raise refused
    return torchs(*args)


def _offers(function: Callable[..., Tensor], torchs: Callable[..., Tensor] | None) -> list[Callable[..., Tensor]]:
    """Return the functions to offer, in order: under a patch, torch's function that this one replaces comes first."""
    if torchs is not None:
        named = getattr(torch.nn.functional, torchs.__name__)
        if hasattr(named, "torchs"):
            return [named, function]
    return [function]


def scripted_as(original: Callable[..., Tensor]) -> Callable[[F], F]:
    """Let `torch.jit.script` compile `original` instead: its language has neither our options nor our kernels."""

    def marked(function: F) -> F:
        function.__prepare_scriptable__ = lambda: original  # type: ignore[attr-defined]
        return function

    return marked


def not_compiled(reason: str) -> Callable[[F], F]:
    """Keep the function out of `torch.compile`'s graph, with a reason for `fullgraph=True`."""
    options = {"reason": reason} if "reason" in inspect.signature(torch.compiler.disable).parameters else {}

    def marked(function: F) -> F:
        return torch.compiler.disable(function, **options)  # type: ignore[no-untyped-call, no-any-return]

    return marked


def loss_function(**ranges: Range) -> Callable[[F], F]:
    """Decorate a public loss: refuse options out of range and support torch's overrides."""

    def decorated(function: F) -> F:
        parameters = inspect.signature(function).parameters.values()
        own = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD][2:]  # after input and target

        @functools.wraps(function)
        def checked(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:
            if has_torch_function_variadic(input, target):
                return handled(checked, None, (input, target), input, target, *args, **options)
            known(options, own)  # type: ignore[arg-type]
            check_ranges(ranges, options)
            return function(input, target, *args, **options)  # type: ignore[no-any-return]

        checked.ranges = ranges  # type: ignore[attr-defined]
        spell_out(checked, function)
        return checked  # type: ignore[return-value]

    return decorated
