"""What a state has to look like before a run goes on with it: digests do not say that it is this run's.

A form is a tree: a dict has just these keys, a list or tuple as many parts; leaves: below, `float`, `bool`, `str`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Array:
    """A tensor; None: of any length there."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Whole:
    """A number from 0."""

    most: int = 2**63 - 1


@dataclass(frozen=True)
class Maybe:
    """Or None."""

    form: Any


@dataclass(frozen=True)
class Each:
    """A list of any length."""

    form: Any


@dataclass(frozen=True)
class Values:
    """A dict with any texts as keys."""

    form: Any


def require(found: Any, form: Any, place: str) -> None:
    """Raise unless a state has the form.

    Raises:
        ValueError: what is where, and what is expected there.
    """
    if isinstance(form, Maybe):
        if found is not None:
            require(found, form.form, place)
    elif isinstance(form, Array):
        fits = isinstance(found, Tensor) and found.dtype == form.dtype and found.ndim == len(form.shape)
        if not fits or any(n not in (None, size) for n, size in zip(form.shape, found.shape, strict=True)):
            raise ValueError(f"{place} is {_shown(found)}, expected {form.dtype} {_sizes(form.shape)}")
    elif isinstance(form, Whole):
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= form.most:
            raise ValueError(f"{place} is {_shown(found)}, expected a whole number from 0 to {form.most}")
    elif isinstance(form, Each):
        require(found, [form.form] * (len(found) if isinstance(found, list) else 0), place)
    elif isinstance(form, list | tuple):
        if not isinstance(found, type(form)) or len(found) != len(form):
            raise ValueError(f"{place} is {_shown(found)}, expected a {type(form).__name__} of {len(form)}")
        for i, part in enumerate(found):
            require(part, form[i], f"{place}[{i}]")
    elif isinstance(form, Values | dict):
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise ValueError(f"{place} is {_shown(found)}, expected parts by name")
        if isinstance(form, dict) and found.keys() != form.keys():
            raise ValueError(f"{place} has {', '.join(found) or 'nothing'}; expected {', '.join(form)}")
        for key, part in found.items():
            require(part, form[key] if isinstance(form, dict) else form.form, f"{place}.{key}")
    elif form is float:
        whole = isinstance(found, int) and not isinstance(found, bool) and abs(found) <= sys.float_info.max
        if not whole and not isinstance(found, float):
            raise ValueError(f"{place} is {_shown(found)}, expected a number")
    elif not isinstance(found, form):
        raise ValueError(f"{place} is {_shown(found)}, expected a {'text' if form is str else form.__name__}")


def _shown(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"{found.dtype} {tuple(found.shape)}"
    if isinstance(found, list | tuple | dict):
        return f"a {type(found).__name__} of {len(found)}"
    text = str(found)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _sizes(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)}{',' * (len(shape) == 1)})"
