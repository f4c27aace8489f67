"""The numbers of a comparison, for everything that shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torchbce.comparison.evidence import SIGNIFICANT, Evidence
from torchbce.comparison.parts import Parts
from torchbce.explanation.result import Explanation
from torchbce.explanation.statistics.intervals import Interval

LN2 = math.log(2)


@dataclass(frozen=True)
class Slot:
    """Items of one group, or of one band of confidence.

    difference: of their mean losses, b - a, in nats per item, with its 95 % interval. share: what they add to the
    difference over all items, divided by it.
    """

    name: str
    count: int
    difference: float
    interval: Interval
    share: float
    base_rate: float


@dataclass(frozen=True)
class ChangedItem:
    """One item, with the probabilities that both models gave; `change` is its loss with b less that with a.

    key: its value in the column `Comparison.key`, where files were joined by one.
    """

    row: int
    target: float
    probability_a: float
    probability_b: float
    change: float
    source: str = ""
    key: str | None = None


@dataclass(frozen=True)
class ComparisonRecord:
    """The numbers that :class:`torchbce.Comparison` documents."""

    names: tuple[str, str]
    count: int
    means: tuple[float, float]
    evidence: Evidence
    parts: Parts | None
    aucs: tuple[float, float]
    base_rate: float
    better: float
    worse: float
    weight_sum: float | None
    clusters: int | None
    bands: tuple[Slot, ...]
    groups: tuple[Slot, ...]
    gained: tuple[ChangedItem, ...]
    lost: tuple[ChangedItem, ...]
    explanations: tuple[Explanation, Explanation]
    key: str | None = None

    @property
    def difference(self) -> float:
        return self.evidence.mean

    @property
    def bits(self) -> float:
        """The difference in bits: nats / log 2."""
        return self.difference / LN2

    @property
    def interval(self) -> Interval:
        return self.evidence.interval

    @property
    def p_value(self) -> float | None:
        return self.evidence.p_value

    @property
    def more_items(self) -> float:
        if self.p_value is not None and self.p_value < SIGNIFICANT:
            return 0.0
        more = self.evidence.decided_by - self.count
        return max(0.0, math.ceil(more)) if math.isfinite(more) else math.inf
