"""The network for a table: logistic regression plus a multilayer perceptron, in logits.

logit = bias + linear(inputs) + perceptron(inputs). The linear part and the perceptron's last layer start at 0 and the
bias at the base rate, so training starts from the best constant answer and contains logistic regression; on small
tables that is hard to beat, on large ones the perceptron takes over.

Each number may be cut into pieces first (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
Learning", NeurIPS 2022): piece k holds how much of the interval between edge k and edge k + 1 the value has passed.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from torchbce.training.batches import EVALUATION_ROWS

MOST_NUMBERS = 1 << 24  # 64 MiB of float32

Size = Annotated[int, Field(ge=1, le=65_536)]


class NetworkSpec(BaseModel):
    """All that is needed to build the network again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["linear+mlp"] = "linear+mlp"
    numbers: int = Field(ge=0, le=100_000)
    levels: list[Size]
    hidden: list[Size] = Field(max_length=32)
    edges: int = Field(ge=0, le=4096)
    dropout: float = Field(ge=0, lt=1)


class TableNetwork(nn.Module):
    """Rows of `spec.numbers` numbers followed by one code per categorical column, to one logit each, shape (N, 1)."""

    piece_width = 8  # outputs per number that is cut into pieces
    embedding_width = 16  # at most, per categorical column

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.linear = nn.Parameter(torch.zeros(spec.numbers, 1))
        self.level_weights = nn.ModuleList(nn.Embedding(n, 1) for n in spec.levels)
        self.embeddings = nn.ModuleList(nn.Embedding(n, min(n, self.embedding_width)) for n in spec.levels)
        self.pieces = Pieces(spec.numbers, spec.edges, self.piece_width) if spec.edges else None
        width = spec.numbers * (self.piece_width if spec.edges else 1)
        width += sum(embedding.embedding_dim for embedding in _each(self.embeddings))
        layers: list[nn.Module] = []
        for size in spec.hidden:
            layers += [nn.Linear(width, size), nn.SiLU(), nn.Dropout(spec.dropout)]
            width = size
        self.perceptron = nn.Sequential(*layers, nn.Linear(width, 1))

    @property
    def rows_at_once(self) -> int:
        """How many rows may go through together: what is made of them in between is bounded."""
        return max(64, min(EVALUATION_ROWS, MOST_NUMBERS // max(1, self.spec.numbers * max(self.spec.edges, 1))))

    def start_at(self, base_rate: float) -> None:
        """Answer the base rate everywhere, until trained."""
        last = self.perceptron[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, math.log(base_rate / (1 - base_rate)))
        for weight in (last.weight, self.linear, *(part.weight for part in _each(self.level_weights))):
            nn.init.zeros_(weight)

    def forward(self, rows: Tensor) -> Tensor:
        numbers = rows[:, : self.spec.numbers]
        codes = rows[:, self.spec.numbers :].long()
        parts = [self.pieces(numbers) if self.pieces else numbers]
        parts += [embedding(codes[:, i]) for i, embedding in enumerate(_each(self.embeddings))]
        logit = self.perceptron(torch.cat(parts, 1)) + numbers @ self.linear
        for i, weights in enumerate(_each(self.level_weights)):
            logit = logit + weights(codes[:, i])
        return logit  # type: ignore[no-any-return]


class Pieces(nn.Module):
    """Each number through its own piecewise-linear layer: cut at fixed edges, then weights and a ReLU of its own."""

    start: Tensor
    length: Tensor

    def __init__(self, numbers: int, edges: int, width: int) -> None:
        super().__init__()
        self.register_buffer("start", torch.zeros(numbers, edges))
        self.register_buffer("length", torch.zeros(numbers, edges))  # 0 where a number has fewer edges than others
        self.weight = nn.Parameter(torch.randn(numbers, edges, width) / math.sqrt(max(edges, 1)))
        self.bias = nn.Parameter(torch.zeros(numbers, 1, width))

    def set_edges(self, edges: list[np.ndarray]) -> None:
        for i, cuts in enumerate(edges):
            self.start[i, : len(cuts) - 1] = torch.from_numpy(cuts[:-1])
            self.length[i, : len(cuts) - 1] = torch.from_numpy(np.diff(cuts))

    def forward(self, numbers: Tensor) -> Tensor:
        used = self.length > 0
        passed = ((numbers.unsqueeze(-1) - self.start) / self.length.where(used, 1)).clamp(0, 1) * used
        return torch.baddbmm(self.bias, passed.transpose(0, 1), self.weight).relu().transpose(0, 1).flatten(1)


def quantile_edges(numbers: np.ndarray, pieces: int) -> list[np.ndarray]:
    """Per column, the quantiles of its values and of its distinct values: dense regions and rare values get pieces."""
    levels = np.linspace(0, 1, pieces + 1)
    edges = []
    for column in numbers.T:
        distinct = np.unique(column)
        cuts = np.unique(np.concatenate([np.quantile(column, levels), np.quantile(distinct, levels)]))
        edges.append(cuts.astype(np.float32) if len(cuts) > 1 else np.array([cuts[0], cuts[0] + 1], np.float32))
    return edges


def _each(modules: nn.ModuleList) -> list[nn.Embedding]:
    return [module for module in modules if isinstance(module, nn.Embedding)]
