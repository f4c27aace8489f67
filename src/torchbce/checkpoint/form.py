"""The form that a state must have before a run goes on with it: digests do not say that it is this run's.

A form is a tree: a dict has the same keys as the state, a list or tuple the same length; leaves are the classes below,
`float`, `bool` and `str`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Array:
    """A tensor of a shape, where None allows any length."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Whole:
    """An integer from 0 to `most`."""

    most: int = 2**63 - 1


@dataclass(frozen=True)
class Maybe:
    """A form, or None."""

    form: Any


@dataclass(frozen=True)
class Each:
    """A list of any length, each item of one form."""

    form: Any


@dataclass(frozen=True)
class Values:
    """A dict with any texts as keys, each value of one form."""

    form: Any


def require(state: Any, form: Any, name: str) -> None:
    """Raise unless a state has the form.

    Raises:
        ValueError: the part that differs, with its name, and what is expected.
    """
    if isinstance(form, Maybe):
        if state is not None:
            require(state, form.form, name)
    elif isinstance(form, Array):
        fits = isinstance(state, Tensor) and state.dtype == form.dtype and state.ndim == len(form.shape)
        if not fits or any(n not in (None, size) for n, size in zip(form.shape, state.shape, strict=True)):
            raise ValueError(f"{name} is {_shown(state)}, expected {form.dtype} {_sizes(form.shape)}")
    elif isinstance(form, Whole):
        if not isinstance(state, int) or isinstance(state, bool) or not 0 <= state <= form.most:
            raise ValueError(f"{name} is {_shown(state)}, expected a whole number from 0 to {form.most}")
    elif isinstance(form, Each):
        require(state, [form.form] * (len(state) if isinstance(state, list) else 0), name)
    elif isinstance(form, list | tuple):
        if not isinstance(state, type(form)) or len(state) != len(form):
            raise ValueError(f"{name} is {_shown(state)}, expected a {type(form).__name__} of {len(form)}")
        for i, part in enumerate(state):
            require(part, form[i], f"{name}[{i}]")
    elif isinstance(form, Values | dict):
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise ValueError(f"{name} is {_shown(state)}, expected parts by name")
        if isinstance(form, dict) and state.keys() != form.keys():
            raise ValueError(f"{name} has {', '.join(state) or 'nothing'}; expected {', '.join(form)}")
        for key, part in state.items():
            require(part, form[key] if isinstance(form, dict) else form.form, f"{name}.{key}")
    elif form is float:
        whole = isinstance(state, int) and not isinstance(state, bool) and abs(state) <= sys.float_info.max
        if not whole and not isinstance(state, float):
            raise ValueError(f"{name} is {_shown(state)}, expected a number")
    elif not isinstance(state, form):
        raise ValueError(f"{name} is {_shown(state)}, expected a {'text' if form is str else form.__name__}")


def _shown(state: Any) -> str:
    if isinstance(state, Tensor):
        return f"{state.dtype} {tuple(state.shape)}"
    if isinstance(state, list | tuple | dict):
        return f"a {type(state).__name__} of {len(state)}"
    text = str(state)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _sizes(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' * (len(shape) == 1)})"
