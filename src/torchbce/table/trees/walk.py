"""Walk rows down decision trees: a block of rows goes down each tree level by level, so no row waits for another.

A leaf leads to itself, so all rows take as many steps as the tree is deep. Bounds are not checked
here: roots, columns and where nodes lead were checked (`compiled.Nodes`).
"""

from __future__ import annotations

from numba import types

from torchbce.jit.intrinsics import pointer_to
from torchbce.jit.to_llvm import to_llvm
from torchbce.table.trees.arguments import BLOCK, OFFSET

to_floats, to_doubles = pointer_to(types.float32), pointer_to(types.float64)
to_integers = pointer_to(types.int32)


def compile_to_llvm() -> str:
    """Return the walk as LLVM code."""

    def run(a):
        rows, width = to_floats(a[OFFSET.rows]), a[OFFSET.width]
        column, threshold, left = (
            to_integers(a[OFFSET.column]),
            to_floats(a[OFFSET.threshold]),
            to_integers(a[OFFSET.left]),
        )
        value, root, depth = to_floats(a[OFFSET.value]), to_integers(a[OFFSET.root]), to_integers(a[OFFSET.depth])
        at, out = to_integers(a[OFFSET.at]), to_doubles(a[OFFSET.out])
        first, row_count = 0, a[OFFSET.row_count]
        while first < row_count:
            size = min(BLOCK, row_count - first)
            for tree in range(a[OFFSET.trees]):
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

    return to_llvm(run, set())
