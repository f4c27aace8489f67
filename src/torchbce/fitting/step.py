"""One training step: zero_grad, forward, loss, backward, optimizer step; for one process or many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce.fitting.backward import Backward, StepStatus
from torchbce.fitting.forward import Forward
from torchbce.monitor.epoch_bce import EpochBCE

Scheduler = torch.optim.lr_scheduler.LRScheduler


class StepResult(NamedTuple):
    """What came of a step. loss: None where this process has no items of the batch."""

    status: StepStatus
    output: Any
    loss: Tensor | None


@dataclass(frozen=True)
class TrainStep:
    """The step of a module with its optimizer.

    single_process: no other process takes the same step. skips_forward: a process without items of a short last batch
    needs no forward pass.
    """

    forward: Forward
    backward: Backward
    optimizer: torch.optim.Optimizer
    scheduler: Scheduler | None
    scaler: torch.amp.GradScaler | None
    single_process: bool
    skips_forward: bool

    def train_step(
        self, inputs: Any, target: Tensor, running: EpochBCE, *, with_targets: bool, due: bool, stop: bool
    ) -> StepResult:
        """Update the weights and count the loss in `running`, if the loss is finite."""
        target = target.to(self.forward.device)
        count = target.numel()
        self.optimizer.zero_grad()
        output: Any = self.forward(inputs) if count or not self.skips_forward else None
        loss = self.forward.loss_func(output, target) if count or self.single_process else None
        status = self.backward(output, loss, count, due, stop)
        if status.finite:
            self._update()
            if loss is not None:
                self.forward.count(running, loss, target, with_targets=with_targets)
        return StepResult(status, output, loss)

    def _update(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.scheduler:
            self.scheduler.step()
