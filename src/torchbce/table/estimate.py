"""What a model is worth, on rows that nothing of it has seen: a test set, or every row out of fold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from torchbce.checkpoint.form import Array, Values, require
from torchbce.checkpoint.record import State
from torchbce.common.signals import look
from torchbce.explanation.explain import Explanation, explain
from torchbce.table import baselines
from torchbce.table.columns.columns import encode
from torchbce.table.columns.dataset import Dataset
from torchbce.table.ensemble.calibration import bce
from torchbce.table.ensemble.course import Watch
from torchbce.table.ensemble.recipe import Choices
from torchbce.table.importance import ROWS, WORTH, Importance, importances, rises, rows_seen
from torchbce.table.model import Learnt, learn
from torchbce.table.splits.holdout import Split

FEWEST_CLUSTERS = 10  # groups, from which errors can allow for them


@dataclass(frozen=True)
class Difference:
    """What another answer to the same rows costs, and how much more than the model's: mean and standard error."""

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
        return bool(self.folds.any())

    @cached_property
    def explanation(self) -> Explanation:
        """What the loss of these rows is made of, beside the base rate of the rows that were learnt from."""
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
        """The training rows', a mean over the folds."""
        return float((1 / (1 + np.exp(-self.others[baselines.BASE_RATE]))).mean())

    @cached_property
    def differences(self) -> list[Difference]:
        """Of each baseline, on the same rows."""
        weight = np.ones(len(self.rows)) if self.weight is None else self.weight / self.weight.mean()
        ours = bce(self.logits, self.answers)
        found = []
        for name, logits in self.others.items():
            theirs = bce(logits, self.answers)
            more = weight * (theirs - ours)
            found.append(
                Difference(name, float((weight * theirs).mean()), float(more.mean()), _error(more, self.groups))
            )
        return found

    @cached_property
    def auc(self) -> float:
        """NaN where all rows are of one class."""
        from sklearn.metrics import roc_auc_score

        if len(np.unique(self.answers)) < 2:
            return math.nan
        return float(roc_auc_score(self.answers, self.logits, sample_weight=self.weight))


@dataclass(frozen=True)
class Fold:
    """Some rows that a model has not seen, and how much each column is worth there, by row, on some of these.

    weight: of those.
    """

    estimate: Estimate
    rises: dict[str, np.ndarray]
    weight: np.ndarray

    def to_state(self) -> State:
        """All of it."""
        arrays = {name: value for name, value in vars(self.estimate).items() if isinstance(value, np.ndarray)}
        tensors = {"arrays": arrays, "others": self.estimate.others, "rises": self.rises}
        return {
            **{name: {key: torch.from_numpy(value) for key, value in part.items()} for name, part in tensors.items()},
            "weight": torch.from_numpy(self.weight),
        }

    @classmethod
    def of_state(cls, state: State, rows: Dataset, numbers: np.ndarray, *, compare: bool) -> Fold:
        """What `to_state` was taken of; `numbers` are those of the rows.

        Raises:
            ValueError: it is of other rows.
        """
        count, weight = (len(rows),), state.get("weight")
        form = {name: Array(count, torch.int64) for name in ("rows", "folds")} | {"logits": Array(count, torch.float64)}
        for name, values in (("answers", rows.y), ("weight", rows.weight), ("groups", rows.groups)):
            if values is not None:
                form[name] = Array(count, torch.from_numpy(values).dtype)
        baselines_form = {name: Array(count, torch.float64) for name in _others(compare)}
        some = Array((weight.numel() if isinstance(weight, torch.Tensor) else 0,), torch.float64)
        require(state, {"arrays": form, "others": baselines_form, "rises": Values(some), "weight": some}, "fold")
        if not np.array_equal(state["arrays"]["rows"].numpy(), numbers):
            raise ValueError("the fold is of other rows")
        arrays, others, rises = (
            {key: tensor.numpy() for key, tensor in state[name].items()} for name in ("arrays", "others", "rises")
        )
        absent = {"weight": None, "groups": None}
        return cls(Estimate(**absent | arrays, others=others, importances=[]), rises, state["weight"].numpy())


