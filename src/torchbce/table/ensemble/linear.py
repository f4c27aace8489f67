"""Fit tables of too few rows for a network by penalised logistic regression, with Newton's method.

It is written into a network without layers, so all that follows is the same. A weight of 2 is as the row twice.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.monitor.history import Epoch, History
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.ensemble.calibration import bce
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.ensemble.member import new_network
from torchbce.table.ensemble.result import EnsembleFit
from torchbce.table.network.table_network import NetworkSpec
from torchbce.table.splits.holdout import Split

TOLERANCE = 1e-10


def fit_linear(data: TrainingMatrix, splits: list[Split], *, enough: bool) -> EnsembleFit:
    """Fit on all rows; the held-out logits are those of models of the splits' training rows.

    `enough`: whether there are enough rows for a baseline.
    """
    start = time.perf_counter()
    aside = np.concatenate([valid for _, valid in splits])
    logits = np.concatenate([_network_of(data, train).logits(data.rows[valid]) for train, valid in splits])
    chosen_on, position = np.unique(aside, return_index=True)
    ensemble = _network_of(data, np.arange(len(data.target)))
    weight = np.ones(len(data.target)) if data.weight is None else data.weight
    target, judged_weight = data.target[chosen_on], weight[chosen_on]
    share = float(np.average(target, weights=judged_weight))
    history = History()
    history.append(
        Epoch(
            number=1,
            running=float(np.average(bce(ensemble.logits(data.rows), data.target), weights=weight)),
            train=None,
            valid=float(np.average(bce(logits[position], target), weights=judged_weight)),
            baseline=cross_entropy(share, data.base_rate) if enough else float("nan"),
            seconds=time.perf_counter() - start,
        )
    )
    used_weight = None if data.weight is None else judged_weight
    return EnsembleFit(ensemble, history, chosen_on, logits[position], target, used_weight, None, None)


def _network_of(data: TrainingMatrix, rows: np.ndarray) -> Ensemble:
    from sklearn.linear_model import LogisticRegression

    target, weight = data.target[rows], None if data.weight is None else data.weight[rows]
    inputs = _one_hot(data, rows)
    ones = float(np.average(target, weights=weight))
    spec = NetworkSpec(pieces=[0] * data.numbers, levels=data.levels, hidden=[])
    network = new_network(spec, [], min(max(ones, 1e-6), 1 - 1e-6), seed=0)
    if 0 < ones < 1 and inputs.shape[1]:
        model = LogisticRegression(solver="newton-cholesky", tol=TOLERANCE, max_iter=1000)
        # The penalised coefficients are sums of rows: with fewer rows than inputs they are found among these.
        among = np.linalg.qr(inputs.T)[0] if inputs.shape[1] > len(inputs) else None
        model.fit(inputs if among is None else inputs @ among, target, weight)
        coefficients = model.coef_[0] if among is None else among @ model.coef_[0]
        weights = torch.split(torch.from_numpy(coefficients).float(), [data.numbers, *data.levels])
        with torch.no_grad():
            for parameter, values in zip([network.direct, *network.level_weights], weights, strict=True):
                parameter.copy_(values)
            network.output_bias.copy_(torch.from_numpy(model.intercept_))
    return Ensemble([network.eval()])


def _one_hot(data: TrainingMatrix, rows: np.ndarray) -> np.ndarray:
    inputs = data.rows[rows]
    codes = inputs[:, data.numbers :].astype(np.int64)
    blocks = [np.eye(size)[codes[:, i]] for i, size in enumerate(data.levels)]
    return np.concatenate([inputs[:, : data.numbers].astype(np.float64), *blocks], 1)
