"""One step: the article's six lines, for one process or many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchbce.fitting.agreement import Agreed
from torchbce.fitting.forward import Forward
from torchbce.fitting.gradients import Gradients
from torchbce.monitor.epoch_bce import EpochBCE

Scheduler = torch.optim.lr_scheduler.LRScheduler


@dataclass(frozen=True)
class Step:
    """`spares`: batches without items, which a process may get of a short last batch, need no forward pass."""

    forward: Forward
    gradients: Gradients
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | None
    scaler: torch.amp.GradScaler | None
    alone: bool
    spares: bool

    def __call__(
        self, inputs: Any, target: Tensor, meter: EpochBCE, *, with_targets: bool, due: bool, stop: bool
    ) -> tuple[Agreed, Any, Tensor | None]:
        """The update, if the loss is finite; then the meter has it too. Also returns output and loss."""
        target = target.to(self.forward.device)
        count = target.numel()
        self.optimizer.zero_grad()
        output: Any = self.forward(inputs) if count or not self.spares else None
        loss = self.forward.loss_func(output, target) if count or self.alone else None
        agreed = self.gradients(output, loss, count, due, stop)
        if agreed.finite:
            self._update()
            if loss is not None:
                self.forward.count(meter, loss, target, with_targets=with_targets)
        return agreed, output, loss

    def _update(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.scheduler:
            self.scheduler.step()
