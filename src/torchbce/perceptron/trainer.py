"""Training and evaluation of a network by calls of compiled code, on tensors."""

from __future__ import annotations

import functools
import itertools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchbce.formula.loss import Loss
from torchbce.jit import machine_code
from torchbce.jit.dense import require_dense
from torchbce.perceptron.arguments import ADAM, BIN_FLOATS, NO_OPTIMIZER, SGD, Arguments, pack
from torchbce.perceptron.layers import ACTIVATIONS, BinnedLayer, Layers
from torchbce.perceptron.rows import Limits, Rows, no_rows

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

OPTIMIZERS = {"none": NO_OPTIMIZER, "sgd": SGD, "adamw": ADAM}
SEEDS = 1 << 31


class Optimizer(NamedTuple):
    """An optimiser by name: "sgd", "adamw", or "none", which leaves the gradient in `CompiledTrainer.gradient`."""

    name: str = "none"
    decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def available() -> bool:
    """Return whether this scipy's BLAS can be called."""
    from torchbce.perceptron.blas import sgemm_address

    return sgemm_address() is not None


def one_blas_thread() -> AbstractContextManager[object]:
    """Limit BLAS to one thread: training has a thread per network, and no bit may depend on their number."""
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _libraries() -> ThreadpoolController:
    """Find the libraries that are loaded, scipy's BLAS among them, once: that takes a millisecond."""
    from threadpoolctl import ThreadpoolController

    available()
    return ThreadpoolController()


