"""Grow boosted trees by scikit-learn's histogram gradient boosting, with early stopping on each split's own rows."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchbce.checkpoint.checkpointer import NO_CHECKPOINTS, Checkpointer
from torchbce.checkpoint.record import State
from torchbce.common import processes
from torchbce.common.side_by_side import results
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.splits.holdout import Split
from torchbce.table.trees.boosted import BoostedTrees, TreesSpec

PRIOR = 10.0  # rows' worth of the base rate in the share of ones of each category
PATIENCE = 20  # trees without a better validation BCE
LAYOUT = [("column", np.int32), ("threshold", np.float32), ("left", np.int32), ("value", np.float32)]  # of a node


@dataclass(frozen=True)
class Boosting:
    """Settings of boosting; `most` is the largest number of trees."""

    rate: float
    leaves: int
    most: int = 1000


def grow(
    data: TrainingMatrix,
    splits: list[Split],
    boosting: Boosting,
    *,
    seed: int,
    budget: float | None = None,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> list[BoostedTrees]:
    """Grow trees for each split, side by side, each on one thread: the same seed gives the same bits.

    `budget`: seconds, after which no more trees are added.
    """
    from threadpoolctl import threadpool_limits

    at_once = torch.get_num_threads()
    seconds = None if budget is None else budget / -(-len(splits) // (at_once * processes.world_size()))
    stop = threading.Event()
    saved = [
        checkpointer.load_result(f"trees-{number}", lambda state: _of(data, state)) for number in range(len(splits))
    ]

    def grow_split(number: int) -> BoostedTrees:
        before = saved[number]
        if before is not None:
            return before
        until = np.inf if seconds is None else time.perf_counter() + seconds
        with threadpool_limits(1, user_api="openmp"):  # of this thread
            trees = _grown(
                data,
                splits[number],
                boosting,
                seed + number,
                lambda: stop.is_set() or time.perf_counter() > until,
            )
        if not stop.is_set():
            checkpointer.save_result(f"trees-{number}", trees.to_state())
        return trees

    own_splits = list(processes.own_share(splits))
    with ThreadPoolExecutor(at_once, "trees") as threads:
        grown = results([threads.submit(grow_split, number) for number in own_splits], stop)
    states = processes.gather_shared(
        {number: trees.to_state() for number, trees in zip(own_splits, grown, strict=True)}
    )
    for number, state in enumerate(states):
        if number not in own_splits and saved[number] is None:
            checkpointer.save_result(f"trees-{number}", state)
    return [BoostedTrees.of_state(state) for state in states]


def _of(data: TrainingMatrix, state: State) -> BoostedTrees:
    """Restore saved trees.

    Raises:
        ValueError: they were grown on other columns.
    """
    trees = BoostedTrees.of_state(state)
    if (trees.spec.numbers, trees.spec.levels) != (data.numbers, data.levels):
        raise ValueError("the trees are of other columns")
    return trees


@functools.cache
def _classifier() -> type:
    """Return scikit-learn's classifier, which here also asks after each tree whether to stop."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    class Stoppable(HistGradientBoostingClassifier):  # type: ignore[misc]
        stop: Callable[[], bool]

        def _check_early_stopping_loss(self, *args: Any, **named: Any) -> Any:
            return super()._check_early_stopping_loss(*args, **named) or self.stop()

    return Stoppable


def _grown(data: TrainingMatrix, split: Split, boosting: Boosting, seed: int, stop: Callable[[], bool]) -> BoostedTrees:
    train, valid = split
    spec = TreesSpec(numbers=data.numbers, levels=data.levels, trees=0, nodes=0, deepest=0)
    empty = BoostedTrees(spec)
    empty.shares = _shares(data, train)
    inputs = empty.numbers(torch.from_numpy(data.rows)).numpy()
    model = _classifier()(
        learning_rate=boosting.rate,
        max_leaf_nodes=boosting.leaves,
        max_iter=boosting.most,
        min_samples_leaf=10,
        l2_regularization=1.0,
        max_features=0.5,
        early_stopping=True,
        n_iter_no_change=PATIENCE,
        random_state=seed,
    )
    model.stop = stop
    weights = (None, None) if data.weight is None else (data.weight[train], data.weight[valid])
    model.fit(
        inputs[train],
        data.target[train],
        weights[0],
        X_val=inputs[valid],
        y_val=data.target[valid],
        sample_weight_val=weights[1],
    )
    return _as_tensors(model, empty)  # with the last trees: a mean of several sets is the better for them


def _shares(data: TrainingMatrix, rows: np.ndarray) -> Tensor:
    """Return the share of ones among each category's rows, shrunk towards that of all rows."""
    codes = data.rows[rows, data.numbers :].astype(np.int64)
    weight = np.ones(len(rows)) if data.weight is None else data.weight[rows]
    ones = weight * data.target[rows]
    base = ones.sum() / weight.sum()
    shares = [
        (np.bincount(codes[:, i], ones, size) + PRIOR * base) / (np.bincount(codes[:, i], weight, size) + PRIOR)
        for i, size in enumerate(data.levels)
    ]
    return torch.from_numpy(np.concatenate([*shares, np.zeros(0)])).float()


def _as_tensors(model: Any, empty: BoostedTrees) -> BoostedTrees:
    """Return scikit-learn's trees as tensors; it has no public access to them."""
    grown = [_by_level(predictor.nodes) for (predictor,) in model._predictors]
    sizes, depths = [len(nodes) for nodes, _ in grown], [depth for _, depth in grown]
    sized = {"trees": len(grown), "nodes": sum(sizes), "deepest": max(depths, default=0)}
    trees = BoostedTrees(empty.spec.model_copy(update=sized))
    root = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
    trees.start = torch.from_numpy(model._baseline_prediction.reshape(1).astype(np.float64))
    trees.shares = empty.shares
    trees.root = torch.from_numpy(root)
    trees.depth = torch.tensor(depths, dtype=torch.int32)
    for name, dtype in LAYOUT:
        parts = (nodes[name] + (first if name == "left" else 0) for (nodes, _), first in zip(grown, root, strict=True))
        setattr(trees, name, torch.from_numpy(np.concatenate([*parts, np.zeros(0, dtype)])))
    return trees


def _by_level(nodes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a tree's nodes level by level, children side by side, as `Nodes` wants them, and its depth."""
    laid_out = np.zeros(len(nodes), LAYOUT)
    order, level, depth = [0], [0], 0
    while level := [child for node in level if not nodes["is_leaf"][node] for child in _children(nodes[node])]:
        order += level
        depth += 1
    position = np.empty(len(nodes), np.int32)
    position[order] = np.arange(len(nodes))
    sorted_nodes = nodes[order]
    leaf = sorted_nodes["is_leaf"].astype(bool)
    laid_out["column"] = np.where(leaf, 0, sorted_nodes["feature_idx"])
    laid_out["threshold"] = np.where(leaf, np.inf, _rounded_down(sorted_nodes["num_threshold"]))
    laid_out["left"] = np.where(leaf, np.arange(len(nodes)), position[np.where(leaf, 0, sorted_nodes["left"])])
    laid_out["value"] = np.where(leaf, sorted_nodes["value"], 0)
    return laid_out, depth


def _children(node: Any) -> Iterable[int]:
    return int(node["left"]), int(node["right"])


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """Round to float32 so that every float32 number stays on the same side of the threshold."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
