"""What training code asks to keep: finished parts of a run, and now and then where the part in progress is.

Without a folder nothing is kept and nothing found, so the same code trains with and without checkpoints.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torchbce.checkpoint.form import require
from torchbce.checkpoint.record import State
from torchbce.checkpoint.unfinished import Unfinished
from torchbce.common.errors import OutputError
from torchbce.common.processes import from_first, is_first

Part = TypeVar("Part")


@dataclass
class Pulse:
    """When the last checkpoint was."""

    last: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Keeper:
    """`scope` is the part of the run that its user works on, such as a fold; `seconds` lie between checkpoints."""

    unfinished: Unfinished | None = None
    seconds: float = math.inf
    scope: str = "model"
    pulse: Pulse = field(default_factory=Pulse)

    def within(self, scope: str) -> Keeper:
        """For another part of the run."""
        return replace(self, scope=scope)

    @property
    def keeps(self) -> bool:
        return self.unfinished is not None

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.keeps and time.monotonic() - self.pulse.last >= self.seconds

    def save(self, state: State) -> None:
        """A checkpoint of this part, by the first process. Where it cannot be written the run goes on, with a note."""
        unfinished = self.unfinished
        if unfinished is not None and is_first():
            with _noted(unfinished):
                unfinished.save({"scope": self.scope, "state": state})
        self.pulse.last = time.monotonic()

    def saved(self, form: Any, check: Callable[[State], object]) -> State | None:
        """The last checkpoint, if it is of this part; all processes ask together.

        `form`: what it has to look like (see `form.require`); `check` raises a ValueError where it fits no further.

        Raises:
            InputError: it is not of this run.
        """
        unfinished = self.unfinished
        return None if unfinished is None else from_first(lambda: self._saved(unfinished, form, check))

    def _saved(self, unfinished: Unfinished, form: Any, check: Callable[[State], object]) -> State | None:
        found = unfinished.latest()
        if found is None:
            return None
        with unfinished.fitting("the last checkpoint"):
            if found.keys() != {"scope", "state"}:
                raise ValueError(f"it has {', '.join(map(str, found))}; expected scope, state")
            if found["scope"] != self.scope:
                return None
            require(found["state"], form, "state")
            check(found["state"])
        state: State = found["state"]
        return state

    def keep(self, name: str, state: State) -> None:
        """A finished piece of this part, by the first process; as for `save`."""
        unfinished = self.unfinished
        if unfinished is not None and is_first():
            with _noted(unfinished):
                unfinished.keep(f"{self.scope}-{name}", state)

    def kept(self, name: str, unpack: Callable[[State], Part]) -> Part | None:
        """A finished piece; None where it is to be done. All processes ask together.

        Raises:
            InputError: it is not of this run: `unpack` raises a ValueError.
        """
        unfinished = self.unfinished
        if unfinished is None:
            return None
        before = from_first(lambda: unfinished.kept(f"{self.scope}-{name}"))
        if before is None:
            return None
        with unfinished.fitting(f"the part {self.scope}-{name}"):
            return unpack(before)

    def part(
        self, name: str, make: Callable[[], Part], pack: Callable[[Part], State], unpack: Callable[[State], Part]
    ) -> Part:
        """A finished piece of this part: as it was kept, else made now and kept.

        Raises:
            InputError: what was kept is not of this run; see `kept`.
        """
        before = self.kept(name, unpack)
        if before is not None:
            return before
        made = make()
        self.keep(name, pack(made))
        return made


@contextlib.contextmanager
def _noted(unfinished: Unfinished) -> Iterator[None]:
    """A full disk is no reason to end a run that may end well without it."""
    try:
        yield
    except OutputError as error:
        unfinished.notes.append(f"{error}; the run goes on")


NOTHING = Keeper()
