"""A network's tensors as compiled code reads them, with checked shapes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.jit.dense import require_dense
from torchbce.perceptron.arguments import RELU, SILU, TANH, WIDTH
from torchbce.perceptron.rows import Limits

ACTIVATIONS = {"silu": SILU, "tanh": TANH, "relu": RELU, "identity": 0}


class BinnedLayer(NamedTuple):
    """The layer of C binned columns of K bins: weight (C, K, 8) and bias (C, 1, 8); start and length of bins (C, K)."""

    weight: Tensor
    bias: Tensor
    start: Tensor
    length: Tensor


class Dense(NamedTuple):
    """A hidden layer: weight (outputs, inputs), bias (outputs,), and its activation by name."""

    weight: Tensor
    bias: Tensor
    activation: str


@dataclass(frozen=True, eq=False)
class Layers:
    """A network by its tensors, all of them views of one: `parameters`, float32.

    Shapes: C binned columns, P numeric columns, D the width of an encoded row (8 C + P + all embeddings'), k heads.

    Raises:
        ValueError: a tensor of another shape or other elements, or one that is no part of `parameters`.
    """

    parameters: Tensor
    numeric: int
    output_weight: Tensor  # (k, H)
    output_bias: Tensor  # (k,)
    binned: BinnedLayer | None = None
    direct: Tensor | None = None  # (C + P,), weights from inputs to the logits
    level_weights: list[Tensor] = field(default_factory=list)  # (levels,), if `direct`
    embeddings: list[Tensor] = field(default_factory=list)  # (levels, width)
    signs: Tensor | None = None  # (k, D) if k > 1
    hidden: list[Dense] = field(default_factory=list)
    sigmoid: bool = False  # outputs are probabilities
    dropout: float = 0.0
    undecayed: list[Tensor] = field(default_factory=list)  # parameters that AdamW does not decay

    def __post_init__(self) -> None:
        # All of compiled code relies on it: it knows offsets into `parameters` and widths, and looks at no shape.
        require_dense("parameters", self.parameters, torch.float32, (self.parameters.numel(),))
        columns, bins = (0, 0) if self.binned is None else self.binned.start.shape
        heads, widths = self.heads, self.widths
        if self.binned is not None:
            self._require("the bins' weight", self.binned.weight, (columns, bins, WIDTH))
            self._require("the bins' bias", self.binned.bias, (columns, 1, WIDTH))
            for name, tensor in (("start", self.binned.start), ("length", self.binned.length)):
                require_dense(f"the bins' {name}", tensor, torch.float32, (columns, bins))
        if self.direct is not None:
            self._require("direct", self.direct, (columns + self.numeric,))
            for levels, table in zip(self.level_weights, self.embeddings, strict=True):
                self._require("a column's level weights", levels, (len(table),))
        for table in self.embeddings:
            self._require("an embedding", table, (len(table), table.shape[1]))
        if heads > 1:
            self._require("signs", self.parameters[:0] if self.signs is None else self.signs, (heads, widths[0]))
        for layer, (inputs, outputs) in zip(self.hidden, itertools.pairwise(widths), strict=True):
            self._require("a layer's weight", layer.weight, (outputs, inputs))
            self._require("a layer's bias", layer.bias, (outputs,))
        self._require("the output's weight", self.output_weight, (heads, widths[-1]))
        self._require("the output's bias", self.output_bias, (heads,))
        for tensor in self.undecayed:
            self._require("what does not decay", tensor, tuple(tensor.shape))

    @property
    def heads(self) -> int:
        """Number of heads."""
        return len(self.output_bias)

    @property
    def widths(self) -> list[int]:
        """Widths of an encoded row, then of each layer."""
        columns = 0 if self.binned is None else len(self.binned.start)
        inputs = columns * WIDTH + self.numeric + sum(table.shape[1] for table in self.embeddings)
        return [inputs, *(len(layer.bias) for layer in self.hidden)]

    @property
    def limits(self) -> Limits:
        """Limits of the rows that it can encode."""
        columns, bins = (0, 0) if self.binned is None else self.binned.start.shape
        return Limits((bins,) * columns, self.numeric, tuple(len(table) for table in self.embeddings))

    def offset(self, tensor: Tensor | None) -> int:
        """Return where a parameter begins in `parameters`; -1 for None."""
        if tensor is None:
            return -1
        return (tensor.data_ptr() - self.parameters.data_ptr()) // 4 if tensor.numel() else 0

    def _require(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        require_dense(name, tensor, torch.float32, shape)
        first = self.offset(tensor)
        if not 0 <= first <= first + tensor.numel() <= len(self.parameters):
            raise ValueError(f"{name} is no part of the parameters")
