"""Training an ensemble: all members go through an epoch side by side, and one epoch is chosen for all of them.

Each member is judged by rows that it has not learnt from; together these are as many as there are, so the choice of an
epoch costs little bias. Members run on threads of their own, each deterministic for itself: the same seed gives the
same bits with any number of threads.
"""

from __future__ import annotations

import copy
import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from torchbce.common.errors import InputError
from torchbce.engine.numba_cpu.perceptron.machine import one_blas_thread
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.training.ensemble.blend import blend, mixed
from torchbce.training.ensemble.calibration import bce, calibrate, refined
from torchbce.training.ensemble.data import Data, Fitted, Split
from torchbce.training.ensemble.ensemble import Ensemble, mean_logits
from torchbce.training.ensemble.member import Member, Part, new_network
from torchbce.training.ensemble.recipe import Recipe
from torchbce.training.history import Epoch, History
from torchbce.training.network.compiled import encoded
from torchbce.training.network.edges import quantile_edges
from torchbce.training.network.table_network import NetworkSpec, TableNetwork
from torchbce.training.side_by_side import results
from torchbce.training.trees.boosted import BoostedTrees
from torchbce.training.trees.boosting import grow

EDGE_ROWS = 200_000  # rows that the quantiles of a number are taken from
TREES_TIME = 0.3  # of a budget


def fit_ensemble(
    data: Data,
    splits: list[Split],
    chosen: Recipe,
    *,
    seed: int,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_step: Callable[[int, int], object] | None = None,
    judge: bool = True,
    start: list[TableNetwork] | None = None,
) -> Fitted:
    """Train one member for each split, which says the numbers of its training and of its validation rows.

    `start`: networks to go on with instead of new ones. `judge`: whether there are rows enough to speak of a baseline.

    Raises:
        InputError: a loss that is not finite.
    """
    if start is not None:
        networks = [copy.deepcopy(start[i % len(start)]).train() for i in range(len(splits))]
    else:
        networks = _new_networks(data, chosen, len(splits), seed)
    weight = None if data.weight is None else data.weight / data.weight.mean()
    data = replace(data, weight=weight)
    trees, chosen = _trees(data, splits, chosen, seed)
    rows = encoded(data.rows, networks[0], data.target, data.weight)
    parts = [Part(*(torch.from_numpy(np.sort(some).astype(np.int32)) for some in split)) for split in splits]
    members = [
        Member(network, rows, part, chosen, seed + i)
        for i, (network, part) in enumerate(zip(networks, parts, strict=True))
    ]
    judged = np.concatenate([part.valid.numpy() for part in parts])
    chosen_on, place = np.unique(judged, return_inverse=True)
    by_all = len(judged) == len(members) * len(chosen_on)
    history, logits = _train(members, data, chosen_on, place, chosen, on_epoch, on_step, judge, refine=by_all)
    for network in networks:
        network.eval()
    ensemble, target = Ensemble(networks), data.target[chosen_on]
    judged_weight = None if weight is None else weight[chosen_on]
    blended = calibration = None
    if trees:
        aside = [part.valid.numpy() for part in parts[: len(trees)]]
        outputs = [some.logits(torch.from_numpy(data.rows[own])) for some, own in zip(trees, aside, strict=True)]
        of_trees = _together(np.concatenate(outputs), np.searchsorted(chosen_on, np.concatenate(aside)), len(chosen_on))
        blended = blend(logits, of_trees, target, judged_weight)
        logits = mixed(logits, of_trees, blended.share)
        ensemble = Ensemble(networks, trees=trees if blended.share else [], share=blended.share)
    if by_all:  # the mean of several is less sure of itself than each: what scales one does not fit it
        calibration = calibrate(logits, target, judged_weight, seed)
        ensemble = replace(ensemble, scaling=calibration.scaling)
    return Fitted(ensemble, history, chosen_on, logits, target, blended, calibration)


def _trees(data: Data, splits: list[Split], chosen: Recipe, seed: int) -> tuple[list[BoostedTrees], Recipe]:
    """Trees for each of the splits that differ, and the recipe with the time that is left."""
    if chosen.trees is None or not data.rows.shape[1] or len(np.intersect1d(*splits[0])):
        return [], chosen  # without rows of their own, trees do not know when to stop
    start, budget = time.perf_counter(), chosen.time_budget
    trees = grow(
        data, splits[: chosen.folds], chosen.trees, seed=seed, budget=None if budget is None else budget * TREES_TIME
    )
    if budget is not None:
        chosen = replace(chosen, time_budget=max(budget - (time.perf_counter() - start), budget / 10))
    return trees, chosen


