"""A network by its tensors, as compiled code has it: none can be made whose tensors do not fit each other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.perceptron.rows import Limits, require_dense
from torchbce.perceptron.words import RELU, SILU, TANH, WIDTH

ACTIVATIONS = {"silu": SILU, "tanh": TANH, "relu": RELU, "identity": 0}


class Pieces(NamedTuple):
    """Columns of numbers in pieces: weight (C, K, 8) and bias (C, 1, 8) of the layer, start and length (C, K)."""

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

    Shapes: C columns in pieces, P plain numbers, D the width of an encoded row (8 C + P + all embeddings'), k heads.

    Raises:
        ValueError: a tensor of another shape or other elements, or one that is no part of `parameters`.
    """

    parameters: Tensor
    plain: int
    output_weight: Tensor  # (k, H)
    output_bias: Tensor  # (k,)
    pieces: Pieces | None = None
    direct: Tensor | None = None  # (C + P,), weights from inputs to the logits
    level_weights: list[Tensor] = field(default_factory=list)  # (levels,), if `direct`
    embeddings: list[Tensor] = field(default_factory=list)  # (levels, width)
    signs: Tensor | None = None  # (k, D) if k > 1
    hidden: list[Dense] = field(default_factory=list)
    sigmoid: bool = False  # outputs are probabilities
    dropout: float = 0.0
    undecayed: list[Tensor] = field(default_factory=list)  # parameters that AdamW does not decay

    def __post_init__(self) -> None:
        # What all of compiled code relies on: it knows places in `parameters` and widths, and looks at no shape.
        require_dense("parameters", self.parameters, torch.float32, (self.parameters.numel(),))
        cut, most = (0, 0) if self.pieces is None else self.pieces.start.shape
        heads, widths = self.heads, self.widths
        if self.pieces is not None:
            self._require("the pieces' weight", self.pieces.weight, (cut, most, WIDTH))
            self._require("the pieces' bias", self.pieces.bias, (cut, 1, WIDTH))
            for name, tensor in (("start", self.pieces.start), ("length", self.pieces.length)):
                require_dense(f"the pieces' {name}", tensor, torch.float32, (cut, most))
        if self.direct is not None:
            self._require("direct", self.direct, (cut + self.plain,))
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
        return len(self.output_bias)

    @property
    def widths(self) -> list[int]:
        """Of an encoded row, then of each layer."""
        cut = 0 if self.pieces is None else len(self.pieces.start)
        inputs = cut * WIDTH + self.plain + sum(table.shape[1] for table in self.embeddings)
        return [inputs, *(len(layer.bias) for layer in self.hidden)]

    @property
    def limits(self) -> Limits:
        """Of the rows that it can look up."""
        cut, most = (0, 0) if self.pieces is None else self.pieces.start.shape
        return Limits((most,) * cut, self.plain, tuple(len(table) for table in self.embeddings))

    def place(self, tensor: Tensor | None) -> int:
        """Where a parameter begins in all of them; -1 without it."""
        if tensor is None:
            return -1
        return (tensor.data_ptr() - self.parameters.data_ptr()) // 4 if tensor.numel() else 0

    def _require(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        require_dense(name, tensor, torch.float32, shape)
        first = self.place(tensor)
        if not 0 <= first <= first + tensor.numel() <= len(self.parameters):
            raise ValueError(f"{name} is no part of the parameters")
