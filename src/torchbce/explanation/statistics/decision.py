"""Deciding by a threshold: the confusion matrix, what the decisions cost, and the threshold that costs imply."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from torchbce.common.json_values import plain
from torchbce.explanation.sketch.logits import sigmoid
from torchbce.explanation.sketch.points import Array, Points

CURVE = 101  # thresholds of the curve


@dataclass(frozen=True)
class Decision:
    """Yes above a probability; what a wrong yes and a wrong no cost, if that is what the threshold follows from."""

    threshold: float
    costs: tuple[float, float] | None = None

    @classmethod
    def by_cost(cls, false_positive: float, false_negative: float) -> Decision:
        """Return the threshold that makes the expected cost of calibrated probabilities least (Elkan 2001)."""
        return cls(false_positive / (false_positive + false_negative), (false_positive, false_negative))


@dataclass(frozen=True)
class Decided:
    """What a decision gives on items with known classes; counts are by weight. Beyond 65,536 different outputs they are
    those of outputs rounded to bfloat16.

    cost: the mean per item. cost_of_none, cost_of_all: of always saying no, and always yes. best_threshold, best_cost:
    the threshold that costs least on these very items, which flatters it. curve: thresholds, and the cost of each.
    Costs are 1 for every wrong decision where none are given.
    """

    decision: Decision
    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float
    cost: float
    cost_of_none: float
    cost_of_all: float
    best_threshold: float
    best_cost: float
    curve: tuple[Array, Array] = field(repr=False)

    @property
    def precision(self) -> float:
        """Return the share of ones among what was decided yes; NaN where nothing was."""
        yes = self.true_positive + self.false_positive
        return self.true_positive / yes if yes else math.nan

    @property
    def recall(self) -> float:
        """Return the share of the ones that was decided yes; NaN where there are none."""
        ones = self.true_positive + self.false_negative
        return self.true_positive / ones if ones else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Every number, for JSON."""
        numbers = asdict(self) | {"precision": self.precision, "recall": self.recall}
        return plain(numbers | {"curve": [column.tolist() for column in self.curve]})  # type: ignore[no-any-return]

    def __str__(self) -> str:
        costs = self.decision.costs or (1.0, 1.0)
        lines = [
            f"decision    yes above {self.decision.threshold:.6g}; "
            f"a wrong yes costs {costs[0]:g}, a wrong no {costs[1]:g}",
            "              target 1   target 0",
            f"yes         {self.true_positive:10.10g} {self.false_positive:10.10g}   precision {self.precision:.4f}",
            f"no          {self.false_negative:10.10g} {self.true_negative:10.10g}   recall {self.recall:.4f}",
            f"cost        {self.cost:.6g} per item; always no {self.cost_of_none:.6g}, "
            f"always yes {self.cost_of_all:.6g}",
            f"            least on these items: {self.best_cost:.6g}, above {self.best_threshold:.6g}",
        ]
        return "\n".join(lines)


def decided(points: Points, decision: Decision, dtype: str = "float64") -> Decided:
    """Decide on the items of these points; `dtype` is that of the probabilities, so 0.3 is 0.3 in it."""
    wrong_yes, wrong_no = decision.costs or (1.0, 1.0)
    positive = points.total_positive
    negative = points.total_weight - positive
    total = float(points.total_weight.sum())
    probabilities = sigmoid(points.logits)
    # After each point: what lies at or below it, so what is decided no by its probability as the threshold.
    ones_below = np.concatenate([[0.0], np.cumsum(positive)])
    zeros_below = np.concatenate([[0.0], np.cumsum(negative)])
    costs = (wrong_no * ones_below + wrong_yes * (zeros_below[-1] - zeros_below)) / total

    def below(threshold: Array) -> Array:
        # On the scale of the points, where an item at the threshold itself is found to be there.
        return np.searchsorted(points.logits, torch.logit(torch.from_numpy(threshold)).numpy(), side="right")

    cut = int(below(np.array([_as(dtype, decision.threshold)]))[0])
    best = int(np.argmin(costs))
    thresholds = np.linspace(0, 1, CURVE)
    return Decided(
        decision=decision,
        true_positive=float(ones_below[-1] - ones_below[cut]),
        false_positive=float(zeros_below[-1] - zeros_below[cut]),
        false_negative=float(ones_below[cut]),
        true_negative=float(zeros_below[cut]),
        cost=float(costs[cut]),
        cost_of_none=float(costs[-1]),
        cost_of_all=float(costs[0]),
        best_threshold=float(probabilities[best - 1]) if best else 0.0,
        best_cost=float(costs[best]),
        curve=(thresholds, costs[below(thresholds)]),
    )


def _as(dtype: str, threshold: float) -> float:
    return float(torch.tensor(threshold, dtype=getattr(torch, dtype)).double())
