"""The network for a table in plain torch: logistic regression plus a multilayer perceptron of several heads, in logits.

logit of a head = its bias + direct weights . inputs + perceptron(inputs * its signs). The direct weights and the
perceptron's last layer start at 0 and the bias at the base rate, so training starts from the best constant answer and
contains logistic regression; on small tables that is hard to beat, on large ones the perceptron takes over. Heads share
all layers (after Gorishniy, Kotelnikov and Babenko, "TabM", ICLR 2025); it is their probabilities that are averaged.

Numbers may be cut into pieces first (Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular
Deep Learning", NeurIPS 2022): piece k holds how much of the interval between edge k and edge k + 1 a value has passed.

`compiled` computes the same without Python; this is what it is compared with, what is exported, and what is trained on
a GPU.
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

from torchbce.perceptron.rows import Limits
from torchbce.perceptron.words import WIDTH
from torchbce.table.network.dropout import dropped

EMBEDDING_WIDTH = 16  # at most, per categorical column

Size = Annotated[int, Field(ge=1, le=65_536)]
Pieces = Annotated[int, Field(ge=0, le=4096)]


class NetworkSpec(BaseModel):
    """All that is needed to build the network again; `pieces` has one entry per number, 0 if it is not cut."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pieces: list[Pieces] = Field(max_length=100_000)
    levels: list[Size] = Field(max_length=100_000)
    hidden: list[Size] = Field(max_length=32)
    heads: int = Field(default=1, ge=1, le=256)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def cut(self) -> list[int]:
        """Which numbers are cut into pieces."""
        return [i for i, pieces in enumerate(self.pieces) if pieces]

    @property
    def plain(self) -> list[int]:
        """Which numbers enter as they are."""
        return [i for i, pieces in enumerate(self.pieces) if not pieces]

    @property
    def limits(self) -> Limits:
        """Of encoded rows."""
        return Limits(tuple(pieces for pieces in self.pieces if pieces), len(self.plain), tuple(self.levels))


class TableNetwork(nn.Module):
    """Rows of numbers, followed by one code per categorical column, to a logit for each head, shape (N, heads)."""

    start: Tensor  # of each piece, and its length: 0 where a number has fewer pieces than others
    length: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        cut, most = len(spec.cut), max(spec.pieces, default=0)
        dims = [min(levels, EMBEDDING_WIDTH) for levels in spec.levels]
        self.register_buffer("start", torch.zeros(cut, most))
        self.register_buffer("length", torch.zeros(cut, most))
        self.piece_weight = nn.Parameter(torch.randn(cut, most, WIDTH) / math.sqrt(max(most, 1)))
        self.piece_bias = nn.Parameter(torch.zeros(cut, 1, WIDTH))
        self.direct = nn.Parameter(torch.zeros(len(spec.pieces)))  # of the cut numbers, then of the plain ones
        self.level_weights = nn.ParameterList(torch.zeros(levels) for levels in spec.levels)
        self.embeddings = nn.ParameterList(
            torch.randn(levels, dim) for levels, dim in zip(spec.levels, dims, strict=True)
        )
        width = cut * WIDTH + len(spec.plain) + sum(dims)
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
        """Answer the base rate everywhere, until trained."""
        nn.init.constant_(self.output_bias, math.log(base_rate / (1 - base_rate)))

    def set_edges(self, edges: list[np.ndarray]) -> None:
        """The edges of the cut numbers."""
        for i, cuts in enumerate(edges):
            self.start[i, : len(cuts) - 1] = torch.from_numpy(cuts[:-1])
            self.length[i, : len(cuts) - 1] = torch.from_numpy(np.diff(cuts))

    def check_edges(self) -> None:
        """Raise unless every cut number has the pieces that the spec says, one after the other.

        Raises:
            ValueError: which number has not.
        """
        for i, number in enumerate(self.spec.cut):
            count = self.spec.pieces[number]
            start, length = self.start[i], self.length[i]
            rise = bool((start[:count].diff() > 0).all() and (length[:count] > 0).all())
            if not rise or bool(length[count:].any()) or bool(start[count:].any()):
                raise ValueError(f"number {number} has no {count} pieces that follow each other")

    def forward(self, rows: Tensor) -> Tensor:
        numbers, codes = rows[:, : len(self.spec.pieces)], rows[:, len(self.spec.pieces) :].long()
        cut, plain = numbers[:, self.spec.cut], numbers[:, self.spec.plain]
        passed = self._passed(cut)
        within = self.start[:, 0] + (passed * self.length).sum(2) if len(self.spec.cut) else cut  # the edges' range
        return self.logits(passed, within, plain, codes)

    def logits(
        self, passed: Tensor, within: Tensor, plain: Tensor, codes: Tensor, keys: Tensor | None = None
    ) -> Tensor:
        """Of encoded rows: how much of each piece a cut number has passed, the number itself, other numbers, codes.

        keys: of each hidden layer's dropout, see `dropout_keys`; without them nothing is dropped.
        """
        pieces = torch.baddbmm(self.piece_bias, passed.transpose(0, 1), self.piece_weight).relu()
        direct = torch.cat([within, plain], 1) @ self.direct
        parts = [pieces.transpose(0, 1).flatten(1), plain]
        for i, (weights, embedding) in enumerate(zip(self.level_weights, self.embeddings, strict=True)):
            direct = direct + weights[codes[:, i]]
            parts.append(F.embedding(codes[:, i], embedding))
        return direct.unsqueeze(1) + self._perceptron(torch.cat(parts, 1), keys) + self.output_bias

    def _passed(self, numbers: Tensor) -> Tensor:
        """How much of each piece a number has passed, (N, numbers, pieces)."""
        used = self.length > 0
        return ((numbers.unsqueeze(-1) - self.start) / self.length.where(used, 1)).clamp(0, 1) * used

    def _perceptron(self, encoded: Tensor, keys: Tensor | None) -> Tensor:
        hidden = encoded.unsqueeze(1) if self.signs is None else encoded.unsqueeze(1) * self.signs
        for i, layer in enumerate(self.layers):
            hidden = F.silu(layer(hidden))
            if keys is not None and self.spec.dropout:
                hidden = dropped(hidden, self.spec.dropout, keys[i])
        return (hidden * self.output_weight).sum(2)
