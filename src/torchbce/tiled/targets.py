"""Targets of a grid of logits, as a matrix or as the positions of its positives, read a tile at a time."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from torchbce.engine.validate import check_tensors
from torchbce.tiled.grid import Grid

PADDING = -1


class Target(Protocol):
    """Targets as the tile loop reads them."""

    dtype: torch.dtype
    tensors: tuple[Tensor, ...]  # as given by the caller

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """Return the targets of a tile, valid until the next call."""
        ...

    def matrix(self) -> Tensor:
        """Return all targets."""
        ...


class Matrix:
    """Targets given as a matrix."""

    def __init__(self, target: Tensor, wide: torch.dtype) -> None:
        self.target, self.wide, self.dtype = target, wide, target.dtype
        self.tensors: tuple[Tensor, ...] = (target,)

    def tile(self, rows: slice, columns: slice) -> Tensor:
        return self._widened(self.target[rows, columns])

    def matrix(self) -> Tensor:
        return self._widened(self.target)

    def _widened(self, part: Tensor) -> Tensor:
        if not part.is_floating_point() or part.dtype is torch.float64:
            return part
        return part.to(self.wide)

    def check_whole_numbers(self, ignored: float | None) -> None:
        """Raise where a matrix of whole numbers holds others than 0 and 1: label numbers may have been meant."""
        if not _is_index(self.target) or not self.target.numel() or self.target.is_meta:
            return
        low, high = (int(value) for value in self.target.aminmax())
        for value in (low, high):
            if value not in (0, 1) and value != ignored:
                raise ValueError(
                    f"target has the shape {tuple(self.target.shape)} of the logits, so it holds 0 and 1, and it holds "
                    f"{value}; if these are numbers of labels padded with -1, add a column: "
                    "torch.nn.functional.pad(target, (0, 1), value=-1)"
                )


class Positions:
    """Targets given by row and column; 1 where there are no values, and 0 everywhere else.

    The positions are sorted by tile once, and one tile of targets is written and cleaned again and again.
    """

    def __init__(self, rows: Tensor, columns: Tensor, values: Tensor | None, grid: Grid, wide: torch.dtype) -> None:
        self.grid = grid
        self.dtype = torch.uint8 if values is None else values.dtype
        self.tensors: tuple[Tensor, ...] = (rows, columns) if values is None else (rows, columns, values)
        tiles, order = grid.number(rows, columns).sort(stable=True)
        self._rows, self._columns = rows[order], columns[order]
        self._values = None if values is None else values[order].to(torch.promote_types(values.dtype, wide))
        ends = torch.searchsorted(tiles, torch.arange(grid.down * grid.across + 1, device=tiles.device))
        self._ends = ends.tolist()
        dtype = wide if self._values is None else self._values.dtype
        self._tile = torch.zeros(grid.height * grid.width, dtype=dtype, device=rows.device)
        self._written: Tensor | None = None

    def tile(self, rows: slice, columns: slice) -> Tensor:
        if self._written is not None:
            self._tile.index_fill_(0, self._written, 0)  # `[...] = 0` would wait for a GPU
        width = columns.stop - columns.start
        number = self.grid.number(rows.start, columns.start)
        here = slice(self._ends[number], self._ends[number + 1])
        at = (self._rows[here] - rows.start) * width + (self._columns[here] - columns.start)
        if self._values is None:
            self._tile.index_fill_(0, at, 1)
        else:
            self._tile.index_put_((at,), self._values[here], accumulate=True)
        self._written = at
        height = rows.stop - rows.start
        return self._tile[: height * width].view(height, width)

    def matrix(self) -> Tensor:
        full = torch.zeros(self.grid.rows, self.grid.columns, dtype=self._tile.dtype, device=self._tile.device)
        if self._values is None:
            full[self._rows, self._columns] = 1
        else:
            full.index_put_((self._rows, self._columns), self._values, accumulate=True)
        return full


def target_of(target: object, grid: Grid, input: Tensor, wide: torch.dtype) -> Target:
    """Return a caller's targets as a `Matrix` or `Positions`; `wide` is the least dtype of a tile.

    Raises:
        TypeError: not a tensor, nor two tensors of whole numbers.
        ValueError: another size, or a position outside the grid, which is named.
    """
    if isinstance(target, Tensor):
        check_tensors(input=input, target=target)
        if target.requires_grad:
            raise RuntimeError("the loss is not differentiable with respect to its target; pass target.detach()")
        if target.layout is not torch.strided:
            return _sparse(target, grid, input, wide)
        if target.size() == (grid.rows, grid.columns):
            return Matrix(target, wide)
        if target.ndim == 2 and target.size(0) == grid.rows and _is_index(target):
            return _padded(target, grid, input, wide)
        raise ValueError(
            f"target has the shape {tuple(target.shape)} and dtype {target.dtype}; for {grid.rows} rows and "
            f"{grid.columns} labels it is a matrix of ({grid.rows}, {grid.columns}), the numbers of each row's "
            f"positive labels as int64 of ({grid.rows}, any), padded with -1, a pair (rows, columns), or a sparse "
            "tensor"
        )
    pair = pair_of(target)
    if pair is not None:
        return _positions(*pair, None, grid, input, wide)
    if hasattr(target, "tocsr"):
        raise TypeError(
            f"target is a {type(target).__name__} of SciPy; write torch.sparse_csr_tensor(t.indptr, t.indices, t.data, "
            "t.shape)"
        )
    raise TypeError(f"target must be a Tensor or a pair (rows, columns) of Tensors, got {type(target).__name__}")


def pair_of(given: object) -> tuple[Tensor, Tensor] | None:
    """Return (rows, columns) if a pair of tensors is given, else None."""
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(part, Tensor) for part in given):
        return given[0], given[1]
    return None


def _is_index(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.int64, torch.int32, torch.int16, torch.int8)


def _padded(target: Tensor, grid: Grid, input: Tensor, wide: torch.dtype) -> Positions:
    is_label = target != PADDING
    rows, places = is_label.nonzero(as_tuple=True)
    return _positions(rows, target[rows, places], None, grid, input, wide)


def _sparse(target: Tensor, grid: Grid, input: Tensor, wide: torch.dtype) -> Positions:
    if target.ndim != 2 or target.size() != (grid.rows, grid.columns):
        raise ValueError(
            f"the sparse target has the shape {tuple(target.shape)}; there are {grid.rows} rows and {grid.columns} "
            "labels"
        )
    if target.dense_dim():
        raise ValueError("each value of a sparse target is one number; these have dimensions of their own")
    if target.layout is torch.sparse_csr:
        counts = target.crow_indices().diff()
        rows = torch.arange(grid.rows, device=target.device).repeat_interleave(counts)
        return _valued(rows, target.col_indices(), target.values(), grid, input, wide)
    coo: Tensor = target.to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
    rows, columns = coo.indices()
    return _valued(rows, columns, coo.values(), grid, input, wide)


def _valued(rows: Tensor, columns: Tensor, values: Tensor, grid: Grid, input: Tensor, wide: torch.dtype) -> Positions:
    if values.dtype is torch.bool:  # booleans cannot be added up
        return _positions(rows[values], columns[values], None, grid, input, wide)
    return _positions(rows, columns, values, grid, input, wide)


def _positions(
    rows: Tensor, columns: Tensor, values: Tensor | None, grid: Grid, input: Tensor, wide: torch.dtype
) -> Positions:
    check_positions(rows, columns, input, grid.columns)
    return Positions(rows.long(), columns.long(), values, grid, wide)


def check_positions(rows: Tensor, columns: Tensor, input: Tensor, width: int | None = None) -> int:
    """Check positions within the matrix; return the largest column, or -1. `width`: None if not known."""
    height = input.size(0)
    for name, given in (("rows", rows), ("columns", columns)):
        check_tensors(**{"input": input, name: given})
        whole = _is_index(given) or given.dtype is torch.uint8
        if not whole or given.ndim != 1 or given.size() != columns.size():
            raise ValueError(
                f"target is (rows, columns) of positives: two vectors of whole numbers, as long as each other; {name} "
                f"has the shape {tuple(given.shape)} and dtype {given.dtype}"
            )
    outside = (rows < 0) | (rows >= height) | (columns < 0)
    if width is not None:
        outside |= columns >= width
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        raise ValueError(
            f"positive {first} of the target is at row {int(rows[first])}, column {int(columns[first])}; rows go from "
            f"0 to {height - 1} and columns from 0" + ("" if width is None else f" to {width - 1}")
        )
    return int(columns.max()) if columns.numel() else -1
