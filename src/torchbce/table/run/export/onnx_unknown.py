"""Repeat rows with unknown cells in ONNX, once for each value to fill in, and average their predictions.

The same as `ensemble.background`. Rows without such cells are computed once.
"""

from __future__ import annotations

import numpy as np

from torchbce.table.run.export.onnx_graph import OnnxGraph


class UnknownCells:
    """Rows with their copies: `numbers` (N, numbers), NaN if unknown, and `codes` (N,) each, below 0 if unknown.

    values: what fills unknown cells, a row for each copy.
    """

    def __init__(self, graph: OnnxGraph, numbers: str | None, codes: list[str], values: np.ndarray) -> None:
        self._graph = graph
        first = values.shape[1] - len(codes)
        columns = [(code, values[:, first + i].astype(np.int64)) for i, code in enumerate(codes)]
        lacks = [graph("Less", code, np.array(0, np.int64)) for code in codes]
        if numbers is not None:
            gaps = graph(
                "Greater", graph("ReduceSum", self._is_gap(numbers), np.array([1]), keepdims=0), np.array(0, np.float32)
            )
            lacks.append(gaps)
        lacking = lacks[0]
        for other in lacks[1:]:
            lacking = graph("Or", lacking, other)
        self._count = len(values)
        self._positions = graph("Reshape", graph("NonZero", lacking), np.array([-1]))
        self.codes = [self._with_copies(code, own) for code, own in columns]
        self.numbers = None if numbers is None else self._with_copies(numbers, values[:, :first])

    def _is_gap(self, numbers: str) -> str:
        return self._graph.cast(self._graph("IsNaN", numbers), "FLOAT")

    def _with_copies(self, given: str, values: np.ndarray) -> str:
        """Return all rows, with 0 in unknown cells, and below them the copies of rows that have such cells."""
        graph = self._graph
        is_number = values.ndim == 2
        lacks = graph("IsNaN", given) if is_number else graph("Less", given, np.array(0, np.int64))
        shape = [-1, 1, values.shape[1]] if is_number else [-1, 1]
        cells, cells_lack = (
            graph("Reshape", graph("Gather", part, self._positions, axis=0), np.array(shape)) for part in (given, lacks)
        )
        copies = graph("Reshape", graph("Where", cells_lack, values[None], cells), np.array([-1, *values.shape[1:]]))
        own = graph("Where", lacks, np.zeros((), values.dtype), given)
        return graph("Concat", own, copies, axis=0)

    def average_copies(self, logits: str, like: str) -> str:
        """Return the logit of each row, (N,) float64, of the mean probability of its copies; `like` has N rows."""
        graph = self._graph
        rows = graph("Reshape", graph("Slice", graph("Shape", like), np.array([0]), np.array([1])), np.array([1]))
        last = np.array([np.iinfo(np.int64).max])
        own = graph("Slice", logits, np.array([0]), rows)
        copies = graph("Reshape", graph("Slice", logits, rows, last), np.array([-1, self._count]))
        yes, no = (
            graph("Log", graph("ReduceMean", graph("Sigmoid", value), np.array([1]), keepdims=0))
            for value in (copies, graph("Neg", copies))
        )
        return graph("ScatterElements", own, self._positions, graph("Sub", yes, no), axis=0)
