"""The learning rate over a run: one cycle (Smith and Topin, 2018) as torch has it, or constant."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchbce.table.ensemble.config import EnsembleConfig

RISING = 0.3  # of the run
FIRST, LAST = 1 / 25, 1 / 250_000  # of the largest rate


@dataclass
class Schedule:
    """Learning rates of a run of `steps` steps, or of a budget of seconds that ends it earlier."""

    rate: float
    steps: int
    cycle: bool
    budget: float | None = None
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, config: EnsembleConfig, steps_per_epoch: int) -> Schedule:
        """Return the schedule of a configuration."""
        return cls(config.lr, config.epochs * steps_per_epoch, config.optimizer == "adamw", config.time_budget)

    def rates(self, first: int, count: int) -> Tensor:
        """Return the learning rates of the steps from `first` on."""
        if not self.cycle:
            return torch.full((count,), self.rate, dtype=torch.float64)
        steps = torch.arange(first, first + count, dtype=torch.float64)
        return self.rate * one_cycle(steps, self.steps) if self.budget is None else self._by_the_clock(steps)

    @property
    def is_over(self) -> bool:
        """Return whether the budget is spent."""
        return self.budget is not None and self.spent >= self.budget

    @property
    def spent(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self.started

    def _by_the_clock(self, steps: Tensor) -> Tensor:
        progress = max(min(self.spent / (self.budget or math.inf), 1.0), float(steps[0]) / self.steps)
        return self.rate * one_cycle(torch.full_like(steps, progress * (self.steps - 1)), self.steps)


def one_cycle(steps: Tensor, total: int) -> Tensor:
    """Return the share of the largest rate at each step, as `torch.optim.lr_scheduler.OneCycleLR` has it."""
    peak, end = RISING * total - 1, total - 1
    rising = _cosine(FIRST, 1.0, steps / peak) if peak > 0 else torch.ones_like(steps)
    falling = _cosine(1.0, LAST, (steps - peak) / max(end - peak, 1))
    return torch.where(steps <= peak, rising, falling)


def _cosine(start: float, end: float, share: Tensor) -> Tensor:
    return end + (start - end) / 2 * (1 + torch.cos(math.pi * share))
