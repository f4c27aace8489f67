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
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from torchbce.common.errors import OutputError
from torchbce.common.lock import locked
from torchbce.common.ownership import is_others, is_own
from torchbce.common.writing import naming, sync, whole_file
from torchbce.table.packed.description import CacheFile, EncodedSample
from torchbce.table.packed.part_file import PRIVATE, Part
from torchbce.table.packed.records import Layout

CACHE_FILE, TENSORS_FILE = "cache.json", "tensors.safetensors"
MAX_CACHE_BYTES, MAX_TENSORS_BYTES = 64 * 2**20, 64 * 2**30  # a sample of 200,000 rows of 80,000 numbers fits
READING = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
ELSEWHERE = "name a folder on another disk with --cache DIR"


class UnusableCache(Exception):
    """A cache is not what was written, or others could have written it; the message says why."""


def write_description(draft: Path, described: CacheFile, sample: EncodedSample) -> None:
    """Write the tensors and, with their digest, cache.json.

    Raises:
        OSError: they cannot be written.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in sample.named().items()})
    with whole_file(draft / TENSORS_FILE, PRIVATE, durable=True) as file:
        file.write(content)
    described = described.model_copy(update={"tensors": hashlib.sha256(content).hexdigest()})
    described = described.model_copy(update={"digest": described.own_digest()})
    with whole_file(draft / CACHE_FILE, PRIVATE, durable=True) as file:
        file.write(described.model_dump_json(indent=1).encode())


def read_description(folder: Path, fingerprint: str) -> tuple[CacheFile, EncodedSample] | None:
    """Return what a cache holds, with all digests checked; None where there is no cache, or one of other data.

    Raises:
        UnusableCache: it is not what was written, or others could have written it.
    """
    if not (folder / CACHE_FILE).is_file():
        return None
    try:
        _require_own(folder.name, folder.stat())
        described = CacheFile.model_validate_json(_read(folder / CACHE_FILE, MAX_CACHE_BYTES))
        if described.digest != described.own_digest():
            raise UnusableCache(f"{CACHE_FILE} was edited")
        if described.fingerprint != fingerprint:
            return None
        content = _read(folder / TENSORS_FILE, MAX_TENSORS_BYTES)
        if hashlib.sha256(content).hexdigest() != described.tensors:
            raise UnusableCache(f"{TENSORS_FILE} is not what was written")
        sample = EncodedSample.of(load(content), described)
        with ThreadPoolExecutor(len(described.parts)) as threads:
            parts = described.parts.values()
            for checked in [threads.submit(_check_part, folder, part, described.layout) for part in parts]:
                checked.result()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnusableCache(f"{CACHE_FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (OSError, SafetensorError, ValueError, KeyError) as error:  # numpy has no such elements: a KeyError
        raise UnusableCache(str(error)) from error
    return described, sample


def _check_part(folder: Path, part: Part, layout: Layout) -> None:
    expected = layout.file_bytes(part.rows)
    with _opened(folder / part.file) as file:
        size = os.fstat(file.fileno()).st_size
        if size != expected:
            raise UnusableCache(f"{part.file} has {size:,} bytes, expected {expected:,}")
        if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
            raise UnusableCache(f"{part.file} is not what was written")


def _read(path: Path, most: int) -> bytes:
    with _opened(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise UnusableCache(f"{path.name} is larger than {most >> 20:,} MiB")
        return file.read()


def _opened(path: Path) -> BufferedReader:
    """Open a file that belongs to this user and is no link."""
    file = os.fdopen(os.open(path, READING), "rb")
    try:
        _require_own(path.name, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def _require_own(name: str, status: os.stat_result) -> None:
    if not is_own(status):
        raise UnusableCache(f"{name} is another user's, or others can write to it; a cache is to be yours alone")


@contextlib.contextmanager
def new_cache(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder to write into, which becomes `folder` at the end; an old cache there is replaced.

    Raises:
        OutputError: it cannot be made, something else is there, or another run is making it.
    """
    if folder.exists() and not (folder / CACHE_FILE).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is no cache; name another folder with --cache DIR, or remove it")
    if folder.exists() and is_others(folder.stat()):
        raise OutputError(f"{folder} is another user's; {ELSEWHERE}, or remove it")
    with naming(folder, f"; {ELSEWHERE}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder) as mine:
            if not mine:
                raise OutputError(f"{folder} is about to be made by another run; wait for it, or {ELSEWHERE}")
            for left in _left_by(folder):
                shutil.rmtree(left, ignore_errors=True)
            draft = folder.with_name(f".{folder.name}.draft-{secrets.token_hex(8)}")
            draft.mkdir(0o700)
            try:
                if not is_own(draft.stat()):
                    raise OutputError(f"{folder} would lie where others can write to what is yours alone; {ELSEWHERE}")
                yield draft
                sync(draft)
                _put(draft, folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)


def _left_by(folder: Path) -> list[Path]:
    """Return the drafts of runs that were killed."""
    return [path for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}.draft-")]


def _put(draft: Path, folder: Path) -> None:
    """Rename the draft to `folder`, in place of what was there."""
    old = draft.with_name(f"{draft.name}-old")
    try:
        if folder.exists():
            os.rename(folder, old)
        os.rename(draft, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
