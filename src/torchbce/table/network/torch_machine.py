"""A `TableNetwork` trained by torch on any device: the same steps as in compiled code, to rounding.

Nothing waits for a GPU between steps: losses are added up there and read once a call.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from torchbce.engine.reference import bound
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS
from torchbce.perceptron.machine import SEEDS, Optimizer
from torchbce.perceptron.rows import Rows
from torchbce.table.network.device_rows import DeviceRows, Parts, batch_of, moved
from torchbce.table.network.dropout import dropout_keys
from torchbce.table.network.torch_forward import TorchForward
from torchbce.table.network.torch_optimizers import adamw, sgd
from torchbce.table.network.tree import total as sum_of_lanes


class TorchMachine:
    """As `Machine`: a network, its optimiser's state, and the calls that train and evaluate it; one thread's at a time.

    `parameters` are all of the network's, as one, of which they are views; they, the gradient and the moments are on
    the network's device. Rows and orders come from the processor, losses and outputs go there. `skip`: batches whose
    loss is not finite are left out, and counted.
    """

    def __init__(
        self,
        forward: TorchForward,
        parameters: Tensor,
        optimizer: Optimizer,
        *,
        rows: DeviceRows,
        batch: int,
        seed: int = 0,
        skip: bool = False,
    ) -> None:
        self.parameters = parameters
        self.gradient = torch.zeros_like(parameters)
        self.moments = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.steps = 0
        self.skipped, self.skipped_weight = 0, 0.0  # batches whose loss was not finite, and the weight of their rows
        self._forward, self._optimizer, self._rows = forward, optimizer, rows
        self._batch, self._seed, self._skip = batch, seed % SEEDS, skip
        self._value, self._slope = bound(BCE_WITH_LOGITS.value), bound(BCE_WITH_LOGITS.dx)
        self._own = list(forward.network.parameters())
        bias = forward.network.output_bias
        place = bias.storage_offset()
        self._decayed = parameters[:place], parameters[place + bias.numel() :]

    def train(self, rows: Rows, order: Tensor, rates: Tensor, total: float = 0.0) -> float:
        """Steps through the rows in `order` (int32), one learning rate (float64) each.

        Returns `total` plus the rows' losses, added in their order, so that calls can be cut anywhere.
        """
        sums = torch.zeros(3, dtype=torch.float64, device=self.parameters.device)  # losses; batches, weight left out
        sums[0] = total
        for (batch, key), rate in zip(self._batches(rows, order, self.steps), rates.tolist(), strict=True):
            loss = self._differentiate(batch, key, len(batch))
            if self._skip:
                taken = loss.isfinite()
                self._update_where(taken, rate)
                sums[0] += torch.where(taken, loss, 0.0)
                sums[1] += taken.logical_not()
                weight = len(batch) if batch.weight is None else batch.weight.double().sum()
                sums[2] += torch.where(taken, 0.0, weight)
            else:
                self._update(rate)
                sums[0] += loss
            self.steps += 1
        found, skipped, weight_left_out = sums.tolist()
        self.skipped += int(skipped)
        self.skipped_weight += weight_left_out
        return float(found)

    def lanes(self, rows: Rows, order: Tensor, *, of: int, draw: int) -> Tensor:
        """The gradient of the mean loss of a batch of `of` rows, as far as it comes from these lanes.

        It is left in `gradient`. Lanes have as many rows as the machine's batch. `draw`: the number of the first lane,
        for dropout. Returns the sum of the losses of each lane's rows, float64.
        """
        losses, gradients = [], {}
        for number, (lane, key) in enumerate(self._batches(rows, order, draw)):
            losses.append(self._differentiate(lane, key, of))
            gradients[number, number + 1] = self.gradient.clone()
        self.gradient.copy_(sum_of_lanes(gradients, (0, len(losses)), len(losses)))
        return torch.stack(losses).cpu()

    def apply(self, rate: float) -> None:
        """One step of the optimiser with what stands in `gradient`."""
        self._update(rate)
        self.steps += 1

    def outputs(self, rows: Rows, order: Tensor | None = None) -> Tensor:
        """(N, heads), of all rows or of those in `order` (int32), without dropout and in float32."""
        order = torch.arange(len(rows), dtype=torch.int32) if order is None else order
        return torch.cat([self._forward.outputs(batch) for batch, _ in self._batches(rows, order, 0)]).cpu()

    def _batches(self, rows: Rows, order: Tensor, draw: int) -> Iterator[tuple[Parts, Tensor]]:
        """Batch after batch on the device, with the keys of its dropout; `draw`: the number of the first."""
        if not self._forward.network.spec.limits.hold(rows.limits):  # what a GPU would stop the process for
            raise ValueError(f"rows within {rows.limits} are not those of a network of {self._forward.network.spec}")
        ready, device = self._rows.of(rows), self.parameters.device
        parts = torch.split(moved(order, device), self._batch)
        keys = moved(dropout_keys(self._seed, draw, len(parts), len(self._forward.network.layers)), device)
        for part, key in zip(parts, keys, strict=True):
            yield batch_of(ready, part), key

    def _differentiate(self, rows: Parts, key: Tensor, of: int) -> Tensor:
        """`gradient` becomes that of the rows' losses, each divided by `of`; returns their sum, float64."""
        logits = self._forward(rows, key)
        with torch.no_grad():
            target, heads = rows.target.unsqueeze(1), logits.shape[1]
            losses, slopes = self._value(logits, target).double().mean(1), self._slope(logits, target) / (of * heads)
            if rows.weight is not None:
                losses, slopes = losses * rows.weight, slopes * rows.weight.unsqueeze(1)
        parts = torch.autograd.grad(logits, self._own, slopes, materialize_grads=True)
        torch.cat([part.reshape(-1) for part in parts], out=self.gradient)
        total: Tensor = losses.sum()
        return total

    def _update(self, rate: float) -> None:
        if self._optimizer.name == "sgd":
            sgd(self.parameters, self.gradient, rate, self._optimizer.decay)
        elif self._optimizer.name == "adamw":
            step = self.steps + 1
            adamw(self.parameters, self.gradient, self.moments, self._decayed, self._optimizer, rate, step)

    def _update_where(self, taken: Tensor, rate: float) -> None:
        """The same, or nothing."""
        state = self.parameters, *self.moments
        before = [part.clone() for part in state]
        self._update(rate)
        for part, old in zip(state, before, strict=True):
            part.copy_(torch.where(taken, part, old))
