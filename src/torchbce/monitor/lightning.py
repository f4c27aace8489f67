"""The mean BCE of each epoch in Lightning, exact over ragged batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    from pytorch_lightning import Callback, LightningModule, Trainer  # type: ignore[assignment]

from torchbce.monitor.epoch_bce import EpochBCE

__all__ = ["EpochBCECallback"]


class EpochBCECallback(Callback):
    """Logs `train_bce` and `valid_bce`, the means over items of what the steps return, and their share of the baseline.

    Args:
        targets: gets a batch and returns its targets; by default the second of the batch.
        reduction: what the steps' loss is, ``'mean'`` or ``'sum'``; by default what `loss_func` says, or a mean.
        loss_func: the loss that the steps return, as for :class:`torchbce.EpochBCE`: which items count, and whether it
            may be compared with the baseline.
        mask: gets a batch and returns the mask that the loss was given.

    Attributes:
        train, valid: the meters of the last epoch.
    """

    def __init__(
        self,
        targets: Callable[[Any], Tensor] = lambda batch: batch[1],
        reduction: str | None = None,
        *,
        loss_func: object = None,
        mask: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.targets, self.reduction, self.mask = targets, reduction, mask
        self.train, self.valid = EpochBCE(loss_func), EpochBCE(loss_func)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.train.reset()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.valid.reset()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if outputs:  # a step that returned None was skipped
            self._update(
                self.train, outputs, batch, times=trainer.accumulate_grad_batches
            )  # Lightning has divided by it

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._update(self.valid, outputs, batch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "train_bce", self.train)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(pl_module, "valid_bce", self.valid)

    def _update(self, meter: EpochBCE, outputs: Any, batch: Any, times: int = 1) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is None:
            raise ValueError("the step returned no loss: return it, or {'loss': loss}")
        mask = None if self.mask is None else self.mask(batch)
        meter.update(loss * times, self.targets(batch), reduction=self.reduction, mask=mask)

    def _log(self, module: LightningModule, name: str, meter: EpochBCE) -> None:
        whole = meter.gathered()
        # Merged over the processes already; Lightning would average again.
        module.log(name, whole.compute(), sync_dist=False, rank_zero_only=False)
        if whole.baseline > 0:
            module.log(f"{name}_of_baseline", whole.compute() / whole.baseline, sync_dist=False)
