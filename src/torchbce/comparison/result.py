"""Comparison: the frozen result of `compare`, with everything that shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchbce.common.extras import require_packages
from torchbce.common.json_values import plain
from torchbce.common.text import PrintedInNotebooks
from torchbce.comparison import wording
from torchbce.comparison.page import write_page
from torchbce.comparison.record import ComparisonRecord


@dataclass(frozen=True)
class Comparison(ComparisonRecord, PrintedInNotebooks):
    """Two models on the same items. Losses are in nats; `print` it, or see :meth:`to_dict`.

    difference: the mean of loss b - loss a, by weight; below 0 b is better. interval: 95 %, of that mean. p_value: how
    often two models that are equally good differ as much by luck; None where there is too little to tell, which
    `evidence.reason` says. parts: separation and calibration, which add up to the difference; None where items are too
    few or targets soft. better, worse: shares of the items that cost less with b, and more.
    more_items: how many more items like these would show a difference of this size with a probability of 80 %; 0 where
    it is shown already, infinite where there is none. key: the column that names the items, where files were joined by
    one.
    """

    @property
    def verdict(self) -> str:
        """Return what to conclude, in one sentence."""
        return wording.verdict(self)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return a name and a sentence for each known figure."""
        return wording.facts(self)

    def to_dict(self) -> dict[str, Any]:
        """Return every number, for JSON; what is not a finite number there is None."""
        numbers = {name: value for name, value in asdict(self).items() if name != "explanations"}
        derived = ("difference", "bits", "interval", "p_value", "more_items", "verdict")
        each = {name: explained.to_dict() for name, explained in zip("ab", self.explanations, strict=True)}
        return plain(numbers | {name: getattr(self, name) for name in derived} | each)  # type: ignore[no-any-return]

    def to_markdown(self) -> str:
        """Return a table, for a pull request."""
        return wording.markdown(self)

    def to_html(self, path: str | Path, title: str = "") -> None:
        """Write a page: one file that needs no network."""
        require_packages("to_html()", "jinja2", "matplotlib")
        write_page(Path(path), self, title or " or ".join(self.names))

    def __str__(self) -> str:
        return wording.text(self)
