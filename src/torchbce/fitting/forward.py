"""From a batch to a module's output and its loss: on the module's device, in the precision that was asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.common.batch import call, moved
from torchbce.monitor.convention import Convention
from torchbce.monitor.epoch_bce import EpochBCE

LossFunction = Callable[[Tensor, Tensor], Tensor]
NARROW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Forward:
    """The forward pass. module: may be compiled or wrapped; autocast: the dtype that torch.autocast computes in."""

    module: nn.Module
    loss_func: LossFunction
    device: torch.device
    autocast: torch.dtype | None = None

    @functools.cached_property
    def convention(self) -> Convention:
        """The loss's own description of its reduction and options."""
        return Convention.of(self.loss_func)

    @property
    def reduction(self) -> str:
        """Reduction of a 0-d loss; a loss function that does not say is taken for a mean, torch's default."""
        return "sum" if self.convention.reduction == "sum" else "mean"

    def count(self, epoch_bce: EpochBCE, loss: Tensor, target: Tensor, *, with_targets: bool) -> None:
        """Count a batch, with its targets where they are asked for or where the loss's mean depends on them."""
        convention = self.convention
        with_targets |= convention.needs_targets
        counts_itself = with_targets and convention.tells_count
        if loss.ndim and loss.numel() != target.numel():  # of a shape of its own
            loss = loss.sum() if self.reduction == "sum" else loss.mean()
        epoch_bce.update(
            loss,
            target if with_targets else None,
            count=None if counts_itself else target.numel(),
            reduction=self.reduction,
        )

    def __call__(self, inputs: Any) -> Any:
        """Return the module's output; under autocast in float32, so that the loss is."""
        inputs = moved(inputs, lambda tensor: tensor.to(self.device))
        if self.autocast is None:
            return call(self.module, inputs)
        with torch.autocast(self.device.type, dtype=self.autocast):
            output = call(self.module, inputs)
        return moved(output, lambda tensor: tensor.float() if tensor.dtype in NARROW else tensor)


def device_of(module: nn.Module) -> torch.device:
    """Device of the first parameter, else the CPU."""
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


def devices_of(module: nn.Module) -> list[torch.device]:
    """Devices of the parameters other than the CPU, in order."""
    devices = {parameter.device for parameter in module.parameters() if parameter.device.type not in ("cpu", "meta")}
    return sorted(devices, key=str)