def _train(
    members: list[Member],
    data: Data,
    chosen_on: np.ndarray,
    place: np.ndarray,
    chosen: Recipe,
    on_epoch: Callable[[Epoch], object] | None,
    on_step: Callable[[int, int], object] | None,
    judge: bool,
    refine: bool,
) -> tuple[History, np.ndarray]:
    """Epochs until none gets better; the members end with the weights of the best. Also the logits of that epoch."""
    history, best, best_logits = History(), math.inf, np.zeros(len(chosen_on))
    target = data.target[chosen_on]
    weight = np.ones(len(chosen_on)) if data.weight is None else data.weight[chosen_on]
    baseline = cross_entropy(float(np.average(target, weights=weight)), data.base_rate) if judge else math.nan
    taken = sum(_weight_of(data, member.part.train) for member in members)
    with one_blas_thread(), ThreadPoolExecutor(torch.get_num_threads(), "member") as threads:
        for number in range(1, chosen.epochs + 1):
            start = time.perf_counter()
            running = sum(_side_by_side(threads, members, on_step)) / taken
            seconds = time.perf_counter() - start
            outputs = np.concatenate(list(threads.map(Member.valid_outputs, members)))
            if not (math.isfinite(running) and np.isfinite(outputs).all()):
                raise InputError(
                    f"the loss of epoch {number} is {running}, or a logit after it is not finite: the learning rate is "
                    "too large; try a tenth of it"
                )
            logits = _together(mean_logits(outputs), place, len(chosen_on))
            losses = bce(logits, target)
            epoch = Epoch(
                number=number,
                running=running,
                train=None,
                valid=float(np.average(losses, weights=weight)),
                baseline=baseline,
                seconds=seconds,
            )
            history.append(epoch)
            left = refined(logits, target, weight) if refine else epoch.judged
            if left < best:
                best, best_logits = left, logits
                history.choose(number)
                for member in members:
                    member.keep()
            if on_epoch:
                on_epoch(epoch)
            if number - history.best.number >= chosen.patience or members[0].schedule.is_over:
                break
    for member in members:
        member.restore()
    return history, best_logits


def _together(logits: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
    """One logit per row, of the mean probability where several members were judged by it."""
    yes, no = np.full((2, count), -np.inf)
    np.logaddexp.at(yes, place, -np.logaddexp(0.0, -logits))
    np.logaddexp.at(no, place, -np.logaddexp(0.0, logits))
    return np.asarray(yes - no)


def _side_by_side(
    threads: ThreadPoolExecutor, members: list[Member], on_step: Callable[[int, int], object] | None
) -> list[float]:
    """An epoch of every member; returns the sums of their losses. Ctrl-C ends all of them."""
    stop = threading.Event()
    before = sum(member.machine.steps for member in members)
    steps = sum(member.steps_per_epoch for member in members)
    futures = [threads.submit(member.epoch, stop.is_set) for member in members]

    def on_look() -> None:
        if on_step:
            on_step(sum(member.machine.steps for member in members) - before, steps)

    return results(futures, stop, on_look)


def _new_networks(data: Data, chosen: Recipe, count: int, seed: int) -> list[TableNetwork]:
    edges = _edges(data, chosen, seed)
    cut = [len(cuts) > 2 for cuts in edges]  # two values need no pieces
    spec = NetworkSpec(
        pieces=[len(cuts) - 1 if use else 0 for cuts, use in zip(edges, cut, strict=True)] or [0] * data.numbers,
        levels=data.levels,
        hidden=list(chosen.hidden) if data.rows.shape[1] else [],
        heads=chosen.heads if data.rows.shape[1] else 1,
        dropout=chosen.dropout,
    )
    used = list(itertools.compress(edges, cut))
    return [new_network(spec, used, data.base_rate, seed + i) for i in range(count)]


def _edges(data: Data, chosen: Recipe, seed: int) -> list[np.ndarray]:
    """Of every number, or none where numbers are not to be cut."""
    if not chosen.pieces:
        return []
    sample = data.rows[:, : data.numbers]
    if len(sample) > EDGE_ROWS:
        sample = sample[np.random.default_rng(seed).choice(len(sample), EDGE_ROWS, replace=False)]
    return quantile_edges(sample, chosen.pieces)


def _weight_of(data: Data, rows: torch.Tensor) -> float:
    return float(len(rows)) if data.weight is None else float(data.weight[rows.numpy()].sum())