def on_test_rows(
    learnt: Learnt,
    train: Dataset,
    test: Dataset,
    rows: np.ndarray,
    seed: int,
    *,
    compare: bool,
    watch: Watch | None = None,
) -> Estimate:
    """Of a model, by rows that it was not given."""
    fold = _fold(learnt, train, test, rows, seed, ROWS, compare=compare, watch=watch or Watch())
    return replace(fold.estimate, importances=importances([fold.rises], [fold.weight]))


def _fold(
    learnt: Learnt,
    train: Dataset,
    test: Dataset,
    rows: np.ndarray,
    seed: int,
    most: int,
    *,
    compare: bool,
    watch: Watch,
) -> Fold:
    """`most`: of the rows that the worth of columns is seen on."""
    look()
    encoded = encode(test.frame, learnt.model.columns, test.name)
    some = np.sort(np.random.default_rng(seed).permutation(len(test))[: rows_seen(learnt.model, most)])
    others = {}
    for name, answer in _others(compare).items():
        watch.begin(name)
        others[name] = answer(train, test, seed)
    found = Estimate(
        rows=rows,
        folds=np.zeros(len(test), np.int64),
        logits=learnt.model.ensemble.logits(encoded),
        answers=test.y,
        weight=test.weight,
        groups=test.groups,
        others=others,
        importances=[],
    )
    watch.begin(WORTH)
    weight = np.ones(len(some)) if test.weight is None else test.weight[some]
    return Fold(found, rises(learnt.model, encoded[some], test.y[some], seed), weight)


def cross_validated(
    examples: Dataset,
    splits: list[Split],
    choices: Choices,
    seed: int,
    *,
    compare: bool,
    on_fold: Callable[[int, float], object] | None = None,
    watch: Watch | None = None,
) -> Estimate:
    """Of the way to a model, by as many models as there are splits; each predicts the rows kept from it."""
    watch = watch or Watch()

    def estimated(number: int) -> Fold:
        checkpointer = watch.checkpointer.scoped(f"fold-{number}")
        train, aside = splits[number - 1]
        rest = examples.of(aside)

        def make() -> Fold:
            some = examples.of(train)
            learnt = learn(
                some, choices, seed=seed + 1000 * number, watch=replace(watch, epoch=None, checkpointer=checkpointer)
            )
            most = -(-ROWS // len(splits))
            return _fold(learnt, some, rest, aside + 1, seed, most, compare=compare, watch=watch)

        def unpack(state: State) -> Fold:
            return Fold.of_state(state, rest, aside + 1, compare=compare)

        return checkpointer.cached("estimate", make, Fold.to_state, unpack)

    found = []
    for number in range(1, len(splits) + 1):
        look()
        fold = estimated(number)
        found.append(fold)
        if on_fold:
            part = fold.estimate
            on_fold(number, float(np.average(bce(part.logits, part.answers), weights=part.weight)))
    parts = [fold.estimate for fold in found]
    folds = np.concatenate([np.full(len(part.rows), number) for number, part in enumerate(parts, 1)])
    worth = importances([fold.rises for fold in found], [fold.weight for fold in found])
    return replace(_joined(parts, folds), importances=worth)


def _joined(parts: list[Estimate], folds: np.ndarray) -> Estimate:
    """In the order of the rows."""
    order = np.argsort(np.concatenate([part.rows for part in parts]), kind="stable")

    def joined(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    return Estimate(
        rows=np.sort(np.concatenate([part.rows for part in parts])),
        folds=folds[order],
        logits=np.concatenate([part.logits for part in parts])[order],
        answers=np.concatenate([part.answers for part in parts])[order],
        weight=joined("weight"),
        groups=joined("groups"),
        others={name: np.concatenate([part.others[name] for part in parts])[order] for name in parts[0].others},
        importances=[],
    )


def _others(compare: bool) -> dict[str, baselines.Baseline]:
    found: dict[str, baselines.Baseline] = {
        baselines.BASE_RATE: baselines.base_rate,
        baselines.LOGISTIC: baselines.logistic_regression,
    }
    return found | ({baselines.BOOSTING: baselines.boosting} if compare else {})


def _error(values: np.ndarray, groups: np.ndarray | None) -> float:
    """Standard error of a mean; rows of one group count together."""
    if groups is not None:
        numbers = np.unique(groups, return_inverse=True)[1]
        sums = np.bincount(numbers, values - values.mean())
        count = len(sums)
        return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1))) / len(values)
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
