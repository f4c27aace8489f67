"""Checkpoints of a run of `fit`: who may write to the folder, when one is due, and what happens when that fails."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchbce.checkpoint.form import Whole, require
from torchbce.common import processes
from torchbce.common.errors import InputError, OutputError
from torchbce.common.extras import require_packages
from torchbce.common.writing import naming

State = dict[str, Any]
LOG = logging.getLogger("torchbce")
MISMATCHES = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError, StopIteration)
COST = 20.0  # checkpoints that are not due take at most one part of so many of the time


class FitCheckpointer:
    """Checkpoints of one run; all processes have it, and the first one reads and writes.

    Raises:
        InputError: the folder is another run's, holds other things, or is in use.
    """

    def __init__(self, folder: str | Path, seconds: float, identity: State) -> None:
        require_packages("checkpoint=", "safetensors", error=InputError)
        from torchbce.checkpoint.folder import CheckpointFolder

        self.folder = Path(folder).absolute()
        self._checkpoints = CheckpointFolder(self.folder, identity, "give checkpoint= another folder to begin anew")
        self._seconds = seconds
        self._last_position, self._last_time, self._last_seconds = "none", time.monotonic(), 0.0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other run write to the folder in the block."""
        with contextlib.ExitStack() as stack:
            processes.from_first(lambda: self._lock(stack))
            yield

    def load(self) -> State | None:
        """Return the last checkpoint that is whole; None where the run begins."""
        state: State | None = processes.from_first(self._load)
        if state is not None:
            with self.explaining_mismatch():
                for number, name in ((state["progress"]["epoch"], "epoch"), (state["done"], "done")):
                    require(number, Whole(), name)
                self._last_position = describe_position(state["progress"]["epoch"], state["done"])
        return state

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint, by the first process's clock."""
        return processes.is_first() and time.monotonic() - self._last_time >= self._seconds

    @property
    def is_cheap(self) -> bool:
        """Whether one more would hardly be noticed."""
        return processes.is_first() and time.monotonic() - self._last_time >= COST * self._last_seconds

    @property
    def last(self) -> str:
        """Text that says where the last good checkpoint is."""
        return f"the checkpoint in {self.folder} is of {self._last_position}"

    def save(self, state: State, *, required: bool = False) -> None:
        """Write a checkpoint; warn where it cannot be written, unless it is required.

        Raises:
            OutputError: a required one cannot be written.
        """
        if not processes.is_first():
            return
        start = time.monotonic()
        try:
            self._checkpoints.save(state)
            self._last_position = describe_position(state["progress"]["epoch"], state["done"])
        except OutputError as error:
            if required:
                raise
            warnings.warn(
                f"{error}; training goes on, and the last good checkpoint is of {self._last_position}", stacklevel=2
            )
        self._last_time = time.monotonic()
        self._last_seconds = self._last_time - start

    @contextlib.contextmanager
    def explaining_mismatch(self) -> Iterator[None]:
        """Say of errors in the block that the last checkpoint is not of this module, optimizer and data.

        Raises:
            InputError: in their place, with the folder and a way out.
        """
        try:
            yield
        except InputError:
            raise
        except MISMATCHES as error:
            with self._checkpoints.explaining_mismatch("the last checkpoint"):
                raise ValueError(" ".join(f"{type(error).__name__}: {error}".split())) from error

    def _lock(self, stack: contextlib.ExitStack) -> None:
        from torchbce.common.lock import locked

        with naming(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            is_ours = stack.enter_context(locked(self.folder))
        if not is_ours:
            raise InputError(f"another run writes its checkpoints to {self.folder}; give each a folder of its own")

    def _load(self) -> State | None:
        others = self.folder.exists() and not self._checkpoints.exists and any(self.folder.iterdir())
        if others or (self.folder.exists() and not self.folder.is_dir()):
            raise InputError(
                f"{self.folder} exists and is no folder of checkpoints; give checkpoint= a new or empty folder"
            )
        self._checkpoints.check_identity()
        state = self._checkpoints.latest()
        for note in self._checkpoints.notes:
            warnings.warn(note, stacklevel=2)
        return state


def describe_position(epoch: int, done: int) -> str:
    """Text for an epoch and the batches done in it."""
    return f"epoch {epoch} after batch {done}" if done else f"the start of epoch {epoch}"
