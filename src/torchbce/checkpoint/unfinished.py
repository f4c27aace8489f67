"""The folder of an unfinished run: what run it is, the parts that are finished, and the last two checkpoints.

Only one process may write into it; who opens it holds a lock (see `run/reservation`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchbce.checkpoint.record import DamagedError, State, read_record, write_record
from torchbce.common.errors import InputError, OutputError

RUN, CHECKPOINT, PART = "run.safetensors", "checkpoint-{:06d}.safetensors", "part-{}.safetensors"
OWN = ("checkpoint-*.safetensors", "part-*.safetensors", ".torchbce-*.draft")
LEFT_OUT = "(not there)"

Identity = Mapping[str, Any]  # what a run depends on, each by the name that a user knows it by


@dataclass
class Unfinished:
    """`anew`: how a user begins anew. `notes`: what was found damaged and is not used."""

    folder: Path
    identity: Identity
    anew: str = "give --no-resume to begin anew"
    notes: list[str] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        return (self.folder / RUN).exists()

    def check(self) -> None:
        """Raise unless the folder, if it exists, is of the same run.

        Raises:
            InputError: another run's, or a damaged one's; the message names what differs.
        """
        if not self.exists:
            return
        way_out = f"{self.anew}, or remove {self.folder}"
        try:
            before = read_record(self.folder / RUN)
        except DamagedError as error:
            raise InputError(f"{error}; {way_out}") from error
        now = dict(self.identity)
        names = {**before, **now}
        changed = [name for name in names if repr(before.get(name, LEFT_OUT)) != repr(now.get(name, LEFT_OUT))]
        if changed:
            shown = "; ".join(f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}" for name in changed)
            raise InputError(
                f"{self.folder} is of another run: {shown}; give what it began with to go on, or {way_out}"
            )

    def begin(self) -> None:
        """The folder is there.

        Raises:
            OutputError: it cannot be made.
        """
        if self.exists:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear()  # what a kill left before it was a run
            write_record(self.folder / RUN, dict(self.identity))
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror or error}") from error

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been kept yet."""
        return not any(path.name != RUN for path in self.folder.glob("*.safetensors"))

    def save(self, state: State) -> None:
        """One more checkpoint; the one before it is kept too.

        Raises:
            OutputError: it cannot be written; those before it are as they were.
        """
        self._write(CHECKPOINT.format(self._numbers()[-1] + 1 if self._numbers() else 1), state)
        for number in self._numbers()[:-2]:
            (self.folder / CHECKPOINT.format(number)).unlink(missing_ok=True)

    def latest(self) -> State | None:
        """The newest checkpoint that is whole; None without one."""
        for number in reversed(self._numbers()):
            path = self.folder / CHECKPOINT.format(number)
            try:
                return read_record(path)
            except DamagedError as error:
                self.notes.append(f"{error}; the checkpoint before it is used" if number > 1 else str(error))
                path.unlink()
        return None

    def keep(self, part: str, state: State) -> None:
        """A part of the run that is finished.

        Raises:
            OutputError: it cannot be written.
        """
        self._write(PART.format(part), state)

    def kept(self, part: str) -> State | None:
        """What was kept of a part; None where it is to be done (again)."""
        try:
            return read_record(self.folder / PART.format(part))
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self.notes.append(f"{error}; that part is done again")
            return None

    @contextlib.contextmanager
    def fitting(self, what: str) -> Iterator[None]:
        """In the block a ValueError says that what was kept is not of this run.

        Raises:
            InputError: in its place, with the folder and a way out.
        """
        try:
            yield
        except ValueError as error:
            raise InputError(
                f"{self.folder}: {what} does not fit this run: {error}; {self.anew}, or remove {self.folder}"
            ) from error

    def remove(self) -> None:
        """The run is finished, or to begin anew."""
        (self.folder / RUN).unlink(missing_ok=True)  # first: without it what a kill leaves is no run
        self._clear()
        with contextlib.suppress(OSError):  # somebody else's files lie there too
            self.folder.rmdir()

    def _clear(self) -> None:
        """Without what a run writes; whatever else lies there is not ours."""
        for own in OWN:
            for path in self.folder.glob(own):
                path.unlink()

    def _numbers(self) -> list[int]:
        found = (path.stem.removeprefix("checkpoint-") for path in self.folder.glob("checkpoint-*.safetensors"))
        return sorted(int(number) for number in found if number.isdecimal())

    def _write(self, name: str, state: State) -> None:
        self.begin()
        try:
            write_record(self.folder / name, state)
        except OSError as error:
            raise OutputError(
                f"{self.folder / name} cannot be written: {error.strerror or error}; what was kept before is as it was"
            ) from error


def _short(value: Any) -> str:
    text = LEFT_OUT if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
