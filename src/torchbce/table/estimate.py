"""The estimate: the loss of rows that the model has not seen, a test set or every row out of fold, beside baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from torchbce.explanation.explain import Explanation, explain
from torchbce.table import baselines
from torchbce.table.ensemble.calibration import bce
from torchbce.table.importance import Importance

FEWEST_CLUSTERS = 10  # groups needed for errors that allow for them


@dataclass(frozen=True)
class Difference:
    """Loss of a baseline on the same rows, and its excess over the model's: mean and standard error."""

    name: str
    bce: float
    more: float
    error: float


@dataclass(frozen=True)
class Estimate:
    """Logits of rows, each by a model that has not seen it; fold 0 is a test set. Rows are counted from 1."""

    rows: np.ndarray
    folds: np.ndarray
    logits: np.ndarray
    answers: np.ndarray
    weight: np.ndarray | None
    groups: np.ndarray | None
    others: dict[str, np.ndarray]  # the baselines' logits
    importances: list[Importance]  # of the columns, on some of these rows

    @property
    def by_folds(self) -> bool:
        """Return whether the rows are out of fold rather than a test set."""
        return bool(self.folds.any())

    @cached_property
    def explanation(self) -> Explanation:
        """Return the explanation of the loss of these rows, beside the base rate of the training rows."""
        weight = None if self.weight is None else self.weight / self.weight.mean()
        clusters = self.groups if self.groups is not None and len(np.unique(self.groups)) >= FEWEST_CLUSTERS else None
        return explain(
            self.logits,
            self.answers.astype(np.float64),
            from_logits=True,
            weight=weight,
            baseline=self.base_rate,
            rows=self.rows,
            cluster=clusters,
        )

    @cached_property
    def base_rate(self) -> float:
        """Return the base rate of the training rows, a mean over the folds."""
        return float((1 / (1 + np.exp(-self.others[baselines.BASE_RATE]))).mean())

    @cached_property
    def differences(self) -> list[Difference]:
        """Return the difference to each baseline, on the same rows."""
        weight = np.ones(len(self.rows)) if self.weight is None else self.weight / self.weight.mean()
        ours = bce(self.logits, self.answers)
        differences = []
        for name, logits in self.others.items():
            theirs = bce(logits, self.answers)
            more = weight * (theirs - ours)
            differences.append(
                Difference(name, float((weight * theirs).mean()), float(more.mean()), _error(more, self.groups))
            )
        return differences

    @cached_property
    def auc(self) -> float:
        """Return the area under the ROC curve, NaN where all rows are of one class."""
        from sklearn.metrics import roc_auc_score

        if len(np.unique(self.answers)) < 2:
            return math.nan
        return float(roc_auc_score(self.answers, self.logits, sample_weight=self.weight))


def joined(parts: list[Estimate], importances: list[Importance]) -> Estimate:
    """Join the estimates of folds, numbered from 1, in the order of the rows."""
    order = np.argsort(np.concatenate([part.rows for part in parts]), kind="stable")

    def column(values: list[np.ndarray | None]) -> np.ndarray | None:
        return None if values[0] is None else np.concatenate(values)[order]  # type: ignore[arg-type]

    columns: Any = {
        name: column([getattr(part, name) for part in parts])
        for name in ("rows", "logits", "answers", "weight", "groups")
    }
    folds = column([np.full(len(part.rows), number) for number, part in enumerate(parts, 1)])
    others: Any = {name: column([part.others[name] for part in parts]) for name in parts[0].others}
    return Estimate(**columns | {"folds": folds}, others=others, importances=importances)


def _error(values: np.ndarray, groups: np.ndarray | None) -> float:
    """Return the standard error of a mean; rows of one group count together."""
    if groups is not None:
        numbers = np.unique(groups, return_inverse=True)[1]
        sums = np.bincount(numbers, values - values.mean())
        count = len(sums)
        return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1))) / len(values)
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
