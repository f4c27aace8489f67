"""The state of random numbers, torch's, NumPy's, Python's and generators', so that they can be drawn again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

State = dict[str, Any]


def random_state(devices: Sequence[torch.device] = (), generators: Sequence[Generator] = ()) -> State:
    """Return the state of all generators as tensors and numbers."""
    version, integers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "devices": [_of_device(device) for device in devices],
        "numpy": _tensors(np.random.get_state(legacy=False)),
        "python": [version, torch.tensor(integers), gauss],
        "generators": [generator.get_state() for generator in generators],
    }


def restore_random_state(
    state: State, devices: Sequence[torch.device] = (), generators: Sequence[Generator] = ()
) -> None:
    """Restore from `random_state`."""
    torch.set_rng_state(state["torch"])
    for device, saved in zip(devices, state["devices"], strict=False):  # as many as this machine has
        torch.get_device_module(device).set_rng_state(saved, *_named(device))
    np.random.set_state(_arrays(state["numpy"]))
    version, integers, gauss = state["python"]
    random.setstate((version, tuple(integers.tolist()), gauss))
    for generator, saved in zip(generators, state["generators"], strict=False):
        generator.set_state(saved)


def new_stream(state: State, rank: int) -> State:
    """State for one more process than the run had: random numbers that no other process draws."""
    generator = Generator()
    generator.set_state(state["torch"])
    seed = int(torch.randint(2**62, (), generator=generator)) + rank
    return {**state, "torch": Generator().manual_seed(seed).get_state(), "devices": []}


def _of_device(device: torch.device) -> Tensor:
    saved: Tensor = torch.get_device_module(device).get_rng_state(*_named(device))
    return saved


def _named(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # Apple's GPU is the only one


def _tensors(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _tensors(value) for name, value in part.items()}
    return torch.from_numpy(part.astype(np.int64)) if isinstance(part, np.ndarray) else part


def _arrays(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _arrays(value) for name, value in part.items()}
    return part.numpy().astype(np.uint32) if isinstance(part, Tensor) else part
