"""The network for a table in plain torch: logistic regression plus a multilayer perceptron of several heads, in logits.

logit of a head = its bias + direct weights . inputs + perceptron(inputs * its signs). The direct weights and the
perceptron's last layer start at 0 and the bias at the base rate, so training starts from the best constant answer and
contains logistic regression; on small tables that is hard to beat, on large ones the perceptron takes over. Heads share
all layers (after Gorishniy, Kotelnikov and Babenko, "TabM", ICLR 2025); it is their probabilities that are averaged.

Numbers may be binned first (Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular
Deep Learning", NeurIPS 2022): bin k holds how much of the interval between edge k and edge k + 1 a value has passed.

`compiled` computes the same without Python; this is its reference, and what is exported and trained on a GPU.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from torchbce.perceptron.arguments import WIDTH
from torchbce.perceptron.rows import Limits
from torchbce.table.network.dropout import dropout

EMBEDDING_WIDTH = 16  # at most, per categorical column

Size = Annotated[int, Field(ge=1, le=65_536)]
BinCount = Annotated[int, Field(ge=0, le=4096)]


class NetworkSpec(BaseModel):
    """All that is needed to build the network again.

    pieces: the number of bins of each number, 0 if it is not binned; run folders have it by this name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pieces: list[BinCount] = Field(max_length=100_000)
    levels: list[Size] = Field(max_length=100_000)
    hidden: list[Size] = Field(max_length=32)
    heads: int = Field(default=1, ge=1, le=256)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def binned(self) -> list[int]:
        """Indices of the numbers that are binned."""
        return [i for i, pieces in enumerate(self.pieces) if pieces]

    @property
    def numeric(self) -> list[int]:
        """Indices of the numbers that enter as they are."""
        return [i for i, pieces in enumerate(self.pieces) if not pieces]

    @property
    def limits(self) -> Limits:
        """Limits of encoded rows."""
        return Limits(tuple(pieces for pieces in self.pieces if pieces), len(self.numeric), tuple(self.levels))


class TableNetwork(nn.Module):
    """Maps rows of numbers, followed by one code per categorical column, to a logit for each head, (N, heads)."""

    start: Tensor  # of each bin, and its length: 0 where a number has fewer bins than others
    length: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        binned, bins = len(spec.binned), max(spec.pieces, default=0)
        dims = [min(levels, EMBEDDING_WIDTH) for levels in spec.levels]
        self.register_buffer("start", torch.zeros(binned, bins))
        self.register_buffer("length", torch.zeros(binned, bins))
        self.piece_weight = nn.Parameter(torch.randn(binned, bins, WIDTH) / math.sqrt(max(bins, 1)))
        self.piece_bias = nn.Parameter(torch.zeros(binned, 1, WIDTH))
        self.direct = nn.Parameter(torch.zeros(len(spec.pieces)))  # of the binned numbers, then of the others
        self.level_weights = nn.ParameterList(torch.zeros(levels) for levels in spec.levels)
        self.embeddings = nn.ParameterList(
            torch.randn(levels, dim) for levels, dim in zip(spec.levels, dims, strict=True)
        )
        width = binned * WIDTH + len(spec.numeric) + sum(dims)
        self.signs = nn.Parameter(torch.randint(0, 2, (spec.heads, width)) * 2.0 - 1) if spec.heads > 1 else None
        sizes = [width, *spec.hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.output_weight = nn.Parameter(torch.zeros(spec.heads, sizes[-1]))
        self.output_bias = nn.Parameter(torch.zeros(spec.heads))

    @property
    def layers(self) -> list[nn.Linear]:
        """The hidden layers."""
        return [layer for layer in self.hidden if isinstance(layer, nn.Linear)]

    def start_at(self, base_rate: float) -> None:
        """Set the bias so that the untrained network answers the base rate."""
        nn.init.constant_(self.output_bias, math.log(base_rate / (1 - base_rate)))

    def set_bin_edges(self, bin_edges: list[np.ndarray]) -> None:
        """Set the edges of the binned numbers."""
        for i, edges in enumerate(bin_edges):
            self.start[i, : len(edges) - 1] = torch.from_numpy(edges[:-1])
            self.length[i, : len(edges) - 1] = torch.from_numpy(np.diff(edges))

    def check_bin_edges(self) -> None:
        """Raise unless every binned number has as many bins as the spec says, one after the other.

        Raises:
            ValueError: the number that has not.
        """
        for i, number in enumerate(self.spec.binned):
            count = self.spec.pieces[number]
            start, length = self.start[i], self.length[i]
            rise = bool((start[:count].diff() > 0).all() and (length[:count] > 0).all())
            if not rise or bool(length[count:].any()) or bool(start[count:].any()):
                raise ValueError(f"number {number} has no {count} pieces that follow each other")

    def forward(self, rows: Tensor) -> Tensor:
        numbers, codes = rows[:, : len(self.spec.pieces)], rows[:, len(self.spec.pieces) :].long()
        binned, numeric = numbers[:, self.spec.binned], numbers[:, self.spec.numeric]
        passed = self._passed(binned)
        within = self.start[:, 0] + (passed * self.length).sum(2) if len(self.spec.binned) else binned
        return self.logits(passed, within, numeric, codes)

    def logits(
        self, passed: Tensor, within: Tensor, numeric: Tensor, codes: Tensor, keys: Tensor | None = None
    ) -> Tensor:
        """Return the logits of encoded rows.

        passed: how much of each bin a number has passed; within: the number, within the range of its edges; numeric:
        other numbers; codes: of categories; keys: of each hidden layer's dropout, see `dropout_keys`, None for none.
        """
        outputs = torch.baddbmm(self.piece_bias, passed.transpose(0, 1), self.piece_weight).relu()
        direct = torch.cat([within, numeric], 1) @ self.direct
        parts = [outputs.transpose(0, 1).flatten(1), numeric]
        for i, (weights, embedding) in enumerate(zip(self.level_weights, self.embeddings, strict=True)):
            direct = direct + weights[codes[:, i]]
            parts.append(F.embedding(codes[:, i], embedding))
        return direct.unsqueeze(1) + self._perceptron(torch.cat(parts, 1), keys) + self.output_bias

    def _passed(self, numbers: Tensor) -> Tensor:
        """Return how much of each bin a number has passed, (N, numbers, bins); see `bins` for the same in NumPy."""
        used = self.length > 0
        return ((numbers.unsqueeze(-1) - self.start) / self.length.where(used, 1)).clamp(0, 1) * used

    def _perceptron(self, encoded: Tensor, keys: Tensor | None) -> Tensor:
        hidden = encoded.unsqueeze(1) if self.signs is None else encoded.unsqueeze(1) * self.signs
        for i, layer in enumerate(self.layers):
            hidden = F.silu(layer(hidden))
            if keys is not None and self.spec.dropout:
                hidden = dropout(hidden, self.spec.dropout, keys[i])
        return (hidden * self.output_weight).sum(2)
