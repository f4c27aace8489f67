"""Training on a table that is larger than memory: the same networks, choice of an epoch and scaling as in memory.

All networks learn from the same rows in the same order and are judged by the same others; boosted trees need the rows
in memory and are left out.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import Optimizer
from torchbce.table.columns.background import background
from torchbce.table.columns.columns import inputs_of, levels_of, number_count
from torchbce.table.ensemble.block_course import StreamCourse, evaluated, judge_of, logits_of
from torchbce.table.ensemble.calibration import bce, calibrate
from torchbce.table.ensemble.course import Watch
from torchbce.table.ensemble.data import Fitted
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.fit import new_networks
from torchbce.table.ensemble.judged import Judged
from torchbce.table.ensemble.recipe import Choices, Recipe, recipe
from torchbce.table.network.data_parallel import DataParallelStep
from torchbce.table.network.trainers import TrainerFactory
from torchbce.table.packed.prepare import Stream

HIDDEN = (128, 128)
BATCH = 4096  # lanes for many threads and processes
PASSES = 30_000_000  # rows that are learnt from, in epochs of the table
FEWEST_EPOCHS, MOST_EPOCHS = 2, 12


@dataclass(frozen=True)
class StreamFitted:
    """A trained ensemble, its loss on all training rows, and the logits of the test rows, if there are any.

    reading: the share of the time that training waited for rows.
    """

    fitted: Fitted
    train_bce: float
    test_logits: np.ndarray | None
    reading: float


def stream_recipe(rows: int, choices: Choices) -> Recipe:
    """The user's choices, and for the rest what suits so many training rows, of which all are read in every epoch."""
    passes = min(max(round(PASSES / rows), FEWEST_EPOCHS), MOST_EPOCHS)
    return replace(
        recipe(rows, replace(choices, trees=False)),
        hidden=HIDDEN if choices.hidden is None else choices.hidden,
        members=choices.members or 1,
        folds=1,
        batch_size=choices.batch_size or BATCH,
        epochs=choices.epochs or passes,
        linear=False,
    )


def fit_stream(
    stream: Stream, chosen: Recipe, *, seed: int, watch: Watch | None = None, judge: bool = True
) -> StreamFitted:
    """Train `chosen.members` networks. `judge`: whether there are rows enough to speak of a baseline.

    Raises:
        InputError: a loss that is not finite; a device that is not there.
    """
    machines = TrainerFactory(chosen.device, bf16=chosen.bf16, compile=chosen.compile)
    networks = new_networks(
        stream.edges,
        number_count(stream.columns),
        levels_of(stream.columns),
        stream.train.share,
        chosen,
        chosen.members,
        seed,
    )
    optimizer = Optimizer(chosen.optimizer, chosen.weight_decay)
    by = judge_of(stream.valid, stream.train.share, enough=judge)
    threads = ThreadPoolExecutor(torch.get_num_threads(), "lanes")
    crews = [DataParallelStep.of(network, optimizer, threads, seed + i, machines) for i, network in enumerate(networks)]
    with machines.single_threaded(), threads:
        course = StreamCourse(stream.train, stream.valid, Judged(by), crews, chosen, seed, watch or Watch())
        course.run()
        for network in networks:
            network.eval()
        judged_weight = by.weight if stream.valid.layout.weighted else None
        calibration = calibrate(course.judged.logits, by.target, judged_weight, seed)
        values = background(stream.sample, inputs_of(stream.columns).values(), stream.sample_weight)
        ensemble = Ensemble(networks, scaling=calibration.scaling, background=values)
        scaling = calibration.scaling

        def scaled(rows: Rows) -> np.ndarray:
            return scaling.of(logits_of(crews, rows))

        def cost(rows: Rows) -> float:
            weight = 1.0 if rows.weight is None else rows.weight.double().numpy()
            return float((bce(scaled(rows), rows.target.double().numpy()) * weight).sum())

        train_bce = math.fsum(evaluated(stream.train, cost)) / stream.train.weight
        test_logits = None if stream.test is None else np.concatenate(evaluated(stream.test, scaled))
    for network in networks:
        network.cpu()
    fitted = Fitted(
        ensemble, course.judged.history, by.rows, course.judged.logits, by.target, judged_weight, None, calibration
    )
    return StreamFitted(fitted, train_bce, test_logits, course.reading / course.seconds if course.seconds else math.nan)
