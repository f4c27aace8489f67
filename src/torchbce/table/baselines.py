"""Baselines, on the same encoded rows: always answering the base rate, logistic regression, boosted trees."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from torchbce.table.columns.background import filled
from torchbce.table.columns.columns import FittedColumn, levels_of, number_count
from torchbce.table.encoded import EncodedTable

MAX_ROWS = 200_000  # more rows do not improve a linear model, and take minutes
MAX_CELLS = 10_000_000  # numbers and codes that logistic regression learns from
WORK = 200_000_000  # of them, in all steps: a few seconds
STEPS = 40, 1000  # at least and at most
MAX_LEVELS = 255  # of a categorical column, that scikit-learn's trees can take

BASE_RATE, LOGISTIC, BOOSTING = "base rate", "logistic regression", "HistGradientBoosting"
Predict = Callable[[np.ndarray], np.ndarray]  # encoded rows without unknown cells to logits


def base_rate(rate: float) -> Predict:
    """Return a predictor that always answers the base rate."""
    return lambda rows: np.full(len(rows), np.log(rate / (1 - rate)))


def logistic_sample(train: EncodedTable, seed: int) -> EncodedTable:
    """Return the rows that logistic regression learns from: all, or as many as it can take."""
    most = min(MAX_ROWS, MAX_CELLS // max(number_count(train.columns) + len(levels_of(train.columns)), 1))
    if len(train) <= most:
        return train
    return train.take(np.sort(np.random.default_rng(seed).choice(len(train), most, replace=False)))


def logistic_regression(train: EncodedTable) -> Predict:
    """Fit scikit-learn's logistic regression with its defaults, codes one-hot.

    Of a large table it takes fewer rows, and fewer steps, so that it ends within seconds.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rows, columns = filled(train.rows), train.columns
    sample = slice(None, None, -(-rows.size // MAX_CELLS) or 1)
    inputs = _one_hot(rows[sample], columns)
    steps = min(max(WORK // max(inputs.size, 1), STEPS[0]), STEPS[1])
    model = LogisticRegression(max_iter=steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after these steps it is close enough for a comparison
        model.fit(inputs, train.y[sample], None if train.weight is None else train.weight[sample])
    return lambda others: np.asarray(model.decision_function(_one_hot(others, columns)))


def boosting(train: EncodedTable, seed: int) -> Predict:
    """Fit scikit-learn's histogram gradient boosting with early stopping, codes as categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    numbers, levels = number_count(train.columns), levels_of(train.columns)

    def inputs(rows: np.ndarray) -> np.ndarray:
        """Return float64 inputs; levels, which are ordered by frequency, beyond MAX_LEVELS become one."""
        wide = rows.astype(np.float64)
        wide[:, numbers:] = np.where(wide[:, numbers:] >= MAX_LEVELS, 0, wide[:, numbers:])
        return wide

    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=1000,
        early_stopping=True,
        n_iter_no_change=20,
        categorical_features=[numbers + i for i in range(len(levels))] or None,
        random_state=seed,
    )
    model.fit(inputs(filled(train.rows)), train.y, train.weight)
    return lambda rows: np.asarray(model.decision_function(inputs(rows)))


def _one_hot(rows: np.ndarray, columns: list[FittedColumn]) -> Any:
    from scipy import sparse

    numbers, levels = number_count(columns), levels_of(columns)
    if not levels:
        return rows.astype(np.float64)
    indices = np.tile(np.arange(numbers + len(levels), dtype=np.int32), (len(rows), 1))
    first = numbers + np.concatenate([[0], np.cumsum(levels)])
    indices[:, numbers:] = rows[:, numbers:].astype(np.int32) + first[:-1].astype(np.int32)
    values = np.ones(indices.shape)
    values[:, :numbers] = rows[:, :numbers]
    ends = np.arange(len(rows) + 1) * indices.shape[1]
    return sparse.csr_matrix((values.reshape(-1), indices.reshape(-1), ends), (len(rows), int(first[-1])))
