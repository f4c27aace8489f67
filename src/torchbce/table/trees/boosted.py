"""Boosted decision trees as a module: rows of numbers and codes to one logit each.

Where a tree looks at a categorical column, it sees each category's share of ones (Fisher, 1958: of all ways to part
categories in two, the best is one of those in this order), so all nodes compare numbers.
"""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from torchbce.checkpoint.form import Array, Values, require
from torchbce.checkpoint.record import State
from torchbce.table.trees.compiled import Nodes, sums

Levels = Annotated[int, Field(ge=1, le=65_536)]


class TreesSpec(BaseModel):
    """Sizes of the tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: int = Field(ge=0, le=200_000)
    levels: list[Levels] = Field(max_length=100_000)  # of each categorical column
    trees: int = Field(ge=0, le=1_000_000)
    nodes: int = Field(ge=0, le=2**31 - 1)
    deepest: int = Field(ge=0, le=65_535)  # steps to the farthest leaf


class BoostedTrees(nn.Module):
    """Rows (N, numbers + codes) to the sum of the trees' leaves, (N,) float64; in plain torch, `logits` is compiled."""

    start: Tensor  # what the leaves add to, (1,)
    shares: Tensor  # each category's, one column's after the other
    column: Tensor  # of the nodes and trees: see `Nodes`
    threshold: Tensor
    left: Tensor
    value: Tensor
    root: Tensor
    depth: Tensor

    def __init__(self, spec: TreesSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("start", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("shares", torch.zeros(sum(spec.levels)))
        for name in ("column", "left"):
            self.register_buffer(name, torch.zeros(spec.nodes, dtype=torch.int32))
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(spec.nodes))
        for name in ("root", "depth"):
            self.register_buffer(name, torch.zeros(spec.trees, dtype=torch.int32))

    def to_state(self) -> State:
        """Serialize to a state dict."""
        return {"spec": self.spec.model_dump(), "tensors": dict(self.state_dict())}

    @classmethod
    def of_state(cls, state: State) -> BoostedTrees:
        """Restore from `to_state`.

        Raises:
            ValueError: the state is not that of trees.
        """
        require(state, {"spec": Values(object), "tensors": Values(object)}, "trees")
        with torch.device("meta"):  # sizes without memory
            trees = cls(TreesSpec(**state["spec"]))
        form = {name: Array(tuple(tensor.shape), tensor.dtype) for name, tensor in trees.state_dict().items()}
        require(state["tensors"], form, "trees")
        trees.load_state_dict(state["tensors"], assign=True)
        trees.check()
        return trees

    @property
    def nodes(self) -> Nodes:
        """Return the nodes as compiled code takes them.

        Raises:
            ValueError: a walk could leave the trees, which the tensors of a file need not rule out.
        """
        tensors = (self.column, self.threshold, self.left, self.value, self.root, self.depth)
        return Nodes(*tensors, self.spec.numbers + len(self.spec.levels), self.spec.deepest)

    def check(self) -> None:
        """Raise unless every walk ends at a finite number, which tensors read from a file need not do.

        Raises:
            ValueError: what is wrong.
        """
        not_finite = [name for name in ("start", "shares", "value") if not self.get_buffer(name).isfinite().all()]
        if not_finite:
            raise ValueError(f"{not_finite[0]} holds values that are not finite")
        _ = self.nodes

    def numbers(self, rows: Tensor) -> Tensor:
        """Return the rows with each code replaced by its category's share of ones."""
        if not self.spec.levels:
            return rows
        first = list(itertools.accumulate(self.spec.levels[:-1], initial=0))
        codes = rows[:, self.spec.numbers :].long() + torch.tensor(first)
        return torch.cat([rows[:, : self.spec.numbers], self.shares[codes]], 1)

    def logits(self, rows: Tensor) -> Tensor:
        return sums(self.nodes, self.numbers(rows).contiguous(), self.start.item())

    def forward(self, rows: Tensor) -> Tensor:
        numbers = self.numbers(rows)
        node = self.root.long().expand(rows.shape[0], -1)
        for _ in range(self.spec.deepest):
            compared = numbers.gather(1, self.column[node].long())
            node = self.left[node].long() + (compared > self.threshold[node])
        return self.start + self.value[node].double().sum(1)
