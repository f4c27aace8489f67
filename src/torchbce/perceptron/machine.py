"""Calls of the compiled training, on tensors."""

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
from torchbce.perceptron.layers import ACTIVATIONS, Layers, Pieces
from torchbce.perceptron.rows import Limits, Rows, no_rows, require_dense
from torchbce.perceptron.words import ADAM, CELL, NO_OPTIMIZER, SGD, Words, packed

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

OPTIMIZERS = {"none": NO_OPTIMIZER, "sgd": SGD, "adamw": ADAM}
SEEDS = 1 << 31


class Optimizer(NamedTuple):
    """ "sgd", "adamw" or "none", which leaves the gradient in `Machine.gradient`."""

    name: str = "none"
    decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def available() -> bool:
    """Whether this scipy's BLAS can be called."""
    from torchbce.perceptron.blas import sgemm_address

    return sgemm_address() is not None


def one_blas_thread() -> AbstractContextManager[object]:
    """Training takes a thread per network: BLAS must not start more, nor depend on how many there are."""
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


@functools.cache
def _libraries() -> ThreadpoolController:
    """Those that are loaded, scipy's BLAS among them: looking for them takes a millisecond."""
    from threadpoolctl import ThreadpoolController

    available()
    return ThreadpoolController()


class Machine:
    """A network trained and evaluated in compiled code, with its optimiser's state. Not for several threads.

    `skip`: batches whose loss is not finite are left out, and counted.
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
        self.skipped, self.skipped_weight = 0, 0.0  # batches whose loss was not finite, and the weight of their rows
        self._loss = torch.zeros(3, dtype=torch.float64)
        self._partials = torch.zeros(0, 0)
        self._limits = layers.limits
        self._no_rows = no_rows(self._limits)
        self._within: Limits | None = None  # the limits of rows that were seen to be within the network's
        self._words = self._fixed(sgemm_address() or 0, seed)._replace(skip=int(skip))

    def train(self, rows: Rows, order: Tensor, rates: Tensor, total: float = 0.0) -> float:
        """Steps through the rows in `order` (int32), one learning rate (float64) each.

        Returns `total` plus the rows' losses, added in their order, so that calls can be cut anywhere.
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

    def lanes(self, rows: Rows, order: Tensor, *, of: int, draw: int) -> Tensor:
        """The gradient of the mean loss of a batch of `of` rows, as far as it comes from these lanes.

        It is left in `gradient`. Lanes have as many rows as the machine's batch. `draw`: the number of the first lane,
        for dropout. Returns the sum of the losses of each lane's rows, float64.
        """
        count = -(-len(order) // self._batch)
        if not 0 < len(order) <= of:
            raise ValueError(f"{len(order)} rows are no lanes of a batch of {of}")
        self._hold(count)
        self._loss[:count] = 0
        self._call(rows, order=order, rates=0, training=1, logits=self._scores, of=of, step=draw)
        return self._loss[:count].clone()

    def apply(self, rate: float) -> None:
        """One step of the optimiser with what stands in `gradient`."""
        rates = torch.tensor([rate], dtype=torch.float64)
        self._call(self._no_rows, order=None, rates=rates.data_ptr(), training=1, logits=self._scores)
        self.steps += 1

    def outputs(self, rows: Rows, order: Tensor | None = None) -> Tensor:
        """(N, heads), of all rows or of those in `order` (int32), without dropout."""
        count = len(rows) if order is None else len(order)
        out = torch.empty(count, self._layers.heads)
        self._call(rows, order=order, rates=0, training=0, logits=out)
        return out

    @property
    def parameters(self) -> Tensor:
        """All of the network's, as one."""
        return self._layers.parameters

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Adam's, as long as the parameters."""
        return self._memory["first_moment"], self._memory["second_moment"]

    def _hold(self, lanes: int) -> None:
        """Room for the losses of so many lanes, and for the sums of their gradients."""
        levels = lanes.bit_length()
        if len(self._loss) < lanes or len(self._partials) < levels:
            self._loss = torch.zeros(max(lanes, len(self._loss)), dtype=torch.float64)
            self._partials = torch.empty(levels, len(self.gradient))
            self._words = self._words._replace(loss=self._loss.data_ptr(), partials=self._partials.data_ptr())

    def _call(
        self,
        rows: Rows,
        *,
        order: Tensor | None,
        rates: int,
        training: int,
        logits: Tensor,
        of: int = 0,
        step: int | None = None,
    ) -> None:
        self._require_within(rows, order)
        words = self._words._replace(
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
            of=of,
            training=training,
            logits=logits.data_ptr(),
        )
        self._function(packed(words))

    def _require_within(self, rows: Rows, order: Tensor | None) -> None:
        """What `row_at` and `encode` rely on: rows are within the network's limits, and an order within the rows."""
        if rows.limits is not self._within:
            if not self._limits.hold(rows.limits):
                raise ValueError(f"rows within {rows.limits} are not those of a network of {self._limits}")
            self._within = rows.limits
        if order is not None:
            require_dense("order", order, torch.int32, (len(order),))
            if len(order) and int(order.numpy().view(np.uint32).max()) >= len(rows):
                raise ValueError(f"order names rows from {order.min()} to {order.max()}; there are {len(rows)}, from 0")

    def _fixed(self, sgemm: int, seed: int) -> Words:
        """The words that are the same in every call, and the memory behind them."""
        net, batch = self._layers, self._batch
        cut, pieces = (0, 0) if net.pieces is None else net.pieces.start.shape
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
        undecayed = {net.place(tensor) for tensor in net.undecayed}
        everything = len(net.parameters)
        borders = sorted({0, *undecayed, *(net.place(t) + t.numel() for t in net.undecayed), everything})
        blocks = [[start, end - start, int(start not in undecayed)] for start, end in itertools.pairwise(borders)]
        wide = (net.heads, widths[1], inputs) if net.heads > 1 else (0,)
        self._scores = memory(items)
        self._memory = held = {
            "widths": integers(widths),
            "activations": integers([ACTIVATIONS[layer.activation] for layer in net.hidden]),
            "levels_width": integers(dims),
            "level_weights": integers([net.place(tensor) for tensor in net.level_weights]),
            "embeddings": integers([net.place(tensor) for tensor in net.embeddings]),
            "dense": integers([net.place(part) for layer in net.hidden for part in (layer.weight, layer.bias)]),
            "first_moment": torch.zeros_like(net.parameters),
            "second_moment": torch.zeros_like(net.parameters),
            "blocks": integers(list(itertools.chain(*blocks))),
            "table": memory(cut, pieces, CELL),
            "table_gradient": memory(cut, pieces, CELL),
            "encoded": memory(batch, inputs),
            "encoded_gradient": memory(batch, inputs),
            "wide_weight": memory(*wide),
            "wide_gradient": memory(*wide),
            "outputs": integers([tensor.data_ptr() for tensor in outputs]),
            "slopes": integers([tensor.data_ptr() for tensor in slopes]),
            "scratch": memory(items, max(widths[1:], default=1)),
        }
        self._held = outputs + slopes
        of_pieces = net.pieces or Pieces(*[net.parameters[:0]] * 2, *[torch.zeros(1)] * 2)
        return Words(
            **{name: tensor.data_ptr() for name, tensor in held.items()},
            **dict.fromkeys(("bins", "fractions", "numbers", "codes", "target", "weight", "order", "rows"), 0),
            **dict.fromkeys(("rates", "step", "training", "logits", "of", "partials", "skip"), 0),
            sgemm=sgemm,
            batch=batch,
            cut=cut,
            pieces=pieces,
            plain=net.plain,
            coded=len(dims),
            inputs=inputs,
            heads=net.heads,
            layers=len(net.hidden),
            start=of_pieces.start.data_ptr(),
            length=of_pieces.length.data_ptr(),
            parameters=net.parameters.data_ptr(),
            gradient=self.gradient.data_ptr(),
            parameter_count=everything,
            piece_weight=net.place(of_pieces.weight),
            piece_bias=net.place(of_pieces.bias),
            direct=net.place(net.direct),
            signs=net.place(net.signs),
            output_weight=net.place(net.output_weight),
            output_bias=net.place(net.output_bias),
            sigmoid=int(net.sigmoid),
            seed=seed % SEEDS,
            drop_below=int(net.dropout * 2**32),
            kept_scale=1.0 / (1.0 - net.dropout),
            optimizer=OPTIMIZERS[self._optimizer.name],
            block_count=len(blocks),
            beta1=self._optimizer.beta1,
            beta2=self._optimizer.beta2,
            epsilon=self._optimizer.epsilon,
            decay=self._optimizer.decay,
            loss=self._loss.data_ptr(),
        )
