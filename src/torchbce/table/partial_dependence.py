"""Partial dependence: a model's mean probability as one column varies and the others do not (Friedman, 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from torchbce.table.columns.columns import CategoricalColumn, NumericColumn, inputs_of
from torchbce.table.model import Model

ROWS, POINTS, LEVELS = 500, 33, 20


@dataclass(frozen=True)
class PartialDependence:
    """Mean probabilities at values of a column: numbers, or the most frequent categories and the rest."""

    column: str
    values: list[float] | list[str]
    probabilities: np.ndarray


def partial_dependence(model: Model, encoded: np.ndarray, name: str, seed: int) -> PartialDependence:
    """Compute the dependence on a column that the model uses; a number that is also a category varies as both."""
    sample = encoded
    if len(sample) > ROWS:
        sample = sample[np.random.default_rng(seed).choice(len(sample), ROWS, replace=False)]
    own = [column for column in model.columns if column.name == name]
    numeric = next((column for column in own if isinstance(column, NumericColumn)), None)
    inputs = inputs_of(model.columns)[name]
    if numeric is not None:
        first = inputs[0]
        quantiles = np.unique(np.quantile(encoded[:, first], np.linspace(0, 1, POINTS), method="nearest"))
        donors = [int(np.flatnonzero(encoded[:, first] == value)[0]) for value in quantiles]  # with its codes
        values: list[float] | list[str] = (quantiles * numeric.scale + numeric.mean).tolist()
    else:
        categorical = next(column for column in own if isinstance(column, CategoricalColumn))
        shown = categorical.levels[:LEVELS]
        values, codes = [*shown, "(other)"], [*range(1, len(shown) + 1), categorical.code_of_others]
        donors = []
    rows = []
    for i in range(len(values)):
        changed = sample.copy()
        if donors:
            changed[:, inputs] = encoded[donors[i], inputs]
        else:
            changed[:, inputs[0]] = codes[i]
        rows.append(changed)
    p = expit(model.ensemble.logits(np.concatenate(rows))).reshape(len(values), -1).mean(1)
    return PartialDependence(name, values, p)
