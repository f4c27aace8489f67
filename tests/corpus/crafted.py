"""What somebody may write into files on purpose: other values, kinds and sizes, as a generator draws them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

FILES = int(os.environ.get("TORCHBCE_FUZZ", 160)) // 4
PARTS = 4  # for the processes that share the tests
SEEDS = [  # two parts have every file and every checkpoint
    pytest.param(range(part, FILES, PARTS), marks=[pytest.mark.combination] if part > 1 else [])
    for part in range(PARTS)
]

NUMBERS = (0, -1, 1, 2, 31, 500, 2**31 - 1, -(2**31), 2**63, -1.0, 0.5, 1e-320, 1e38, 1e308, -1e308, 1e400, -(10**400))
TEXTS = ("", "x", "\x1b[31m", "/etc/passwd", "../../x", "\0", "é" * 300, "1", "true", "nan", "-", "[0]", "^.*$", "$x$")
DTYPES = ("<f4", "<f8", "<f2", "<i4", "<i8", "<i2", "|u1", "|b1", "<u2", "<u4")


def changed_json(whole: Any, rng: np.random.Generator) -> Any:
    """JSON with one place changed; the argument is not touched."""
    places = list(_places(whole, ()))
    path = places[int(rng.integers(len(places)))]
    return _replaced(whole, path, rng)


def _places(part: Any, path: tuple) -> Any:
    yield path
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _replaced(part: Any, path: tuple, rng: np.random.Generator) -> Any:
    if not path:
        return _other(part, rng)
    copy = dict(part) if isinstance(part, dict) else list(part)
    copy[path[0]] = _replaced(part[path[0]], path[1:], rng)
    return tuple(copy) if isinstance(part, tuple) else copy


def changed_state(whole: Any, rng: np.random.Generator) -> Any:
    """The state of a checkpoint with one place changed; every second time a tensor."""
    places = list(_places(whole, ()))
    tensors = [path for path in places if isinstance(_at(whole, path), torch.Tensor)]
    some = tensors if tensors and rng.random() < 0.5 else places
    return _replaced(whole, some[int(rng.integers(len(some)))], rng)


def _at(part: Any, path: tuple) -> Any:
    for key in path:
        part = part[key]
    return part


def _other(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, torch.Tensor) and rng.random() < 0.9:
        found = changed_arrays({"it": value.numpy()}, rng).get("it", np.zeros(0, np.float32))
        return torch.from_numpy(np.ascontiguousarray(found))
    if isinstance(value, tuple) and rng.random() < 0.8:
        return tuple(_other_list(list(value), rng))
    if isinstance(value, list) and rng.random() < 0.8:
        return _other_list(value, rng)
    if isinstance(value, dict) and value and rng.random() < 0.8:
        return _other_dict(value, rng)
    if isinstance(value, bool) and rng.random() < 0.7:
        return not value
    if isinstance(value, int | float) and rng.random() < 0.8:
        return NUMBERS[int(rng.integers(len(NUMBERS)))] if rng.random() < 0.7 else value + int(rng.integers(-3, 4))
    if isinstance(value, str) and rng.random() < 0.8:
        return TEXTS[int(rng.integers(len(TEXTS)))]
    kinds = (None, True, 3, 1.5, "x", [], {}, [1], {"a": 1}, [[]], NUMBERS[int(rng.integers(len(NUMBERS)))])
    return kinds[int(rng.integers(len(kinds)))]


def _other_list(value: list, rng: np.random.Generator) -> list:
    place = int(rng.integers(max(1, len(value))))
    ways = (
        [],
        value[:place],
        value[place:],
        value[:place] + value[place + 1 :],
        value + value[place : place + 1],  # one repeats
        value * 2,
        value[::-1],
        [*value, None],
        [value],
    )
    return ways[int(rng.integers(len(ways)))]


def _other_dict(value: dict, rng: np.random.Generator) -> dict:
    keys = list(value)
    one, other = (keys[int(rng.integers(len(keys)))] for _ in range(2))
    ways = (
        {key: item for key, item in value.items() if key != one},
        {**value, "extra": 1},
        {**value, one: value[other], other: value[one]},
        {("x" if key == one else key): item for key, item in value.items()},
    )
    return ways[int(rng.integers(len(ways)))]


def changed_arrays(whole: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays by name with one of them changed; those of the argument are not touched."""
    names = sorted(whole)
    name, other = (names[int(rng.integers(len(names)))] for _ in range(2))
    value, found = whole[name], dict(whole)
    way = int(rng.integers(9))
    if way == 0:
        del found[name]
    elif way == 1:
        found["extra"] = value
    elif way == 2:
        found[name], found[other] = found[other], found[name]
    elif way == 3:
        if value.dtype.kind in "fiub":
            with np.errstate(all="ignore"):
                found[name] = value.astype(DTYPES[int(rng.integers(len(DTYPES)))])
    elif way == 4:
        found[name] = value.reshape(-1)[: int(rng.integers(value.size + 1))]
    elif way == 5:
        found[name] = value.T if value.ndim > 1 else value[..., None]
    elif way == 6:
        found[name] = np.concatenate([value.reshape(-1), value.reshape(-1)])
    else:
        found[name] = spoilt(value, rng)
    return found


def spoilt(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With some elements that nobody meant, or all of them."""
    copy = value.copy()
    if not copy.size or not copy.ndim:
        return copy
    count = copy.size if rng.random() < 0.2 else int(rng.integers(1, min(copy.size, 6) + 1))
    places = rng.choice(copy.size, count, replace=False)
    if copy.dtype.kind == "f":
        extremes = (np.nan, np.inf, -np.inf, -1.0, 0.5, 3e38, -3e38, 1e-40, 0.0, 1e6)
    elif copy.dtype.kind in "iu":
        limits = np.iinfo(copy.dtype)
        extremes = (limits.min, limits.max, 0, 1, 31, min(500, limits.max), limits.max // 2, limits.min // 2)
    else:
        return copy[::-1]
    copy.reshape(-1)[places] = extremes[int(rng.integers(len(extremes)))]
    return copy


def dense(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As safetensors wants them."""
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}
