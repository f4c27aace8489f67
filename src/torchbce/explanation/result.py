"""Explanation: the frozen result of `explain`. Everything in it is computed when it is made."""

from __future__ import annotations

import contextlib
import html
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchbce.common.json_values import plain
from torchbce.explanation.ledger import Ledger, ledger
from torchbce.explanation.render import text as wording
from torchbce.explanation.sketch.groups import Parts
from torchbce.explanation.sketch.points import Points
from torchbce.explanation.slices.result import Slices
from torchbce.explanation.statistics.calibration import Calibration
from torchbce.explanation.statistics.clustered import Pulls, Sizes
from torchbce.explanation.statistics.decision import Decided, Decision, decided
from torchbce.explanation.statistics.decomposition import Decomposition
from torchbce.explanation.statistics.intervals import Interval
from torchbce.explanation.statistics.isotonic import ReliabilityCurve
from torchbce.explanation.statistics.verdict import Verdict, verdict_on

if TYPE_CHECKING:
    import polars
    from matplotlib.figure import Figure

LN2 = math.log(2)


@contextlib.contextmanager
def needed(what: str, packages: str) -> Iterator[None]:
    """A library that only some results need: its absence is said with what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{what} needs {packages}; pip install {packages.replace(' and', '')}") from error


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
        """Where the item is from."""
        return f"{self.source} {self.place or self.row}".strip()

    @property
    def formula(self) -> str:
        """The loss as the article writes it."""
        return wording.formula(self.probability, self.target)


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
        """The group's share of the total, in percent."""
        return 100 * self.share


@dataclass(frozen=True)
class Elsewhere:
    """The means that other libraries print for the same numbers, because they clip probabilities."""

    keras: float
    sklearn: float
    sklearn_epsilon: float


@dataclass(frozen=True)
class Explanation:
    """What a BCE is made of and what it means. Losses are in nats; `print` it, or see :meth:`to_dict`.

    The figures of weighted items are weighted, like the loss: `mean` is torch's (divided by the items), `weighted_mean`
    is divided by the weights, `plain_mean` leaves the weights out. `standard_error` is that of `mean`; it takes items
    for independent unless `cluster_sizes` are known. `design_effect`: how many times the
    variance of the mean is that of independent items. `intervals`: 95 %, of mean, base_rate, d2 and auc; those of the
    parts stand beside them. NaN where nothing can be told. `errors`: of how many items the truth was given at most
    1/2, where these are too few to tell what others cost, so that intervals reach farther; else None. `errors_among`:
    of how many of the surest items, where it is of them. `withheld`: why figures have no interval, by their names.
    """

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
    labels: dict[str, Explanation] = field(default_factory=dict, repr=False)  # of each column of 2-d targets
    slices: Slices | None = None  # where features were given
    points: Points | None = field(default=None, repr=False)  # of items with known classes, for decisions
    pulls: dict[str, Pulls] = field(default_factory=dict, repr=False)  # of clusters on figures, by name

    @property
    def clusters(self) -> int | None:
        """How many there are; None where items are taken for independent."""
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
        """What is above the least that soft targets allow."""
        return self.weighted_mean - (self.floor or 0.0)

    @property
    def ledger(self) -> Ledger:
        """The mean as an account whose lines add up to it."""
        return ledger(self)

    @property
    def miscalibrated(self) -> Verdict | None:
        """Whether the probabilities are right; None where there are too few items to tell."""
        return None if self.calibration is None else verdict_on(self.calibration, self.baseline)

    @property
    def verdict(self) -> str:
        """What to conclude, in a sentence or two."""
        return wording.verdict(self)

    def decide(self, threshold: float | None = None, *, cost: tuple[float, float] | None = None) -> Decided:
        """What deciding yes above a probability gives: confusion matrix, precision, recall and cost.

        Args:
            threshold: the probability; or
            cost: what a wrong yes and a wrong no cost, from which the threshold follows: a share of FP / (FP + FN).

        Raises:
            ValueError: both or none are given, or one is not allowed; the targets are soft.

        Example:
            >>> from torchbce import explain
            >>> found = explain([0.9, 0.4, 0.2], [1, 1, 0], from_logits=False)
            >>> found.decide(cost=(1, 4)).recall
            1.0
        """
        if (threshold is None) == (cost is None):
            raise ValueError("give a threshold, or cost=(of a wrong yes, of a wrong no)")
        if self.points is None:
            raise ValueError("there are no decisions on soft targets: what happened is not known")
        if cost is not None and (not isinstance(cost, tuple | list) or len(cost) != 2):
            raise ValueError(f"cost is {cost!r}; write (of a wrong yes, of a wrong no)")
        if cost is not None and not (min(cost) > 0 and max(cost) < math.inf):
            raise ValueError(f"cost is {cost}; both are above 0 and finite")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; a probability lies in [0, 1]")
        decision = Decision(threshold) if threshold is not None else Decision.by_cost(*cost or (1, 1))
        return decided(self.points, decision, "float64" if self.from_logits else self.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Every number, for JSON; what is not a finite number there is None."""
        groups = tuple(replace(group, parts=None) for group in self.groups)
        kept = replace(
            self, groups=groups, pulls={}, reliability=None, histogram=(), points=None, labels={}, slices=None
        )
        left_out = ("reliability", "histogram", "points", "pulls", "cluster_sizes")
        numbers = {name: value for name, value in asdict(kept).items() if name not in left_out}
        for group in numbers["groups"]:
            del group["parts"]
        sizes = self.cluster_sizes
        numbers["clusters"] = None if sizes is None else sizes._asdict()
        numbers["labels"] = {name: found.to_dict() for name, found in self.labels.items()}
        numbers["slices"] = None if self.slices is None else self.slices.to_dict()
        derived = ("bits", "weighted_mean", "typical_probability", "normalized_entropy", "d2", "excess", "verdict")
        numbers["ledger"] = asdict(self.ledger)
        return plain(numbers | {name: getattr(self, name) for name in derived})  # type: ignore[no-any-return]

    def frame(self) -> polars.DataFrame:
        """The items as a table, the worst first (all of them in order if they are few)."""
        with needed("frame()", "polars"):
            import polars

        return polars.DataFrame([asdict(item) | {"formula": item.formula} for item in self.items])

    def to_markdown(self) -> str:
        """Two tables, for a pull request or a notebook's text."""
        return wording.markdown(self)

    def to_html(self, path: str | Path, title: str = "What the loss means") -> None:
        """Write report.html: one file that needs no network."""
        from torchbce.explanation.render.html import write_report

        with needed("to_html()", "jinja2 and matplotlib"):
            import jinja2  # noqa: F401 - asked for by its name
            import matplotlib  # noqa: F401

        write_report(Path(path), title=title, explanation=self)

    def plot(self) -> Figure:
        """Few items on the curve of the loss; many as a reliability diagram beside the histogram of losses."""
        with needed("plot()", "matplotlib"):
            import matplotlib  # noqa: F401 - asked for by its name

            from torchbce.explanation.plots.overview import explanation_figure

        return explanation_figure(self)

    def __str__(self) -> str:
        parts = [self.table, self.meaning, wording.labels_text(self)]
        if self.slices is not None:
            parts.append(str(self.slices))
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    @property
    def table(self) -> str:
        """The items and what each costs, as the article sets them out."""
        return "\n".join(wording.item_lines(self))

    @property
    def meaning(self) -> str:
        """What the number means, a line for each thing that is known."""
        return "\n".join(f"{name:<11} {text}" for name, text in self.facts)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The same as pairs of a name and a sentence."""
        return wording.facts(self)
