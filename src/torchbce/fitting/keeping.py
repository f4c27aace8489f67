"""The folder of a run of `fit`: who may write to it, what is kept there, and what happens when that fails."""

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

State = dict[str, Any]
LOG = logging.getLogger("torchbce")
MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError, StopIteration)
COST = 20.0  # checkpoints nobody waits for take at most one part of so many of the time


class Keeping:
    """Of one run; all processes have it, and the first one reads and writes.

    Raises:
        InputError: the folder is another run's, holds other things, or is in use.
    """

    def __init__(self, folder: str | Path, seconds: float, identity: State) -> None:
        try:
            from torchbce.checkpoint.unfinished import Unfinished
        except ModuleNotFoundError as error:
            raise InputError(
                f"checkpoint= needs {error.name}; install it with: pip install 'torchbce[train]'"
            ) from error
        self.folder = Path(folder).absolute()
        self._unfinished = Unfinished(self.folder, identity, "give checkpoint= another folder to begin anew")
        self._seconds = seconds
        self._last, self._at, self._took = "none", time.monotonic(), 0.0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No other run writes there in the block."""
        with contextlib.ExitStack() as stack:
            processes.from_first(lambda: self._hold(stack))
            yield

    def load(self) -> State | None:
        """The last checkpoint that is whole; None where the run begins."""
        state: State | None = processes.from_first(self._loaded)
        if state is not None:
            with self.fitting():
                for number, name in ((state["progress"]["epoch"], "epoch"), (state["done"], "done")):
                    require(number, Whole(), name)
                self._last = place(state["progress"]["epoch"], state["done"])
        return state

    @property
    def is_due(self) -> bool:
        """Whether so much time has passed; the first process's clock counts."""
        return processes.is_first() and time.monotonic() - self._at >= self._seconds

    @property
    def is_cheap(self) -> bool:
        """Whether one more would hardly be noticed."""
        return processes.is_first() and time.monotonic() - self._at >= COST * self._took

    @property
    def last(self) -> str:
        """Where the last good one is, in words."""
        return f"the checkpoint in {self.folder} is of {self._last}"

    def save(self, state: State, *, must: bool = False) -> None:
        """One more; if it cannot be written, that is said and training goes on, unless it `must`.

        Raises:
            OutputError: the first cannot be written.
        """
        if not processes.is_first():
            return
        begun = time.monotonic()
        try:
            self._unfinished.save(state)
            self._last = place(state["progress"]["epoch"], state["done"])
        except OutputError as error:
            if must:
                raise
            warnings.warn(f"{error}; training goes on, and the last good checkpoint is of {self._last}", stacklevel=2)
        self._at = time.monotonic()
        self._took = self._at - begun

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """In the block errors say that the last checkpoint is not of this module, optimizer and data.

        Raises:
            InputError: in their place, with the folder and a way out.
        """
        try:
            yield
        except InputError:
            raise
        except MISFITS as error:
            with self._unfinished.fitting("the last checkpoint"):
                raise ValueError(" ".join(f"{type(error).__name__}: {error}".split())) from error

    def _hold(self, stack: contextlib.ExitStack) -> None:
        from torchbce.common.lock import locked

        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            alone = stack.enter_context(locked(self.folder))
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        if not alone:
            raise InputError(f"another run writes its checkpoints to {self.folder}; give each a folder of its own")

    def _loaded(self) -> State | None:
        others = self.folder.exists() and not self._unfinished.exists and any(self.folder.iterdir())
        if others or (self.folder.exists() and not self.folder.is_dir()):
            raise InputError(
                f"{self.folder} exists and is no folder of checkpoints; give checkpoint= a new or empty folder"
            )
        self._unfinished.check()
        state = self._unfinished.latest()
        for note in self._unfinished.notes:
            warnings.warn(note, stacklevel=2)
        return state


def place(epoch: int, done: int) -> str:
    """In words."""
    return f"epoch {epoch} after batch {done}" if done else f"the start of epoch {epoch}"