class CompiledTrainer:
    """A network trained and evaluated in compiled code, with its optimiser's state; for one thread at a time.

    skip: skip batches whose loss is not finite, and count them.
    """

    def __init__(
        self, layers: Layers, loss: Loss, optimizer: Optimizer, *, batch: int, seed: int = 0, skip: bool = False
    ) -> None:
        from torchbce.perceptron.blas import sgemm_address

        def to_llvm() -> str:
            from torchbce.perceptron.step import compile_to_llvm

            return compile_to_llvm(loss)

        self._function = machine_code.compiled(f"perceptron {loss.text}", to_llvm, Path(__file__).parent)
        self._layers, self._optimizer, self._batch = layers, optimizer, batch
        self.gradient = torch.zeros_like(layers.parameters)
        self.steps = 0
        self.skipped, self.skipped_weight = 0, 0.0  # batches, and the weight of their rows
        self._loss = torch.zeros(3, dtype=torch.float64)
        self._partials = torch.zeros(0, 0)
        self._limits = layers.limits
        self._no_rows = no_rows(self._limits)
        self._within: Limits | None = None  # limits of the last rows that were within the network's
        self._arguments = self._fixed_arguments(sgemm_address() or 0, seed)._replace(skip=int(skip))

    def train(self, rows: Rows, order: Tensor, rates: Tensor, total: float = 0.0) -> float:
        """Take steps through the rows in `order` (int32), one learning rate (float64) each.

        Returns `total` plus the rows' losses, added in their order, so that calls may divide an epoch anywhere.
        """
        steps = -(-len(order) // self._batch)
        if not steps:
            raise ValueError("order is empty; a step takes at least one row")
        require_dense("rates", rates, torch.float64, (steps,))
        self._loss[0], self._loss[1:3] = total, 0.0
        self._call(rows, order=order, rates=rates.data_ptr(), training=1, logits=self._scores)
        self.steps += steps
        self.skipped += int(self._loss[1])
        self.skipped_weight += self._loss[2].item()
        return self._loss[0].item()

    def accumulate_gradient(self, rows: Rows, order: Tensor, *, batch_rows: int, dropout_counter: int) -> Tensor:
        """Compute the part that micro-batches have in the gradient of the mean loss of a batch of `batch_rows` rows.

        The part is left in `gradient`. A micro-batch has the rows of the trainer's batch. dropout_counter: the number
        of the first micro-batch. Returns the sum of the losses of each micro-batch, float64.
        """
        count = -(-len(order) // self._batch)
        if not 0 < len(order) <= batch_rows:
            raise ValueError(f"{len(order)} rows are no part of a batch of {batch_rows}")
        self._reserve(count)
        self._loss[:count] = 0
        self._call(
            rows, order=order, rates=0, training=1, logits=self._scores, whole_batch=batch_rows, step=dropout_counter
        )
        return self._loss[:count].clone()

    def apply(self, rate: float) -> None:
        """Take one step of the optimiser with `gradient`."""
        rates = torch.tensor([rate], dtype=torch.float64)
        self._call(self._no_rows, order=None, rates=rates.data_ptr(), training=1, logits=self._scores)
        self.steps += 1

    def outputs(self, rows: Rows, order: Tensor | None = None) -> Tensor:
        """Return outputs (N, heads) of all rows or of those in `order` (int32), without dropout."""
        count = len(rows) if order is None else len(order)
        out = torch.empty(count, self._layers.heads)
        self._call(rows, order=order, rates=0, training=0, logits=out)
        return out

    @property
    def parameters(self) -> Tensor:
        """All parameters of the network in one tensor."""
        return self._layers.parameters

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Adam's two moments, as long as the parameters."""
        return self._memory["first_moment"], self._memory["second_moment"]

    def _reserve(self, micro_batches: int) -> None:
        """Allocate memory for the losses of micro-batches and the sums of their gradients."""
        levels = micro_batches.bit_length()
        if len(self._loss) < micro_batches or len(self._partials) < levels:
            self._loss = torch.zeros(max(micro_batches, len(self._loss)), dtype=torch.float64)
            self._partials = torch.empty(levels, len(self.gradient))
            self._arguments = self._arguments._replace(loss=self._loss.data_ptr(), partials=self._partials.data_ptr())

    def _call(
        self,
        rows: Rows,
        *,
        order: Tensor | None,
        rates: int,
        training: int,
        logits: Tensor,
        whole_batch: int = 0,
        step: int | None = None,
    ) -> None:
        self._require_within(rows, order)
        arguments = self._arguments._replace(
            bins=rows.bins.data_ptr(),
            fractions=rows.fractions.data_ptr(),
            numbers=rows.numbers.data_ptr(),
            codes=rows.codes.data_ptr(),
            target=rows.target.data_ptr(),
            weight=0 if rows.weight is None else rows.weight.data_ptr(),
            order=0 if order is None else order.data_ptr(),
            rows=len(rows) if order is None else len(order),
            rates=rates,
            step=self.steps if step is None else step,
            whole_batch=whole_batch,
            training=training,
            logits=logits.data_ptr(),
        )
        self._function(pack(arguments))

    def _require_within(self, rows: Rows, order: Tensor | None) -> None:
        """Raise unless rows are within the network's limits, and an order within the rows."""
        if rows.limits is not self._within:
            if not self._limits.contain(rows.limits):
                raise ValueError(f"rows within {rows.limits} are not those of a network of {self._limits}")
            self._within = rows.limits
        if order is not None:
            require_dense("order", order, torch.int32, (len(order),))
            if len(order) and int(order.numpy().view(np.uint32).max()) >= len(rows):
                raise ValueError(f"order names rows from {order.min()} to {order.max()}; there are {len(rows)}, from 0")

    def _fixed_arguments(self, sgemm: int, seed: int) -> Arguments:
        """Return the arguments that are the same in every call, and allocate the memory behind them."""
        net, batch = self._layers, self._batch
        columns, bins = (0, 0) if net.binned is None else net.binned.start.shape
        dims = [embedding.shape[1] for embedding in net.embeddings]
        widths = net.widths
        inputs = widths[0]
        items = batch * net.heads

        def memory(*shape: int) -> Tensor:
            return torch.zeros(max(1, torch.Size(shape).numel()))

        def integers(values: list[int]) -> Tensor:
            return torch.tensor(values or [0], dtype=torch.int64)

        outputs = [memory(items, width) for width in widths[1:]]
        slopes = [memory(items, width) for width in widths[1:]]
        undecayed = {net.offset(tensor) for tensor in net.undecayed}
        everything = len(net.parameters)
        borders = sorted({0, *undecayed, *(net.offset(t) + t.numel() for t in net.undecayed), everything})
        blocks = [[start, end - start, int(start not in undecayed)] for start, end in itertools.pairwise(borders)]
        wide = (net.heads, widths[1], inputs) if net.heads > 1 else (0,)
        self._scores = memory(items)
        self._memory = buffers = {
            "widths": integers(widths),
            "activations": integers([ACTIVATIONS[layer.activation] for layer in net.hidden]),
            "embedding_widths": integers(dims),
            "level_weights": integers([net.offset(tensor) for tensor in net.level_weights]),
            "embeddings": integers([net.offset(tensor) for tensor in net.embeddings]),
            "dense": integers([net.offset(part) for layer in net.hidden for part in (layer.weight, layer.bias)]),
            "first_moment": torch.zeros_like(net.parameters),
            "second_moment": torch.zeros_like(net.parameters),
            "blocks": integers(list(itertools.chain(*blocks))),
            "table": memory(columns, bins, BIN_FLOATS),
            "table_gradient": memory(columns, bins, BIN_FLOATS),
            "encoded": memory(batch, inputs),
            "encoded_gradient": memory(batch, inputs),
            "wide_weight": memory(*wide),
            "wide_gradient": memory(*wide),
            "outputs": integers([tensor.data_ptr() for tensor in outputs]),
            "slopes": integers([tensor.data_ptr() for tensor in slopes]),
            "scratch": memory(items, max(widths[1:], default=1)),
        }
        self._outputs_and_slopes = outputs + slopes  # their addresses are in `outputs` and `slopes`
        binned = net.binned or BinnedLayer(*[net.parameters[:0]] * 2, *[torch.zeros(1)] * 2)
        return Arguments(
            **{name: tensor.data_ptr() for name, tensor in buffers.items()},
            **dict.fromkeys(("bins", "fractions", "numbers", "codes", "target", "weight", "order", "rows"), 0),
            **dict.fromkeys(("rates", "step", "training", "logits", "whole_batch", "partials", "skip"), 0),
            sgemm=sgemm,
            batch=batch,
            binned=columns,
            bin_count=bins,
            numeric=net.numeric,
            categorical=len(dims),
            inputs=inputs,
            heads=net.heads,
            layers=len(net.hidden),
            start=binned.start.data_ptr(),
            length=binned.length.data_ptr(),
            parameters=net.parameters.data_ptr(),
            gradient=self.gradient.data_ptr(),
            parameter_count=everything,
            bin_weight=net.offset(binned.weight),
            bin_bias=net.offset(binned.bias),
            direct=net.offset(net.direct),
            signs=net.offset(net.signs),
            output_weight=net.offset(net.output_weight),
            output_bias=net.offset(net.output_bias),
            sigmoid=int(net.sigmoid),
            seed=seed % SEEDS,
            drop_threshold=int(net.dropout * 2**32),
            keep_scale=1.0 / (1.0 - net.dropout),
            optimizer=OPTIMIZERS[self._optimizer.name],
            block_count=len(blocks),
            beta1=self._optimizer.beta1,
            beta2=self._optimizer.beta2,
            epsilon=self._optimizer.epsilon,
            decay=self._optimizer.decay,
            loss=self._loss.data_ptr(),
        )
