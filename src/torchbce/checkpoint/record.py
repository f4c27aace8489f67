"""One file of state: tensors as safetensors, the rest as JSON in its header, and a digest of all of it.

Nothing in it is executed when it is read. A state is a tree of dicts, lists and tuples with tensors, numbers, texts,
True, False and None as leaves; it comes back as it was, to the last bit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.common.writing import whole_file

State = dict[str, Any]

FORMAT = "torchbce-state-1"
TENSOR, TUPLE, PAIRS = "__tensor__", "__tuple__", "__pairs__"  # what JSON does not have


class DamagedError(InputError):
    """A file that differs from what was written."""


def write_record(path: Path, state: State) -> None:
    """Write a state durably; the file is replaced only once all of it is on the disk.

    Raises:
        OSError: it cannot be written.
        TypeError: the state holds something that is neither a tensor nor plain.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_packed(state, tensors))
    metadata = {"format": FORMAT, "state": text, "sha256": _digest(text, tensors)}
    with whole_file(path, durable=True) as file:
        file.write(save(tensors, metadata=metadata))


def read_record(path: Path) -> State:
    """Read the state in a file.

    Raises:
        DamagedError: a file that `write_record` did not write.
        FileNotFoundError: there is none.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    text = metadata.get("state", "")
    if metadata.get("format") != FORMAT or metadata.get("sha256") != _digest(text, tensors):
        raise DamagedError(f"{path} is damaged: it is not what training wrote")
    try:
        state = _unpacked(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: its state cannot be put together: {error}") from error
    if not isinstance(state, dict):
        raise DamagedError(f"{path} is damaged: its state is no dict")
    return state


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    hasher = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def _packed(part: Any, tensors: dict[str, Tensor]) -> Any:
    """Return JSON for a state, and put contiguous copies of its tensors on the CPU into `tensors`."""
    if isinstance(part, Tensor):
        name = str(len(tensors))
        tensors[name] = part.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {TENSOR: name}
    if isinstance(part, dict):
        if all(isinstance(key, str) for key in part):
            return {key: _packed(value, tensors) for key, value in part.items()}
        return {PAIRS: [[_packed(key, tensors), _packed(value, tensors)] for key, value in part.items()]}
    if isinstance(part, tuple):
        return {TUPLE: [_packed(value, tensors) for value in part]}
    if isinstance(part, list):
        return [_packed(value, tensors) for value in part]
    if part is None or isinstance(part, bool | int | float | str):
        return part
    raise TypeError(
        f"a checkpoint cannot keep {part!r}, a {type(part).__name__}; a state is made of tensors, numbers, texts, "
        "lists and dicts"
    )


def _unpacked(part: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(part, list):
        return [_unpacked(value, tensors) for value in part]
    if not isinstance(part, dict):
        return part
    if part.keys() == {TENSOR}:
        return tensors[part[TENSOR]]
    if part.keys() == {TUPLE}:
        return tuple(_unpacked(part[TUPLE], tensors))
    if part.keys() == {PAIRS}:
        return {_unpacked(key, tensors): _unpacked(value, tensors) for key, value in part[PAIRS]}
    return {key: _unpacked(value, tensors) for key, value in part.items()}
