"""Comparison: the frozen result of `compare`. Everything in it is computed when it is made."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchbce.common.json_values import plain
from torchbce.comparison import wording
from torchbce.comparison.evidence import Evidence
from torchbce.comparison.parts import Parts
from torchbce.explanation.explain import Explanation
from torchbce.explanation.result import needed
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
class Comparison:
    """Two models on the same items. Losses are in nats; `print` it, or see :meth:`to_dict`.

    difference: the mean of loss b - loss a, by weight; below 0 b is better. interval: 95 %, of that mean. p_value: how
    often two models that are equally good differ as much by luck; None where there is too little to tell, which
    `evidence.reason` says. parts: separation and calibration, which add up to the difference; None where items are too
    few or targets soft. better, worse: shares of the items that cost less with b, and more.
    more_items: how many more items like these would show a difference of this size with a probability of 80 %; 0 where
    it is shown already, infinite where there is none. key: the column that names the items, where files were joined by
    one.
    """

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
        if self.p_value is not None and self.p_value < 0.05:
            return 0.0
        more = self.evidence.decided_by - self.count
        return max(0.0, math.ceil(more)) if math.isfinite(more) else math.inf

    @property
    def verdict(self) -> str:
        """What to conclude, in one sentence."""
        return wording.verdict(self)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """A name and a sentence for each thing that is known."""
        return wording.facts(self)

    def to_dict(self) -> dict[str, Any]:
        """Every number, for JSON; what is not a finite number there is None."""
        numbers = {name: value for name, value in asdict(self).items() if name != "explanations"}
        derived = ("difference", "bits", "interval", "p_value", "more_items", "verdict")
        each = {name: found.to_dict() for name, found in zip("ab", self.explanations, strict=True)}
        return plain(numbers | {name: getattr(self, name) for name in derived} | each)  # type: ignore[no-any-return]

    def to_markdown(self) -> str:
        """A table, for a pull request."""
        return wording.markdown(self)

    def to_html(self, path: str | Path, title: str = "") -> None:
        """Write a page: one file that needs no network."""
        from torchbce.comparison.page import write_page

        with needed("to_html()", "jinja2 and matplotlib"):
            import jinja2  # noqa: F401 - asked for by its name
            import matplotlib  # noqa: F401

        write_page(Path(path), self, title or " or ".join(self.names))

    def __str__(self) -> str:
        return wording.text(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
