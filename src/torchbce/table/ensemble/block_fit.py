"""Train an ensemble on packed rows: the same networks, choice of an epoch and scaling as in memory.

All networks learn from the same rows in the same order and are judged by the same others; boosted trees need the rows
in memory and are left out.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from torchbce.perceptron.rows import Rows
from torchbce.perceptron.trainer import Optimizer
from torchbce.table.columns.background import background
from torchbce.table.columns.columns import inputs_of, levels_of, number_count
from torchbce.table.ensemble.calibration import bce, calibrate
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.fit import new_networks
from torchbce.table.ensemble.in_blocks import LanesInBlocks, for_each_window, logits_of, validation_set
from torchbce.table.ensemble.result import EnsembleFit
from torchbce.table.ensemble.trainer import EnsembleTrainer
from torchbce.table.ensemble.validation import EpochSelector
from torchbce.table.network.data_parallel import DataParallelStep
from torchbce.table.network.trainers import TrainerFactory
from torchbce.table.packed.prepare import Stream


@dataclass(frozen=True)
class BlockFit:
    """A trained ensemble, its loss on all training rows, and the logits of the test rows, if there are any.

    reading: the share of the time that training waited for rows.
    """

    fitted: EnsembleFit
    train_bce: float
    test_logits: np.ndarray | None
    reading: float


def fit_blocks(
    stream: Stream, config: EnsembleConfig, *, seed: int, callbacks: Callbacks | None = None, enough: bool = True
) -> BlockFit:
    """Train `config.members` networks. `enough`: whether there are enough rows for a baseline.

    Raises:
        InputError: a loss that is not finite; a device that is not there.
    """
    factory, base_rate = TrainerFactory(config.device), stream.train.share
    numbers, levels = number_count(stream.columns), levels_of(stream.columns)
    networks = new_networks(stream.sample.edges, numbers, levels, base_rate, config, config.members, seed)
    optimizer = Optimizer(config.optimizer, config.weight_decay)
    selector = EpochSelector(validation_set(stream.valid, base_rate, enough=enough))
    threads = ThreadPoolExecutor(torch.get_num_threads(), "lanes")
    crews = [DataParallelStep.of(network, optimizer, threads, seed + i, factory) for i, network in enumerate(networks)]
    strategy = LanesInBlocks(stream.train, stream.valid, crews, config, seed)
    with factory.single_threaded(), threads:
        EnsembleTrainer(strategy, selector, config, callbacks or Callbacks()).run()
        for network in networks:
            network.eval()
        validation = selector.validation
        weight = validation.weight if stream.valid.layout.weighted else None
        calibration = calibrate(selector.logits, validation.target, weight, seed)

        def scaled(rows: Rows) -> np.ndarray:
            return calibration.scaling.of(logits_of(crews, rows))

        def loss(rows: Rows) -> float:
            weight = 1.0 if rows.weight is None else rows.weight.double().numpy()
            return float((bce(scaled(rows), rows.target.double().numpy()) * weight).sum())

        train_bce = math.fsum(for_each_window(stream.train, loss)) / stream.train.weight
        test_logits = None if stream.test is None else np.concatenate(for_each_window(stream.test, scaled))
    for network in networks:
        network.cpu()
    values = background(stream.sample.rows, inputs_of(stream.columns).values(), stream.sample.weight)
    ensemble = Ensemble(networks, scaling=calibration.scaling, background=values)
    fitted = EnsembleFit(
        ensemble, selector.history, validation.rows, selector.logits, validation.target, weight, None, calibration
    )
    seconds = sum(epoch.seconds for epoch in selector.history)
    return BlockFit(fitted, train_bce, test_logits, strategy.reading / seconds if seconds else math.nan)
