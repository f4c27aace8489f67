"""Losses of the epochs of a training."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torchbce.explanation.statistics.entropy import percent_below

__all__ = ["Epoch", "History"]


@dataclass(frozen=True)
class Epoch:
    """One epoch's losses, each a mean over items, in nats.

    running: while the weights were moving; train and valid: at the epoch's end, dropout off, None where they were not
    evaluated. baseline: always answering the training data's share of ones, on the validation data (or the training
    data, where there are no others).
    """

    number: int
    running: float
    train: float | None
    valid: float | None
    baseline: float
    seconds: float
    skipped: int = 0  # batches that were left out, as their loss was not finite

    @property
    def judged(self) -> float:
        """The loss to judge the epoch by: validation, else training, else running."""
        if self.valid is not None:
            return self.valid
        return self.running if self.train is None else self.train

    def __str__(self) -> str:
        parts = [f"epoch {self.number:3d}", f"running {self.running:.6f}"]
        parts += [
            f"{name} {loss:.6f}" for name, loss in (("train", self.train), ("valid", self.valid)) if loss is not None
        ]
        if not math.isnan(self.baseline):
            parts.append(percent_below(self.judged, self.baseline))
        if self.skipped:
            parts.append(f"{self.skipped:,} batch{'es' * (self.skipped > 1)} left out: their loss was not finite")
        return "  ".join(parts)


class History:
    """The epochs of a run, in order.

    resumed_at: the epoch, and the batches done in it, at which the run was resumed; None if it was not.
    skipped: batches that were left out because their loss was not finite.
    """

    def __init__(self) -> None:
        self.resumed_at: tuple[int, int] | None = None
        self.skipped = 0
        self._epochs: list[Epoch] = []
        self._chosen: int | None = None

    def append(self, epoch: Epoch) -> None:
        self._epochs.append(epoch)

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self._epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self._epochs[index]

    def choose(self, number: int) -> None:
        """Set the best epoch, where it is not simply the one with the lowest validation loss."""
        self._chosen = number

    @property
    def best(self) -> Epoch:
        """The epoch that was chosen, else the one with the lowest validation loss, else the last."""
        if self._chosen is not None:
            return next(epoch for epoch in self._epochs if epoch.number == self._chosen)
        if self._epochs[-1].valid is None:
            return self._epochs[-1]
        return min(self._epochs, key=lambda epoch: math.inf if math.isnan(epoch.judged) else epoch.judged)

    def to_csv(self, path: Path) -> None:
        """Write one line per epoch with every digit, without the seconds: the same run gives the same bytes."""
        names = [field.name for field in fields(Epoch) if field.name != "seconds"]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(asdict(epoch) for epoch in self._epochs)

    def state_dict(self) -> dict[str, Any]:
        """Serialize to lists and numbers."""
        epochs = [asdict(epoch) for epoch in self._epochs]
        return {"epochs": epochs, "chosen": self._chosen, "skipped": self.skipped}

    @staticmethod
    def check_state(state: dict[str, Any]) -> None:
        """Raise unless the epochs of a state follow each other and the chosen one is among them.

        Raises:
            ValueError: what is wrong.
        """
        numbers, chosen = [epoch["number"] for epoch in state["epochs"]], state["chosen"]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"its epochs are {numbers}")
        if chosen is not None and chosen not in numbers:
            raise ValueError(f"epoch {chosen} was chosen of {len(numbers)}")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from `state_dict`."""
        self._epochs, self._chosen = [Epoch(**epoch) for epoch in state["epochs"]], state["chosen"]
        self.skipped = state["skipped"]

    def __repr__(self) -> str:
        lines = [str(epoch) for epoch in self._epochs] or ["History()"]
        if self.skipped:
            lines.append(f"{self.skipped} batches left out: their loss was not finite")
        return "\n".join(lines)
