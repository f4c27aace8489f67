"""Checks that losses and weights are finite, with errors that name epoch, batch and rows."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchbce.common import processes
from torchbce.fitting.batches import Batches
from torchbce.fitting.checkpointer import FitCheckpointer
from torchbce.fitting.not_finite import in_batch, in_data, in_output, loss_not_finite, weights_not_finite
from torchbce.fitting.progress import Progress
from torchbce.fitting.sharding import local_shard


@dataclass(frozen=True)
class FiniteChecks:
    """Checks of a run. skips: leave such batches out; interval: batches between two looks at the loss."""

    batches: Batches
    progress: Progress
    skips: bool
    interval: int
    checkpointer: FitCheckpointer | None

    def report_batch(self, inputs: Any, target: Tensor, output: Any, loss: Tensor | None) -> None:
        """Count and warn of a batch without a finite loss, in this process or another, or stop there.

        Raises:
            InputError: unless such batches are skipped.
        """
        batches, epoch, history = self.batches, self.progress.epoch, self.progress.history
        if self.skips:
            history.skipped += 1
            if history.skipped > 1:
                return
        each = self.interval == 1
        value = 0.0 if loss is None else float(loss.detach().double().sum())
        cause = in_batch(inputs, target, batches.indices) if each else ""
        # Else the step of a batch before it may be the cause, whose loss was finite and its gradient not.
        cause = cause or in_data(batches) or (in_output(output, batches.indices) if each else "")
        gathered = processes.all_gather((value, cause))
        value = next((value for value, _ in gathered if not math.isfinite(value)), math.nan)
        text = "; ".join(dict.fromkeys(text for _, text in gathered if text))
        where = f"batch {batches.done}" if each else f"batches up to {batches.done}"
        if not self.skips:
            raise loss_not_finite(value, epoch, where, text, self._last_checkpoint)
        if processes.is_first():
            warnings.warn(
                f"{where} of epoch {epoch} is left out, as all whose loss or gradient is not finite: {text or value}; "
                "History.skipped counts them",
                stacklevel=2,
            )

    def require_finite_total(self, total: float) -> None:
        """Raise unless the sum of the losses is finite, where not every batch was looked at.

        Raises:
            InputError: with the batches up to which it is not.
        """
        if not math.isfinite(total):
            where = f"batches up to {self.batches.done}"
            raise loss_not_finite(total, self.progress.epoch, where, in_data(self.batches), self._last_checkpoint)

    def require_finite_weights(self, module: nn.Module) -> None:
        """Raise unless all weights are finite, in all processes.

        Raises:
            InputError: with the step after which they are not.
        """
        if processes.any_process(not all(bool(local_shard(p).isfinite().all()) for p in module.parameters())):
            raise weights_not_finite(
                self.progress.epoch, self.batches.done, in_data(self.batches), self._last_checkpoint
            )

    @property
    def _last_checkpoint(self) -> str | None:
        return None if self.checkpointer is None else self.checkpointer.last
