"""Calls of the compiled walk, on tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.engine.numba_cpu import machine_code
from torchbce.engine.numba_cpu.trees.words import BLOCK, Words, packed


class Nodes(NamedTuple):
    """Trees one after the other: column, left (M,) int32, threshold, value (M,) float32; root, depth (T,) int32.

    A row goes on to `left` where its number is at most the threshold, else to the node after it. A leaf is its own
    `left`, with a threshold that nothing is above.
    """

    column: Tensor
    threshold: Tensor
    left: Tensor
    value: Tensor
    root: Tensor
    depth: Tensor


def _to_llvm() -> str:
    from torchbce.engine.numba_cpu.trees.walk import compile_to_llvm

    return compile_to_llvm()


def sums(nodes: Nodes, rows: Tensor, start: float) -> Tensor:
    """`start` and the value of each tree's leaf, added up in float64, for rows (N, columns) of float32."""
    assert rows.is_contiguous()
    assert rows.dtype == torch.float32
    out = torch.full((len(rows),), start, dtype=torch.float64)
    at = torch.empty(BLOCK, dtype=torch.int32)
    words = Words(
        rows=rows.data_ptr(),
        row_count=len(rows),
        width=rows.shape[1],
        trees=len(nodes.root),
        at=at.data_ptr(),
        out=out.data_ptr(),
        **{name: tensor.data_ptr() for name, tensor in nodes._asdict().items()},
    )
    machine_code.compiled("trees", _to_llvm)(packed(words))
    return out
