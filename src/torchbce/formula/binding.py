"""Bind a formula to an engine's primitives."""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable, Mapping
from typing import Any

Formula = Callable[..., Any]


def bind(
    formula: Formula,
    primitives: Mapping[str, Any],
    wrap: Callable[[Formula], Any] = lambda function: function,
    number: Callable[[float], Any] = float,
) -> Any:
    """Return a copy of a formula that takes `exp`, `log`, `where` ... from an engine's primitives.

    `wrap` makes it the engine's own kind of function, and those that it calls; `number` does so with its constants,
    which in a compiled loop have a width.
    """
    names: dict[str, Any] = {"__builtins__": builtins, **primitives}
    for name in formula.__code__.co_names:
        ours = formula.__globals__.get(name)
        if isinstance(ours, types.FunctionType):
            names[name] = bind(ours, primitives, wrap, number)
        elif isinstance(ours, float):
            names[name] = number(ours)
    constants = tuple(number(c) if isinstance(c, float) else c for c in formula.__code__.co_consts)
    code = formula.__code__.replace(co_consts=constants)
    copy = types.FunctionType(code, names, formula.__name__, formula.__defaults__)
    copy.__module__ = formula.__module__
    return wrap(copy)


def names_in(formula: Formula) -> set[str]:
    """Return the names that a formula uses, with those of the functions that it calls."""
    names = set(formula.__code__.co_names)
    for name in formula.__code__.co_names:
        ours = formula.__globals__.get(name)
        if isinstance(ours, types.FunctionType):
            names |= names_in(ours)
    return names
