"""Evaluate a trained model beside baselines, on rows that none of them has seen, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from torchbce.checkpoint.form import Array, Values, require
from torchbce.checkpoint.record import State
from torchbce.common.signals import look
from torchbce.table.baselines import Predict
from torchbce.table.columns.background import filled
from torchbce.table.columns.dataset import Dataset
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.estimate import Estimate
from torchbce.table.importance import WORTH, importances, permutation_increase, rows_seen
from torchbce.table.model import Model

Baselines = dict[str, Callable[[], Predict]]  # functions that fit a baseline, by its name
Part = tuple[np.ndarray, EncodedTable]  # numbers of rows in the table, from 1, and the encoded rows


@dataclass(frozen=True)
class Evaluation:
    """An estimate without importances, and by column the increase of the loss of a sample of its rows.

    weight: of those rows.
    """

    estimate: Estimate
    increase: dict[str, np.ndarray]
    weight: np.ndarray

    def with_importances(self) -> Estimate:
        """Return the estimate with the importances of the columns."""
        return replace(self.estimate, importances=importances([self.increase], [self.weight]))

    def to_state(self) -> State:
        """Serialize to a state dict."""
        arrays = {name: value for name, value in vars(self.estimate).items() if isinstance(value, np.ndarray)}
        tensors = {"arrays": arrays, "others": self.estimate.others, "increase": self.increase}
        return {
            **{name: {key: torch.from_numpy(value) for key, value in part.items()} for name, part in tensors.items()},
            "weight": torch.from_numpy(self.weight),
        }

    @classmethod
    def of_state(cls, state: State, rows: Dataset, numbers: np.ndarray, baselines: Iterable[str]) -> Evaluation:
        """Restore from `to_state`; `numbers` are those of the rows.

        Raises:
            ValueError: it is of other rows.
        """
        count, weight = (len(rows),), state.get("weight")
        form = {name: Array(count, torch.int64) for name in ("rows", "folds")} | {"logits": Array(count, torch.float64)}
        for name, values in (("answers", rows.y), ("weight", rows.weight), ("groups", rows.groups)):
            if values is not None:
                form[name] = Array(count, torch.from_numpy(values).dtype)
        others_form = {name: Array(count, torch.float64) for name in baselines}
        sample_form = Array((weight.numel() if isinstance(weight, torch.Tensor) else 0,), torch.float64)
        require(
            state,
            {"arrays": form, "others": others_form, "increase": Values(sample_form), "weight": sample_form},
            "fold",
        )
        if not np.array_equal(state["arrays"]["rows"].numpy(), numbers):
            raise ValueError("the fold is of other rows")
        arrays, others, increase = (
            {key: tensor.numpy() for key, tensor in state[name].items()} for name in ("arrays", "others", "increase")
        )
        absent = {"weight": None, "groups": None}
        return cls(Estimate(**absent | arrays, others=others, importances=[]), increase, state["weight"].numpy())


def evaluate(
    model: Model,
    logits: np.ndarray,
    parts: Iterable[Part],
    baselines: Baselines,
    *,
    seed: int,
    most: int,
    callbacks: Callbacks,
    groups: np.ndarray | None = None,
) -> Evaluation:
    """Evaluate on all rows of `parts`; `logits` are the model's, `most` the rows that importance is measured on."""
    predict = {}
    for name, fit in baselines.items():
        callbacks.begin(name)
        predict[name] = fit()
    sample = np.sort(np.random.default_rng(seed).permutation(len(logits))[: rows_seen(model, most)])
    numbers, tables, sampled, first = [], [], [], 0
    others: dict[str, list[np.ndarray]] = {name: [] for name in predict}
    for rows, table in parts:
        look()
        inputs = filled(table.rows)
        for name, answer in predict.items():
            others[name].append(answer(inputs))
        positions = sample[(sample >= first) & (sample < first + len(table))] - first
        sampled.append(table.select(model.columns).take(positions))
        numbers.append(rows)
        tables.append((table.y, table.weight))
        first += len(table)
    answers, weights = zip(*tables, strict=True)
    estimate = Estimate(
        rows=np.concatenate(numbers),
        folds=np.zeros(len(logits), np.int64),
        logits=logits,
        answers=np.concatenate(answers),
        weight=None if weights[0] is None else np.concatenate(weights),
        groups=groups,
        others={name: np.concatenate(values) for name, values in others.items()},
        importances=[],
    )
    callbacks.begin(WORTH)
    rows, targets = (np.concatenate([getattr(part, name) for part in sampled]) for name in ("rows", "y"))
    weight = np.concatenate([np.ones(len(part)) if part.weight is None else part.weight for part in sampled])
    return Evaluation(estimate, permutation_increase(model, rows, targets, seed), weight)
