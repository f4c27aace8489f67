"""The folder of an unfinished run: its identity, results of finished parts, and the last two checkpoints.

Only one process may write into it; whoever opens it holds a lock (see `table/run/reservation`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchbce.checkpoint.record import DamagedError, State, read_record, write_record
from torchbce.common.errors import InputError
from torchbce.common.writing import naming

RUN, CHECKPOINT, RESULT = "run.safetensors", "checkpoint-{:06d}.safetensors", "part-{}.safetensors"
PATTERNS = ("checkpoint-*.safetensors", "part-*.safetensors", ".torchbce-*.draft")
ABSENT = "(not there)"

Identity = Mapping[str, Any]  # what a run depends on, each by the name that a user knows it by


@dataclass
class CheckpointFolder:
    """Checkpoints of one run.

    identity: what the run depends on; restart: how a user begins anew; notes: about damaged files, which are not used.
    """

    folder: Path
    identity: Identity
    restart: str = "give --no-resume to begin anew"
    notes: list[str] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        """Whether a run has begun there."""
        return (self.folder / RUN).exists()

    def check_identity(self) -> None:
        """Raise unless the folder, if it exists, is of this run.

        Raises:
            InputError: it is of another run, or damaged; the message names what differs.
        """
        if not self.exists:
            return
        way_out = f"{self.restart}, or remove {self.folder}"
        try:
            before = read_record(self.folder / RUN)
        except DamagedError as error:
            raise InputError(f"{error}; {way_out}") from error
        now = dict(self.identity)
        names = {**before, **now}
        changed = [name for name in names if repr(before.get(name, ABSENT)) != repr(now.get(name, ABSENT))]
        if changed:
            shown = "; ".join(f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}" for name in changed)
            raise InputError(
                f"{self.folder} is of another run: {shown}; give what it began with to go on, or {way_out}"
            )

    def create(self) -> None:
        """Make the folder, if it does not exist.

        Raises:
            OutputError: it cannot be made.
        """
        if self.exists:
            return
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear()  # files of a run that was killed before it began
            write_record(self.folder / RUN, dict(self.identity))

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been saved yet."""
        return not any(path.name != RUN for path in self.folder.glob("*.safetensors"))

    def save(self, state: State) -> None:
        """Write a checkpoint; only the one before it stays too.

        Raises:
            OutputError: it cannot be written; those before it are as they were.
        """
        self._write(CHECKPOINT.format(self._numbers()[-1] + 1 if self._numbers() else 1), state)
        for number in self._numbers()[:-2]:
            (self.folder / CHECKPOINT.format(number)).unlink(missing_ok=True)

    def latest(self) -> State | None:
        """Return the newest checkpoint that is whole; None without one."""
        for number in reversed(self._numbers()):
            path = self.folder / CHECKPOINT.format(number)
            try:
                return read_record(path)
            except DamagedError as error:
                self.notes.append(f"{error}; the checkpoint before it is used" if number > 1 else str(error))
                path.unlink()
        return None

    def save_result(self, part: str, state: State) -> None:
        """Write the result of a finished part.

        Raises:
            OutputError: it cannot be written.
        """
        self._write(RESULT.format(part), state)

    def load_result(self, part: str) -> State | None:
        """Return the result of a part; None where it must be done (again)."""
        try:
            return read_record(self.folder / RESULT.format(part))
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self.notes.append(f"{error}; that part is done again")
            return None

    @contextlib.contextmanager
    def explaining_mismatch(self, what: str) -> Iterator[None]:
        """Say of a ValueError in the block that what was saved is not of this run.

        Raises:
            InputError: in its place, with the folder and a way out.
        """
        try:
            yield
        except ValueError as error:
            raise InputError(
                f"{self.folder}: {what} does not fit this run: {error}; {self.restart}, or remove {self.folder}"
            ) from error

    def remove(self) -> None:
        """Discard the checkpoints: the run is finished, or begins anew."""
        (self.folder / RUN).unlink(missing_ok=True)  # first: what a kill leaves then is no run
        self._clear()
        with contextlib.suppress(OSError):  # somebody else's files lie there too
            self.folder.rmdir()

    def _clear(self) -> None:
        """Delete what a run writes, and no other files."""
        for pattern in PATTERNS:
            for path in self.folder.glob(pattern):
                path.unlink()

    def _numbers(self) -> list[int]:
        numbers = (path.stem.removeprefix("checkpoint-") for path in self.folder.glob("checkpoint-*.safetensors"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def _write(self, name: str, state: State) -> None:
        self.create()
        with naming(self.folder / name, "; what was kept before is as it was"):
            write_record(self.folder / name, state)


def _short(value: Any) -> str:
    text = ABSENT if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
