"""The numbers of an explanation, and what follows from them; everything is computed when the record is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torchbce.common.text import probability_text
from torchbce.explanation.data.ledger import LN2, Ledger, ledger
from torchbce.explanation.sketch.groups import Parts
from torchbce.explanation.sketch.points import Points
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.statistics.calibration import Calibration
from torchbce.explanation.statistics.clustered import Pulls, Sizes
from torchbce.explanation.statistics.decomposition import Decomposition
from torchbce.explanation.statistics.intervals import Interval
from torchbce.explanation.statistics.isotonic import ReliabilityCurve
from torchbce.explanation.statistics.verdict import Verdict, verdict_on


@dataclass(frozen=True)
class Item:
    """One loss term.

    row: counted from 1 along the first dimension. place: the same as text, with more dimensions as "row, column".
    """

    row: int
    target: float
    probability: float
    logit: float | None
    loss: float
    weight: float = 1.0
    source: str = ""
    place: str = ""

    @property
    def name(self) -> str:
        """Return where the item is from."""
        return f"{self.source} {self.place or self.row}".strip()

    @property
    def formula(self) -> str:
        """Return the loss as the article writes it."""
        p, y = probability_text(self.probability), self.target
        if y in (0, 1):
            return f"-log({p})" if y else f"-log(1 - {p})"
        return f"-({y:g} log({p}) + {1 - y:g} log(1 - {p}))"


@dataclass(frozen=True)
class GroupLoss:
    """The part of a loss that one group of items has."""

    name: str
    count: int
    mean: float
    share: float  # of the total
    base_rate: float
    baseline: float  # what answering the group's own base rate costs, by its weights
    weight: float  # of its items, together
    equal_count: float  # as many items of equal weight tell as much
    standard_error: float  # of the mean; by clusters, where these are known
    interval: Interval  # 95 %, of the mean
    parts: Parts | None = field(default=None, repr=False)  # in clusters

    @property
    def percent(self) -> float:
        """Return the group's share of the total, in percent."""
        return 100 * self.share


@dataclass(frozen=True)
class Elsewhere:
    """The means that other libraries print for the same numbers, because they clip probabilities."""

    keras: float
    sklearn: float
    sklearn_epsilon: float


@dataclass(frozen=True)
class ExplanationRecord:
    """The numbers that :class:`torchbce.Explanation` documents, for everything that shows them."""

    count: int
    total: float
    mean: float
    plain_mean: float
    standard_error: float
    weight_sum: float | None
    from_logits: bool
    dtype: str
    base_rate: float
    baseline_answer: float
    baseline: float
    floor: float | None
    clamped: int
    clamped_cost: float
    saturated: int
    worst_share: float
    auc: float
    elsewhere: Elsewhere | None
    calibration: Calibration | None
    decomposition: Decomposition | None
    items: tuple[Item, ...]
    intervals: dict[str, Interval] = field(default_factory=dict)
    errors: float | None = None
    errors_among: float | None = None
    withheld: dict[str, str] = field(default_factory=dict)
    cluster_sizes: Sizes | None = None
    design_effect: float = 1.0
    groups: tuple[GroupLoss, ...] = ()
    reliability: ReliabilityCurve | None = field(default=None, repr=False)
    histogram: tuple[tuple[float, int], ...] = field(default=(), repr=False)  # loss from, items
    labels: Mapping[str, ExplanationRecord] = field(default_factory=dict, repr=False)  # of each column of 2-d targets
    slices: Slices | None = None  # where features were given
    points: Points | None = field(default=None, repr=False)  # of items with known classes, for decisions
    pulls: dict[str, Pulls] = field(default_factory=dict, repr=False)  # of clusters on figures, by name

    @property
    def clusters(self) -> int | None:
        """Return how many there are; None where items are taken for independent."""
        return None if self.cluster_sizes is None else self.cluster_sizes.number

    @property
    def bits(self) -> float:
        """The mean in bits: nats / log 2."""
        return self.mean / LN2

    @property
    def weighted_mean(self) -> float:
        """The total divided by the weights; the mean where there are none."""
        return self.mean if self.weight_sum is None else self.total / self.weight_sum if self.weight_sum else math.nan

    @property
    def typical_probability(self) -> float:
        """exp(-mean): the geometric mean of the probabilities given to what happened."""
        return math.exp(-self.weighted_mean)

    @property
    def normalized_entropy(self) -> float:
        """The loss divided by the baseline (He et al. 2014); NaN where there is no baseline."""
        return self.weighted_mean / self.baseline if self.baseline > 0 else math.nan

    @property
    def d2(self) -> float:
        """1 - normalized entropy: scikit-learn's D2, McFadden's pseudo R2."""
        return 1 - self.normalized_entropy

    @property
    def clamped_share(self) -> float:
        """The part of the total that clamped items have; 0 where the total is."""
        return self.clamped_cost / self.total if self.total else 0.0

    @property
    def excess(self) -> float:
        """Return the mean by weight less the least that soft targets allow."""
        return self.weighted_mean - (self.floor or 0.0)

    @property
    def ledger(self) -> Ledger:
        """The mean as an account whose lines add up to it."""
        return ledger(self)

    @property
    def miscalibrated(self) -> Verdict | None:
        """Return whether the probabilities are right; None where there are too few items to tell."""
        return None if self.calibration is None else verdict_on(self.calibration, self.baseline)
