"""Write boosted trees as ONNX's operator for trees."""

from __future__ import annotations

import numpy as np

from torchbce.table.run.export.onnx_graph import OnnxGraph
from torchbce.table.trees.boosted import BoostedTrees


def boosted_trees(graph: OnnxGraph, trees: BoostedTrees, numbers: str | None, codes: list[str]) -> str:
    """Return the logit, (N, 1) float32; see `BoostedTrees.forward`."""
    shares = np.split(trees.shares.numpy(), np.cumsum(trees.spec.levels)[:-1])
    parts = [] if numbers is None else [numbers]
    parts += [graph("Gather", own[:, None], code, axis=0) for own, code in zip(shares, codes, strict=False)]
    inputs = graph("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    tree, number = _tree_and_number(trees)
    left = trees.left.numpy()
    is_leaf = left == np.arange(len(left))
    first = np.arange(len(left)) - number  # of each node's tree
    return graph(
        "TreeEnsembleRegressor",
        inputs,
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        base_values=trees.start.float().tolist(),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_featureids=trees.column.tolist(),
        nodes_values=np.where(is_leaf, 0, trees.threshold.numpy()).tolist(),
        nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(is_leaf, 0, left - first).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, left + 1 - first).tolist(),
        target_ids=[0] * int(is_leaf.sum()),
        target_treeids=tree[is_leaf].tolist(),
        target_nodeids=number[is_leaf].tolist(),
        target_weights=trees.value.numpy()[is_leaf].tolist(),
    )


def _tree_and_number(trees: BoostedTrees) -> tuple[np.ndarray, np.ndarray]:
    """Return the tree of each node, and the node's number within it."""
    root = trees.root.numpy()
    tree = np.searchsorted(root, np.arange(trees.spec.nodes), side="right") - 1
    return tree, np.arange(trees.spec.nodes) - root[tree]
