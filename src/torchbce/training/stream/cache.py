"""A cache on disk: train.records, valid.records, test.records, tensors.safetensors and cache.json.

It appears whole or not at all: it is written into a hidden folder beside it, which gets its name at the end, as a run
folder does. Nothing in it is executed when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from torchbce.common.errors import OutputError
from torchbce.common.writing import sync, whole_file
from torchbce.training.run.lock import locked
from torchbce.training.stream.part_file import Part
from torchbce.training.stream.records import Layout
from torchbce.training.table.columns import Column
from torchbce.training.table.target import Target

FORMAT: Literal["torchbce-cache-3"] = "torchbce-cache-3"
CACHE_FILE, TENSORS_FILE = "cache.json", "tensors.safetensors"
MAX_CACHE_BYTES = 64 * 2**20  # of cache.json
ELSEWHERE = "name a folder on another disk with --cache DIR"


class CacheFile(BaseModel):
    """All of a cache but its rows and tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["torchbce-cache-3"] = FORMAT
    fingerprint: str
    name: str
    options: dict[str, str | int | float | bool | list[str] | None]
    target: Target
    kinds: dict[str, str]
    left_out: dict[str, str]
    notes: list[str]
    dropped: list[str]  # what is said of rows that are in no part
    columns: list[Column] = Field(max_length=100_000)
    layout: Layout
    parts: dict[str, Part]
    edges: int = Field(ge=0)
    tensors: str  # the digest of their file
    digest: str = ""  # of this file, without it

    def own_digest(self) -> str:
        """What `digest` has to be."""
        return hashlib.sha256(self.model_copy(update={"digest": ""}).model_dump_json().encode()).hexdigest()


@dataclass(frozen=True)
class Tensors:
    """The edges of every number, and a sample of the training rows."""

    edges: list[np.ndarray]
    sample: np.ndarray
    answers: np.ndarray
    weight: np.ndarray | None


class DamagedCache(Exception):
    """A cache is not what was written; the message says why."""


def write_description(draft: Path, described: CacheFile, tensors: Tensors) -> None:
    """The tensors, and, with their digest, cache.json.

    Raises:
        OSError: they cannot be written.
    """
    named = {f"edges.{i}": cuts for i, cuts in enumerate(tensors.edges)}
    named |= {"sample": tensors.sample, "answers": tensors.answers}
    if tensors.weight is not None:
        named["weight"] = tensors.weight
    content = save({name: np.ascontiguousarray(array) for name, array in named.items()})
    with whole_file(draft / TENSORS_FILE, durable=True) as file:
        file.write(content)
    described = described.model_copy(update={"tensors": hashlib.sha256(content).hexdigest()})
    described = described.model_copy(update={"digest": described.own_digest()})
    with whole_file(draft / CACHE_FILE, durable=True) as file:
        file.write(described.model_dump_json(indent=1).encode())


def read_description(folder: Path, *, verify: bool) -> tuple[CacheFile, Tensors] | None:
    """What a cache holds; None where there is none. `verify`: compare the digests of the rows too.

    Raises:
        DamagedCache: it is not what was written.
    """
    if not (folder / CACHE_FILE).is_file():
        return None
    try:
        if (folder / CACHE_FILE).stat().st_size > MAX_CACHE_BYTES:
            raise DamagedCache(f"{CACHE_FILE} is larger than {MAX_CACHE_BYTES >> 20} MiB")
        described = CacheFile.model_validate_json((folder / CACHE_FILE).read_bytes())
        if described.digest != described.own_digest():
            raise DamagedCache(f"{CACHE_FILE} was edited")
        for part in described.parts.values():
            _check_part(folder / part.file, part, described.layout, verify=verify)
        content = (folder / TENSORS_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != described.tensors:
            raise DamagedCache(f"{TENSORS_FILE} is not what was written")
        named = load(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise DamagedCache(f"{CACHE_FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (OSError, SafetensorError) as error:
        raise DamagedCache(str(error)) from error
    edges = [named[f"edges.{i}"] for i in range(described.edges)]
    return described, Tensors(edges, named["sample"], named["answers"], named.get("weight"))


def _check_part(path: Path, part: Part, layout: Layout, *, verify: bool) -> None:
    size, expected = path.stat().st_size, layout.file_bytes(part.rows)
    if size != expected:
        raise DamagedCache(f"{path.name} has {size:,} bytes, expected {expected:,}")
    if verify:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                raise DamagedCache(f"{path.name} is not what was written")


@contextlib.contextmanager
def new_cache(place: Path) -> Iterator[Path]:
    """A hidden folder to write into, which becomes `place` at the end of the block; an old cache there is replaced.

    Raises:
        OutputError: it cannot be made, something else is there, or another run is making it.
    """
    if place.exists() and not (place / CACHE_FILE).is_file() and not (place.is_dir() and not any(place.iterdir())):
        raise OutputError(f"{place} exists and is no cache; name another folder with --cache DIR, or remove it")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place) as mine:
            if not mine:
                raise OutputError(f"{place} is about to be made by another run; wait for it, or {ELSEWHERE}")
            for left in _left_by(place):
                shutil.rmtree(left, ignore_errors=True)
            draft = place.with_name(f".{place.name}.draft-{secrets.token_hex(8)}")
            draft.mkdir()
            try:
                yield draft
                sync(draft)
                _put(draft, place)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}; {ELSEWHERE}") from error


def _left_by(place: Path) -> list[Path]:
    """Drafts of runs that were killed."""
    return [path for path in place.parent.iterdir() if path.name.startswith(f".{place.name}.draft-")]


def _put(draft: Path, place: Path) -> None:
    """The draft under its name, in the place of what was there."""
    old = draft.with_name(f"{draft.name}-old")
    try:
        if place.exists():
            os.rename(place, old)
        os.rename(draft, place)
    except BaseException:
        if old.exists() and not place.exists():
            os.rename(old, place)
        raise
    sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)
