"""Build an ONNX model of columns as they are, networks, trees and scaling, which any runtime can run."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.table.model import Model
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.run.export.onnx_columns import encode_columns
from torchbce.table.run.export.onnx_graph import OnnxGraph
from torchbce.table.run.export.onnx_trees import boosted_trees
from torchbce.table.run.export.onnx_unknown import UnknownCells


def to_onnx(model: Model, notes: dict[str, str]) -> Any:
    """Return a model whose inputs have the columns' names, (N, 1): float64 with NaN at gaps, and texts as strings.

    Dates are days since 1970. Outputs: `probability` and `logit` of the positive class, (N,) float64.
    """
    graph, ensemble = OnnxGraph(), model.ensemble
    given_numbers, given_codes = encode_columns(graph, model.columns)
    assert ensemble.background is not None, "a model without values for unknown cells"
    unknown = UnknownCells(graph, given_numbers, given_codes, ensemble.background)
    numbers, codes = unknown.numbers, unknown.codes
    heads = sum(network.spec.heads for network in ensemble.networks)
    logit = _mean_logit(graph, [_network(graph, network, numbers, codes) for network in ensemble.networks], heads)
    if ensemble.trees:
        each = [boosted_trees(graph, trees, numbers, codes) for trees in ensemble.trees]
        of_trees = _mean_logit(graph, each, len(each))
        logit = graph(
            "Add",
            graph("Mul", logit, np.array(1 - ensemble.tree_weight)),
            graph("Mul", of_trees, np.array(ensemble.tree_weight)),
        )
    slope, shift = ensemble.scaling
    scaled = graph("Add", graph("Mul", logit, np.array(slope)), np.array(shift))
    scaled = unknown.average_copies(scaled, given_numbers or given_codes[0])
    return graph.model({"probability": graph("Sigmoid", scaled), "logit": scaled}, notes)


def _mean_logit(graph: OnnxGraph, logits: list[str], outputs: int) -> str:
    """Return the logit of the mean probability over all outputs, (N,) float64."""
    joined = graph.cast(graph("Concat", *logits, axis=1), "DOUBLE")
    if outputs == 1:
        return graph("Reshape", joined, np.array([-1]))
    yes, no = (
        graph("ReduceMean", graph("Sigmoid", value), np.array([1]), keepdims=0)
        for value in (joined, graph("Neg", joined))
    )
    return graph("Sub", graph("Log", yes), graph("Log", no))


def _network(graph: OnnxGraph, network: TableNetwork, numbers: str | None, codes: list[str]) -> str:
    """Return a network's logits, (N, heads) float32; see `TableNetwork.forward`."""
    spec = network.spec
    parts, direct = [], []
    weights = _array(network.direct)
    if numbers is not None and spec.binned:
        cut = graph("Gather", numbers, np.array(spec.binned), axis=1)
        pieces, within = _pieces(graph, network, cut)
        parts.append(pieces)
        direct.append(graph("MatMul", within, weights[: len(spec.binned), None]))
    if numbers is not None and spec.numeric:
        plain = graph("Gather", numbers, np.array(spec.numeric), axis=1)
        parts.append(plain)
        direct.append(graph("MatMul", plain, weights[len(spec.binned) :, None]))
    for code, level_weights, embedding in zip(codes, network.level_weights, network.embeddings, strict=True):
        direct.append(graph("Gather", _array(level_weights)[:, None], code, axis=0))
        parts.append(graph("Gather", _array(embedding), code, axis=0))
    total = graph("Sum", *direct) if len(direct) > 1 else direct[0]
    logits = _perceptron(graph, network, graph("Concat", *parts, axis=1))
    return graph("Add", graph("Add", logits, total), _array(network.output_bias))


def _pieces(graph: OnnxGraph, network: TableNetwork, cut: str) -> tuple[str, str]:
    """Return the piecewise-linear layer's outputs, (N, 8 columns), and the numbers clipped to their edges."""
    start, length = _array(network.start), _array(network.length)
    used = (length > 0).astype(np.float32)
    risen = graph("Div", graph("Sub", graph("Unsqueeze", cut, np.array([2])), start), np.where(used > 0, length, 1))
    passed = graph("Mul", graph("Clip", risen, np.array(0, np.float32), np.array(1, np.float32)), used)
    within = graph("Add", graph("ReduceSum", graph("Mul", passed, length), np.array([2]), keepdims=0), start[:, 0])
    by_column = graph("MatMul", graph("Transpose", passed, perm=[1, 0, 2]), _array(network.piece_weight))
    shown = graph("Relu", graph("Add", by_column, _array(network.piece_bias)))
    width = network.piece_weight.shape[0] * network.piece_weight.shape[2]
    return graph("Reshape", graph("Transpose", shown, perm=[1, 0, 2]), np.array([-1, width])), within


def _perceptron(graph: OnnxGraph, network: TableNetwork, inputs: str) -> str:
    value = graph("Unsqueeze", inputs, np.array([1]))
    if network.signs is not None:
        value = graph("Mul", value, _array(network.signs))
    for layer in network.layers:
        value = graph("Add", graph("MatMul", value, _array(layer.weight).T), _array(layer.bias))
        value = graph("Mul", value, graph("Sigmoid", value))
    return graph("ReduceSum", graph("Mul", value, _array(network.output_weight)), np.array([2]), keepdims=0)


def _array(parameter: Any) -> np.ndarray:
    return np.asarray(parameter.detach().numpy())
