"""The time for reading and training together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from torchbce.common.errors import InputError


@dataclass(frozen=True)
class TimeBudget:
    """A number of seconds from now on; None for no limit."""

    seconds: float | None
    file: str  # that is read
    started: float = field(default_factory=time.perf_counter)

    def left(self) -> float | None:
        """Return the seconds that are left to train in.

        Raises:
            InputError: reading has taken all.
        """
        if self.seconds is None:
            return None
        left = self.seconds - (time.perf_counter() - self.started)
        if left <= 0:
            raise InputError(
                f"reading {self.file} has taken all of --time-budget, {self.seconds:g} s, and nothing is left to train "
                "in; give more time, or fewer rows"
            )
        return left
