"""Rows down decision trees: a block of rows goes down each tree level by level, so that no row waits for another.

A leaf leads to itself, so all rows take as many steps as the tree is deep. Nothing is compared with a limit here:
roots, columns and where nodes lead were checked (`machine.Nodes`).
"""

from __future__ import annotations

from typing import Any

from numba import njit, types

from torchbce.jit.intrinsics import pointer_to
from torchbce.jit.primitives import ALONE
from torchbce.table.trees.words import AT, BLOCK

to_floats, to_doubles = pointer_to(types.float32), pointer_to(types.float64)
to_integers = pointer_to(types.int32)


def compile_to_llvm() -> str:
    """The walk in LLVM's language; see `numba_cpu.compile`."""

    def run(a):
        rows, width = to_floats(a[AT.rows]), a[AT.width]
        column, threshold, left = to_integers(a[AT.column]), to_floats(a[AT.threshold]), to_integers(a[AT.left])
        value, root, depth = to_floats(a[AT.value]), to_integers(a[AT.root]), to_integers(a[AT.depth])
        at, out = to_integers(a[AT.at]), to_doubles(a[AT.out])
        first, row_count = 0, a[AT.row_count]
        while first < row_count:
            size = min(BLOCK, row_count - first)
            for tree in range(a[AT.trees]):
                for i in range(size):
                    at[i] = root[tree]
                for _ in range(depth[tree]):
                    for i in range(size):
                        node = at[i]
                        number = rows[(first + i) * width + column[node]]
                        at[i] = left[node] + (1 if number > threshold[node] else 0)
                for i in range(size):
                    out[first + i] += value[at[i]]
            first += size

    function: Any = njit(error_model="numpy", **ALONE)(run)
    function.compile(types.void(types.CPointer(types.int64)))
    return str(function.inspect_llvm(function.signatures[0]))
