"""Training an ensemble: all members go through an epoch side by side, and one epoch is chosen for all of them.

Each member is judged by rows that it has not learnt from; together these are as many as there are, so the choice of an
epoch costs little bias. Members run on threads of their own, each deterministic for itself: the same seed gives the
same bits with any number of threads.
"""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import replace

import numpy as np
import torch

from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.table.columns.matrix import Data
from torchbce.table.ensemble.blend import blend, mixed
from torchbce.table.ensemble.calibration import calibrate
from torchbce.table.ensemble.course import Course, Watch, judge_of, together
from torchbce.table.ensemble.data import Fitted
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.judged import Judged
from torchbce.table.ensemble.member import Member, Part, new_network
from torchbce.table.ensemble.recipe import Recipe
from torchbce.table.network.bins import EDGE_ROWS, bin_counts, quantile_bin_edges
from torchbce.table.network.compiled import encoded
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.network.trainers import TrainerFactory
from torchbce.table.splits.holdout import Split
from torchbce.table.trees.boosted import BoostedTrees
from torchbce.table.trees.boosting import grow

TREES_TIME = 0.3  # of a budget


def fit_ensemble(
    data: Data,
    splits: list[Split],
    chosen: Recipe,
    *,
    seed: int,
    watch: Watch | None = None,
    judge: bool = True,
    start: list[TableNetwork] | None = None,
) -> Fitted:
    """Train one member for each split, which says the numbers of its training and of its validation rows.

    `start`: networks to go on with instead of new ones. `judge`: whether there are rows enough to speak of a baseline.

    Raises:
        InputError: a loss that is not finite; a device that is not there.
    """
    machines = TrainerFactory(chosen.device, bf16=chosen.bf16, compile=chosen.compile)
    if start is not None:
        networks = [copy.deepcopy(start[i % len(start)]).train() for i in range(len(splits))]
    else:
        edges = _edges(data, chosen, seed)
        networks = new_networks(edges, data.numbers, data.levels, data.base_rate, chosen, len(splits), seed)
    weight = None if data.weight is None else data.weight / data.weight.mean()
    data = replace(data, weight=weight)
    watch = watch or Watch()
    trees, chosen = _trees(data, splits, chosen, seed, watch.checkpointer)
    rows = encoded(data.rows, networks[0], data.target, data.weight)
    parts = [Part(*(torch.from_numpy(np.sort(some).astype(np.int32)) for some in split)) for split in splits]
    members = [
        Member(network, rows, part, chosen, machines, seed + i)
        for i, (network, part) in enumerate(zip(networks, parts, strict=True))
    ]
    by = judge_of(members, data, enough=judge)
    course = Course(members, Judged(by), chosen, watch)
    course.run(sum(_weight_of(data, member.part.train) for member in members))
    for network in networks:
        network.cpu().eval()
    ensemble, target, chosen_on, logits = Ensemble(networks), by.target, by.rows, course.judged.logits
    judged_weight = None if weight is None else weight[chosen_on]
    blended = calibration = None
    if trees:
        aside = [part.valid.numpy() for part in parts[: len(trees)]]
        outputs = [some.logits(torch.from_numpy(data.rows[own])) for some, own in zip(trees, aside, strict=True)]
        of_trees = together(np.concatenate(outputs), np.searchsorted(chosen_on, np.concatenate(aside)), len(chosen_on))
        blended = blend(logits, of_trees, target, judged_weight)
        logits = mixed(logits, of_trees, blended.share)
        ensemble = Ensemble(networks, trees=trees if blended.share else [], share=blended.share)
    if by.by_all:  # the mean of several is less sure of itself than each: what scales one does not fit it
        calibration = calibrate(logits, target, judged_weight, seed)
        ensemble = replace(ensemble, scaling=calibration.scaling)
    return Fitted(ensemble, course.judged.history, chosen_on, logits, target, judged_weight, blended, calibration)


def _trees(
    data: Data, splits: list[Split], chosen: Recipe, seed: int, checkpointer: Checkpointer
) -> tuple[list[BoostedTrees], Recipe]:
    """Trees for each of the splits that differ, and the recipe with the time that is left."""
    if chosen.trees is None or not data.rows.shape[1] or len(np.intersect1d(*splits[0])):
        return [], chosen  # without rows of their own, trees do not know when to stop
    start, budget = time.perf_counter(), chosen.time_budget
    trees = grow(
        data,
        splits[: chosen.folds],
        chosen.trees,
        seed=seed,
        budget=None if budget is None else budget * TREES_TIME,
        checkpointer=checkpointer,
    )
    if budget is not None:
        chosen = replace(chosen, time_budget=max(budget - (time.perf_counter() - start), budget / 10))
    return trees, chosen


def new_networks(
    edges: list[np.ndarray], numbers: int, levels: list[int], base_rate: float, chosen: Recipe, count: int, seed: int
) -> list[TableNetwork]:
    """Networks before training; `edges` of every number, or none where numbers are not to be cut."""
    spec = NetworkSpec(
        pieces=bin_counts(edges, numbers),
        levels=levels,
        hidden=list(chosen.hidden) if numbers + len(levels) else [],
        heads=chosen.heads if numbers + len(levels) else 1,
        dropout=chosen.dropout,
    )
    used = list(itertools.compress(edges, spec.pieces))
    return [new_network(spec, used, base_rate, seed + i) for i in range(count)]


def _edges(data: Data, chosen: Recipe, seed: int) -> list[np.ndarray]:
    """Of every number, or none where numbers are not to be cut."""
    if not chosen.pieces:
        return []
    sample = data.rows[:, : data.numbers]
    if len(sample) > EDGE_ROWS:
        sample = sample[np.random.default_rng(seed).choice(len(sample), EDGE_ROWS, replace=False)]
    return quantile_bin_edges(sample, chosen.pieces)


def _weight_of(data: Data, rows: torch.Tensor) -> float:
    return float(len(rows)) if data.weight is None else float(data.weight[rows.numpy()].sum())
