"""What to beat, on the same rows: always answering the base rate, logistic regression, boosted trees."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from torchbce.table.columns.background import filled
from torchbce.table.columns.columns import FittedColumn, encode, levels_of, number_count
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.infer import fit_encoders

MAX_ROWS = 200_000  # more teach a linear model nothing, and take minutes
MAX_CELLS = 10_000_000  # numbers and codes that logistic regression learns from
WORK = 200_000_000  # of them, in all its steps: some seconds
STEPS = 40, 1000  # at least and at most
MAX_LEVELS = 255  # of a categorical column, that scikit-learn's trees can take

BASE_RATE, LOGISTIC, BOOSTING = "base rate", "logistic regression", "HistGradientBoosting"
Baseline = Callable[[Dataset, Dataset, int], np.ndarray]


def base_rate(train: Dataset, test: Dataset, seed: int) -> np.ndarray:
    """Logits of the test rows, as of every baseline."""
    return np.full(len(test), np.log(train.base_rate / (1 - train.base_rate)))


def logistic_regression(train: Dataset, test: Dataset, seed: int) -> np.ndarray:
    """scikit-learn's, with its defaults, on our encoding of the columns, codes one-hot."""
    columns = _fitted(train)
    most = min(MAX_ROWS, rows_within(number_count(columns) + len(levels_of(columns))))
    if len(train) > most:
        train = train.of(np.sort(np.random.default_rng(seed).choice(len(train), most, replace=False)))
    encoded = [filled(encode(part.frame, columns, part.name)) for part in (train, test)]
    return logistic(encoded[0], train.y, train.weight, columns)(encoded[1])


def rows_within(width: int) -> int:
    """How many rows of so many numbers and codes logistic regression learns from, at most."""
    return MAX_CELLS // max(width, 1)


def logistic(
    rows: np.ndarray, answers: np.ndarray, weight: np.ndarray | None, columns: list[FittedColumn]
) -> Callable[[np.ndarray], np.ndarray]:
    """scikit-learn's logistic regression on encoded rows, codes one-hot; encoded rows to logits.

    Of a large table it takes fewer rows, and steps until it has converged or has taken some seconds.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    some = slice(None, None, -(-rows.size // MAX_CELLS) or 1)
    inputs = _one_hot(rows[some], columns)
    steps = min(max(WORK // max(inputs.size, 1), STEPS[0]), STEPS[1])
    model = LogisticRegression(max_iter=steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after so many steps it is near enough to compare with
        model.fit(inputs, answers[some], None if weight is None else weight[some])
    return lambda others: np.asarray(model.decision_function(_one_hot(others, columns)))


def boosting(train: Dataset, test: Dataset, seed: int) -> np.ndarray:
    """scikit-learn's histogram gradient boosting with early stopping, codes as categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = _fitted(train)
    numbers, levels = number_count(columns), levels_of(columns)
    inputs = [filled(encode(part.frame, columns, part.name)).astype(np.float64) for part in (train, test)]
    for matrix in inputs:  # levels stand by how frequent they are; the rest are one
        matrix[:, numbers:] = np.where(matrix[:, numbers:] >= MAX_LEVELS, 0, matrix[:, numbers:])
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=1000,
        early_stopping=True,
        n_iter_no_change=20,
        categorical_features=[numbers + i for i in range(len(levels))] or None,
        random_state=seed,
    )
    return np.asarray(model.fit(inputs[0], train.y, train.weight).decision_function(inputs[1]))


def _fitted(train: Dataset) -> list[FittedColumn]:
    return fit_encoders(train.frame, train.kinds, train.name, train.decimal, train.dates, train.weight)


def _one_hot(rows: np.ndarray, columns: list[FittedColumn]) -> Any:
    from scipy import sparse

    numbers, levels = number_count(columns), levels_of(columns)
    if not levels:
        return rows.astype(np.float64)
    places = np.tile(np.arange(numbers + len(levels), dtype=np.int32), (len(rows), 1))
    first = numbers + np.concatenate([[0], np.cumsum(levels)])
    places[:, numbers:] = rows[:, numbers:].astype(np.int32) + first[:-1].astype(np.int32)
    values = np.ones(places.shape)
    values[:, :numbers] = rows[:, :numbers]
    ends = np.arange(len(rows) + 1) * places.shape[1]
    return sparse.csr_matrix((values.reshape(-1), places.reshape(-1), ends), (len(rows), int(first[-1])))
