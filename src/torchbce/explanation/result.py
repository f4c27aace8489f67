"""Explanation: the frozen result of `explain`, with everything that shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchbce.common.extras import require_packages
from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks
from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.render import text as wording
from torchbce.explanation.statistics.decision import Decided, Decision, decided

if TYPE_CHECKING:
    import polars
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Explanation(ExplanationRecord, PrintedInNotebooks):
    """What a BCE is made of and what it means. Losses are in nats; `print` it, or see :meth:`to_dict`.

    The figures of weighted items are weighted, like the loss: `mean` is torch's (divided by the items), `weighted_mean`
    is divided by the weights, `plain_mean` leaves the weights out. `standard_error` is that of `mean`; it takes items
    for independent unless `cluster_sizes` are known. `design_effect`: how many times the
    variance of the mean is that of independent items. `intervals`: 95 %, of mean, base_rate, d2 and auc; those of the
    parts stand beside them. NaN where nothing can be told. `errors`: of how many items the truth was given at most
    1/2, where these are too few to tell what others cost, so that intervals reach farther; else None. `errors_among`:
    of how many of the surest items, where it is of them. `withheld`: why figures have no interval, by their names.
    """

    labels: Mapping[str, Explanation] = field(default_factory=dict, repr=False)  # of each column of 2-d targets

    @classmethod
    def of(cls, record: ExplanationRecord) -> Explanation:
        """Return an explanation with the numbers of a record."""
        return cls(**{column.name: getattr(record, column.name) for column in fields(record)})

    @property
    def verdict(self) -> str:
        """Return what to conclude, in a sentence or two."""
        return wording.verdict(self)

    def decide(self, threshold: float | None = None, *, cost: tuple[float, float] | None = None) -> Decided:
        """Decide yes above a probability: confusion matrix, precision, recall and cost.

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
        """Return every number, for JSON; what is not a finite number there is None."""
        groups = tuple(replace(group, parts=None) for group in self.groups)
        without_arrays = replace(
            self, groups=groups, pulls={}, reliability=None, histogram=(), points=None, labels={}, slices=None
        )
        left_out = ("reliability", "histogram", "points", "pulls", "cluster_sizes")
        numbers = {name: value for name, value in asdict(without_arrays).items() if name not in left_out}
        for group in numbers["groups"]:
            del group["parts"]
        sizes = self.cluster_sizes
        numbers["clusters"] = None if sizes is None else sizes._asdict()
        numbers["labels"] = {name: explained.to_dict() for name, explained in self.labels.items()}
        numbers["slices"] = None if self.slices is None else self.slices.to_dict()
        derived = ("bits", "weighted_mean", "typical_probability", "normalized_entropy", "d2", "excess", "verdict")
        numbers["ledger"] = asdict(self.ledger)
        return plain(numbers | {name: getattr(self, name) for name in derived})  # type: ignore[no-any-return]

    def frame(self) -> polars.DataFrame:
        """Return the items as a table, the worst first (all of them in order if they are few)."""
        require_packages("frame()", "polars")
        import polars

        return polars.DataFrame([asdict(item) | {"formula": item.formula} for item in self.items])

    def to_markdown(self) -> str:
        """Return two tables, for a pull request or a notebook's text."""
        return wording.markdown(self)

    def to_html(self, path: str | Path, title: str = "What the loss means") -> None:
        """Write report.html: one file that needs no network."""
        from torchbce.explanation.render.html import write_report

        require_packages("to_html()", "jinja2", "matplotlib")
        write_report(Path(path), title=title, explanation=self)

    def plot(self) -> Figure:
        """Draw few items on the curve of the loss, or many as a reliability diagram beside the histogram of losses."""
        require_packages("plot()", "matplotlib")
        from torchbce.explanation.plots.overview import explanation_figure

        return explanation_figure(self)

    def __str__(self) -> str:
        parts = [self.table, self.meaning, wording.labels_text(self)]
        if self.slices is not None:
            parts.append(str(self.slices))
        return "\n\n".join(part for part in parts if part)

    @property
    def table(self) -> str:
        """Return the items and what each costs, as the article sets them out."""
        return "\n".join(wording.item_lines(self))

    @property
    def meaning(self) -> str:
        """Return what the number means, a line for each known figure."""
        return "\n".join(f"{name:<11} {text}" for name, text in self.facts)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return the lines of `meaning` as pairs of a name and a sentence."""
        return wording.facts(self)
