"""`torchbce export`: columns as they are, network and scaling in one ONNX file, which any runtime can run."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.table.model import Model
from torchbce.table.network.table_network import TableNetwork
from torchbce.table.run.export.onnx_columns import encoded
from torchbce.table.run.export.onnx_graph import Graph
from torchbce.table.run.export.onnx_trees import boosted_trees
from torchbce.table.run.export.onnx_unknown import Unknown


def to_onnx(model: Model, notes: dict[str, str]) -> Any:
    """Inputs by the columns' names, (N, 1): float64 with NaN at gaps (dates in days since 1970), texts as strings.

    Outputs: `probability` and `logit` of the positive class, (N,) float64.
    """
    graph, ensemble = Graph(), model.ensemble
    given_numbers, given_codes = encoded(graph, model.columns)
    assert ensemble.background is not None, "a model without values for unknown cells"
    unknown = Unknown(graph, given_numbers, given_codes, ensemble.background)
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
    scaled = unknown.once_each(scaled, given_numbers or given_codes[0])
    return graph.model({"probability": graph("Sigmoid", scaled), "logit": scaled}, notes)


def _mean_logit(graph: Graph, logits: list[str], outputs: int) -> str:
    """The logit of the mean probability, (N,) float64, of some outputs each."""
    together = graph.cast(graph("Concat", *logits, axis=1), "DOUBLE")
    if outputs == 1:
        return graph("Reshape", together, np.array([-1]))
    yes, no = (
        graph("ReduceMean", graph("Sigmoid", value), np.array([1]), keepdims=0)
        for value in (together, graph("Neg", together))
    )
    return graph("Sub", graph("Log", yes), graph("Log", no))


def _network(graph: Graph, network: TableNetwork, numbers: str | None, codes: list[str]) -> str:
    """(N, heads) float32; see `TableNetwork.forward`."""
    spec = network.spec
    parts, direct = [], []
    weights = _array(network.direct)
    if numbers is not None and spec.cut:
        cut = graph("Gather", numbers, np.array(spec.cut), axis=1)
        pieces, within = _pieces(graph, network, cut)
        parts.append(pieces)
        direct.append(graph("MatMul", within, weights[: len(spec.cut), None]))
    if numbers is not None and spec.plain:
        plain = graph("Gather", numbers, np.array(spec.plain), axis=1)
        parts.append(plain)
        direct.append(graph("MatMul", plain, weights[len(spec.cut) :, None]))
    for code, level_weights, embedding in zip(codes, network.level_weights, network.embeddings, strict=True):
        direct.append(graph("Gather", _array(level_weights)[:, None], code, axis=0))
        parts.append(graph("Gather", _array(embedding), code, axis=0))
    total = graph("Sum", *direct) if len(direct) > 1 else direct[0]
    logits = _perceptron(graph, network, graph("Concat", *parts, axis=1))
    return graph("Add", graph("Add", logits, total), _array(network.output_bias))


def _pieces(graph: Graph, network: TableNetwork, cut: str) -> tuple[str, str]:
    """The piecewise-linear layer's outputs, (N, 8 columns), and the numbers within their edges."""
    start, length = _array(network.start), _array(network.length)
    used = (length > 0).astype(np.float32)
    risen = graph("Div", graph("Sub", graph("Unsqueeze", cut, np.array([2])), start), np.where(used > 0, length, 1))
    passed = graph("Mul", graph("Clip", risen, np.array(0, np.float32), np.array(1, np.float32)), used)
    within = graph("Add", graph("ReduceSum", graph("Mul", passed, length), np.array([2]), keepdims=0), start[:, 0])
    by_column = graph("MatMul", graph("Transpose", passed, perm=[1, 0, 2]), _array(network.piece_weight))
    shown = graph("Relu", graph("Add", by_column, _array(network.piece_bias)))
    width = network.piece_weight.shape[0] * network.piece_weight.shape[2]
    return graph("Reshape", graph("Transpose", shown, perm=[1, 0, 2]), np.array([-1, width])), within


def _perceptron(graph: Graph, network: TableNetwork, inputs: str) -> str:
    value = graph("Unsqueeze", inputs, np.array([1]))
    if network.signs is not None:
        value = graph("Mul", value, _array(network.signs))
    for layer in network.layers:
        value = graph("Add", graph("MatMul", value, _array(layer.weight).T), _array(layer.bias))
        value = graph("Mul", value, graph("Sigmoid", value))
    return graph("ReduceSum", graph("Mul", value, _array(network.output_weight)), np.array([2]), keepdims=0)


def _array(parameter: Any) -> np.ndarray:
    return np.asarray(parameter.detach().numpy())
