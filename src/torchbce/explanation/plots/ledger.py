"""The ledger as a waterfall: from what the base rate costs to the mean loss."""

from __future__ import annotations

import math
from typing import Any

from torchbce.explanation.data.ledger import LedgerLine
from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.data.summarize import summary_of
from torchbce.explanation.plots.figure import BLUE, GREEN, GREY, ORANGE, axes_or_new


class LedgerDisplay:
    """Each line starts where the one before ended; green lowers the loss and orange raises it.

    Attributes:
        lines: of the ledger, in bits. total: their sum, the mean loss in bits.

    Example:
        >>> display = LedgerDisplay.from_predictions([0.6, 0.2, 0.7], [1, 0, 1], from_logits=False)
        >>> display.total == sum(line.bits for line in display.lines)
        True
    """

    def __init__(self, lines: tuple[LedgerLine, ...], total: float) -> None:
        self.lines, self.total = lines, total

    @classmethod
    def from_explanation(cls, found: ExplanationRecord) -> LedgerDisplay:
        """The account of an explanation.

        Raises:
            ValueError: its loss is infinite.
        """
        if not math.isfinite(found.total):
            raise ValueError("there is no ledger of an infinite loss")
        return cls(found.ledger.lines, found.ledger.bits)

    @classmethod
    def from_predictions(
        cls, outputs: Any, targets: Any, *, from_logits: bool, weight: Any = None, ax: Any = None
    ) -> LedgerDisplay:
        """Draw the ledger of predictions; see :func:`torchbce.explain`."""
        return cls.from_explanation(summary_of(outputs, targets, from_logits=from_logits, weight=weight)).plot(ax)

    def plot(self, ax: Any = None) -> LedgerDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 4.8, 2.4)
        self.figure_ = self.ax_.figure
        start = 0.0
        names = [line.name for line in self.lines] + ["mean loss"]
        for height, line in enumerate(self.lines):
            color = GREY if height == 0 else GREEN if line.bits < 0 else ORANGE
            self.ax_.barh(height, line.bits, left=start, color=color, height=0.6)
            ends = [start, start + line.bits]
            if not math.isnan(line.interval.low):
                reach = [start + bound for bound in line.interval]
                self.ax_.plot(reach, [height, height], color="#000000", linewidth=1.2)
                ends += reach
            self._number(height, max(ends), f"{line.bits:+.3f}" if height else f"{line.bits:.3f}")
            start += line.bits
            self.ax_.plot([start, start], [height - 0.3, height + 1.3], color=GREY, linewidth=0.8)
        self.ax_.barh(len(self.lines), self.total, color=BLUE, height=0.6)
        self._number(len(self.lines), self.total, f"{self.total:.3f}")
        self.ax_.set_yticks(range(len(names)), names)
        self.ax_.invert_yaxis()
        self.ax_.set_xlim(min(0.0, self.ax_.get_xlim()[0]), 1.18 * self.ax_.get_xlim()[1])
        self.ax_.set_xlabel("bits per item")
        return self

    def _number(self, height: int, end: float, text: str) -> None:
        self.ax_.annotate(text, (end, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
