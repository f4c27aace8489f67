"""Train an ensemble on rows in memory: networks and trees, one epoch for all, blended and calibrated.

Each member is judged by rows that it has not learnt from; together these are as many as there are, so the choice of an
epoch costs little bias. Members run on threads of their own, each deterministic for itself: the same seed gives the
same bits with any number of threads.
"""

from __future__ import annotations

import copy
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from torchbce.checkpoint.checkpointer import Checkpointer
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.ensemble.blend import blend, fit_blend
from torchbce.table.ensemble.calibration import calibrate
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig
from torchbce.table.ensemble.ensemble import Ensemble, pool_logits
from torchbce.table.ensemble.in_memory import MembersInMemory, validation_set
from torchbce.table.ensemble.member import Member, MemberSplit, new_network
from torchbce.table.ensemble.result import EnsembleFit
from torchbce.table.ensemble.trainer import EnsembleTrainer
from torchbce.table.ensemble.validation import EpochSelector
from torchbce.table.network.bins import EDGE_ROWS, bin_counts, quantile_bin_edges
from torchbce.table.network.compiled import encoded
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.network.trainers import TrainerFactory
from torchbce.table.splits.holdout import Split
from torchbce.table.trees.boosted import BoostedTrees
from torchbce.table.trees.boosting import grow

TREES_TIME = 0.3  # of a budget


def fit_ensemble(
    data: TrainingMatrix,
    splits: list[Split],
    config: EnsembleConfig,
    *,
    seed: int,
    callbacks: Callbacks | None = None,
    enough: bool = True,
    start: list[TableNetwork] | None = None,
) -> EnsembleFit:
    """Train one member for each split, which says the numbers of its training and of its validation rows.

    `start`: networks to continue with instead of new ones. `enough`: whether there are enough rows for a baseline.

    Raises:
        InputError: a loss that is not finite; a device that is not there.
    """
    factory, callbacks = TrainerFactory(config.device), callbacks or Callbacks()
    networks = _networks(data, config, len(splits), seed, start)
    data = replace(data, weight=None if data.weight is None else data.weight / data.weight.mean())
    trees, config = _trees(data, splits, config, seed, callbacks.checkpointer)
    rows = encoded(data.rows, networks[0], data.target, data.weight)
    members = [
        Member(network, rows, _member_split(split), config, factory, seed + i)
        for i, (network, split) in enumerate(zip(networks, splits, strict=True))
    ]
    selector = EpochSelector(validation_set(members, data, enough=enough))
    weight = sum(_weight_of(data, member.split.train) for member in members)
    with factory.single_threaded(), ThreadPoolExecutor(torch.get_num_threads(), "member") as threads:
        strategy = MembersInMemory(members, selector.validation, threads, weight)
        EnsembleTrainer(strategy, selector, config, callbacks).run()
    for network in networks:
        network.cpu().eval()
    return _blended_and_calibrated(data, networks, trees, members, selector, seed)


def _blended_and_calibrated(
    data: TrainingMatrix,
    networks: list[TableNetwork],
    trees: list[BoostedTrees],
    members: list[Member],
    selector: EpochSelector,
    seed: int,
) -> EnsembleFit:
    """Blend the trees in and calibrate, both on the validation rows."""
    ensemble, validation, logits = Ensemble(networks), selector.validation, selector.logits
    weight = None if data.weight is None else validation.weight
    blended = calibration = None
    if trees:
        aside = [member.split.valid.numpy() for member in members[: len(trees)]]
        outputs = [
            tree_set.logits(torch.from_numpy(data.rows[own])) for tree_set, own in zip(trees, aside, strict=True)
        ]
        row = np.searchsorted(validation.rows, np.concatenate(aside))
        of_trees = pool_logits(np.concatenate(outputs), row, len(validation.rows))
        blended = fit_blend(logits, of_trees, validation.target, weight)
        logits = blend(logits, of_trees, blended.tree_weight)
        used = trees if blended.tree_weight else []
        ensemble = Ensemble(networks, trees=used, tree_weight=blended.tree_weight)
    if validation.by_all:  # the mean of several members is less confident than each: it needs another scaling
        calibration = calibrate(logits, validation.target, weight, seed)
        ensemble = replace(ensemble, scaling=calibration.scaling)
    return EnsembleFit(
        ensemble, selector.history, validation.rows, logits, validation.target, weight, blended, calibration
    )


def _trees(
    data: TrainingMatrix, splits: list[Split], config: EnsembleConfig, seed: int, checkpointer: Checkpointer
) -> tuple[list[BoostedTrees], EnsembleConfig]:
    """Return trees for each of the splits that differ, and the configuration with the time that is left."""
    if config.trees is None or not data.rows.shape[1] or len(np.intersect1d(*splits[0])):
        return [], config  # without rows of their own, trees do not know when to stop
    start, budget = time.perf_counter(), config.time_budget
    trees = grow(
        data,
        splits[: config.folds],
        config.trees,
        seed=seed,
        budget=None if budget is None else budget * TREES_TIME,
        checkpointer=checkpointer,
    )
    if budget is not None:
        config = replace(config, time_budget=max(budget - (time.perf_counter() - start), budget / 10))
    return trees, config


def _networks(
    data: TrainingMatrix, config: EnsembleConfig, count: int, seed: int, start: list[TableNetwork] | None
) -> list[TableNetwork]:
    """Return copies of `start` in turn, or new networks."""
    if start is not None:
        return [copy.deepcopy(start[i % len(start)]).train() for i in range(count)]
    edges = _edges(data, config, seed)
    return new_networks(edges, data.numbers, data.levels, data.base_rate, config, count, seed)


def new_networks(
    edges: list[np.ndarray],
    numbers: int,
    levels: list[int],
    base_rate: float,
    config: EnsembleConfig,
    count: int,
    seed: int,
) -> list[TableNetwork]:
    """Return networks before training; `edges` of every number, or none where numbers are not to be cut."""
    spec = NetworkSpec(
        pieces=bin_counts(edges, numbers),
        levels=levels,
        hidden=list(config.hidden) if numbers + len(levels) else [],
        heads=config.heads if numbers + len(levels) else 1,
        dropout=config.dropout,
    )
    used = list(itertools.compress(edges, spec.pieces))
    return [new_network(spec, used, base_rate, seed + i) for i in range(count)]


def _edges(data: TrainingMatrix, config: EnsembleConfig, seed: int) -> list[np.ndarray]:
    """Return the edges of every number, or none where numbers are not to be cut."""
    if not config.pieces:
        return []
    sample = data.rows[:, : data.numbers]
    if len(sample) > EDGE_ROWS:
        sample = sample[np.random.default_rng(seed).choice(len(sample), EDGE_ROWS, replace=False)]
    return quantile_bin_edges(sample, config.pieces)


def _member_split(split: Split) -> MemberSplit:
    return MemberSplit(*(torch.from_numpy(np.sort(rows).astype(np.int32)) for rows in split))


def _weight_of(data: TrainingMatrix, rows: torch.Tensor) -> float:
    return float(len(rows)) if data.weight is None else float(data.weight[rows.numpy()].sum())
