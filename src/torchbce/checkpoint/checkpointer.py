"""Checkpoints of training code: results of finished parts, and now and then the state of the part in progress.

Without a folder nothing is saved and nothing loaded, so the same code trains with and without checkpoints.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torchbce.checkpoint.folder import CheckpointFolder
from torchbce.checkpoint.form import require
from torchbce.checkpoint.record import State
from torchbce.common.errors import OutputError
from torchbce.common.processes import from_first, is_first

Result = TypeVar("Result")


@dataclass
class LastSave:
    """Time of the last checkpoint, shared by all scopes of a run."""

    time: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Checkpointer:
    """Saves and loads one part of a run. scope: names the part, such as a fold; seconds: between checkpoints."""

    folder: CheckpointFolder | None = None
    seconds: float = math.inf
    scope: str = "model"
    last_save: LastSave = field(default_factory=LastSave)

    def scoped(self, scope: str) -> Checkpointer:
        """Return a checkpointer for another part of the run."""
        return replace(self, scope=scope)

    @property
    def enabled(self) -> bool:
        """Whether anything is saved."""
        return self.folder is not None

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.enabled and time.monotonic() - self.last_save.time >= self.seconds

    def save(self, state: State) -> None:
        """Write a checkpoint of this part, in the first process; where that fails, note it and go on."""
        if self.folder is not None and is_first():
            with _noting_failure(self.folder):
                self.folder.save({"scope": self.scope, "state": state})
        self.last_save.time = time.monotonic()

    def load(self, form: Any, check: Callable[[State], object]) -> State | None:
        """Return the last checkpoint, if it is of this part; all processes must call it.

        form: of the state (see `form.require`); check: raises a ValueError where the state fits no further.

        Raises:
            InputError: it is not of this run.
        """
        folder = self.folder
        return None if folder is None else from_first(lambda: self._load(folder, form, check))

    def _load(self, folder: CheckpointFolder, form: Any, check: Callable[[State], object]) -> State | None:
        checkpoint = folder.latest()
        if checkpoint is None:
            return None
        with folder.explaining_mismatch("the last checkpoint"):
            if checkpoint.keys() != {"scope", "state"}:
                raise ValueError(f"it has {', '.join(map(str, checkpoint))}; expected scope, state")
            if checkpoint["scope"] != self.scope:
                return None
            require(checkpoint["state"], form, "state")
            check(checkpoint["state"])
        state: State = checkpoint["state"]
        return state

    def save_result(self, name: str, state: State) -> None:
        """Write the result of a finished piece of this part, as `save` does."""
        if self.folder is not None and is_first():
            with _noting_failure(self.folder):
                self.folder.save_result(f"{self.scope}-{name}", state)

    def load_result(self, name: str, unpack: Callable[[State], Result]) -> Result | None:
        """Return the result of a finished piece, None if it is not finished; all processes must call it.

        Raises:
            InputError: it is not of this run: `unpack` raises a ValueError.
        """
        folder = self.folder
        if folder is None:
            return None
        state = from_first(lambda: folder.load_result(f"{self.scope}-{name}"))
        if state is None:
            return None
        with folder.explaining_mismatch(f"the part {self.scope}-{name}"):
            return unpack(state)

    def cached(
        self, name: str, make: Callable[[], Result], pack: Callable[[Result], State], unpack: Callable[[State], Result]
    ) -> Result:
        """Return the saved result of a piece, or make and save it.

        Raises:
            InputError: the saved one is not of this run; see `load_result`.
        """
        saved = self.load_result(name, unpack)
        if saved is not None:
            return saved
        result = make()
        self.save_result(name, pack(result))
        return result


@contextlib.contextmanager
def _noting_failure(folder: CheckpointFolder) -> Iterator[None]:
    """Note that a checkpoint could not be written: a full disk does not end a run."""
    try:
        yield
    except OutputError as error:
        folder.notes.append(f"{error}; the run goes on")


NO_CHECKPOINTS = Checkpointer()
