"""Call the compiled walk on tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from torchbce.jit import machine_code
from torchbce.jit.dense import require_dense
from torchbce.table.trees.arguments import BLOCK, Arguments, pack

INTEGERS = ("column", "left", "root", "depth")  # int32; the others are float32


@dataclass(frozen=True, eq=False)
class Nodes:
    """Trees one after the other: column, left (M,) int32, threshold, value (M,) float32; root, depth (T,) int32.

    A row goes on to `left` where its number is at most the threshold, else to the node after it. A leaf is its own
    `left`, with a threshold that nothing is above. columns: numbers in a row. deepest: of all depths.

    Raises:
        ValueError: a walk would leave its tree or a row, or not come to an end.
    """

    column: Tensor
    threshold: Tensor
    left: Tensor
    value: Tensor
    root: Tensor
    depth: Tensor
    columns: int
    deepest: int

    def __post_init__(self) -> None:
        # What the walk relies on: from a root it goes to `left` or the node after, and reads `column` of a row.
        for name, tensor in self.tensors.items():
            expected = torch.int32 if name in INTEGERS else torch.float32
            sized = (len(self.root) if name in ("root", "depth") else len(self.column),)
            require_dense(name, tensor, expected, sized)
        count, root = len(self.column), self.root.long()
        ends = torch.cat([root[1:], torch.tensor([count])]) if len(root) else root  # of each tree
        if not (torch.equal(root[:1], torch.zeros_like(root[:1])) and bool((root < ends).all()) and len(root) <= count):
            raise ValueError("a tree does not begin where the one before it ends")
        if count and not len(root):
            raise ValueError("nodes belong to no tree")
        own, left = torch.arange(count), self.left.long()
        end = ends.repeat_interleave(ends - root)
        leaf = left == own
        if not bool((leaf | ((left > own) & (left < end - 1))).all()):
            raise ValueError("a node leads back, or out of its tree")
        if self.threshold.isnan().any() or not bool((self.threshold[leaf] == torch.inf).all()):
            raise ValueError("a threshold is not a number, or a row could leave a leaf")
        for name, values, stop in (("column", self.column, self.columns), ("depth", self.depth, self.deepest + 1)):
            if not bool(((values >= 0) & (values < stop)).all()):
                raise ValueError(f"a {name} is not between 0 and {stop - 1}")

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in values.items() if isinstance(tensor, Tensor)}


def _to_llvm() -> str:
    from torchbce.table.trees.walk import compile_to_llvm

    return compile_to_llvm()


def sums(nodes: Nodes, rows: Tensor, start: float) -> Tensor:
    """Return `start` plus the value of each tree's leaf, in float64, for rows (N, columns) of float32."""
    if rows.dtype != torch.float32 or not rows.is_contiguous() or rows.shape[1:] != (nodes.columns,):
        raise ValueError(f"rows are {rows.dtype} {tuple(rows.shape)}, expected torch.float32 (N, {nodes.columns})")
    out = torch.full((len(rows),), start, dtype=torch.float64)
    at = torch.empty(BLOCK, dtype=torch.int32)
    arguments = Arguments(
        rows=rows.data_ptr(),
        row_count=len(rows),
        width=rows.shape[1],
        trees=len(nodes.root),
        at=at.data_ptr(),
        out=out.data_ptr(),
        **{name: tensor.data_ptr() for name, tensor in nodes.tensors.items()},
    )
    machine_code.compiled("trees", _to_llvm, Path(__file__).parent)(pack(arguments))
    return out
