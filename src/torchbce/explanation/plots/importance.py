"""The importance of columns, in nats of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchbce.common.visible import shown
from torchbce.explanation.plots.figure import BLUE, GREY, LITERAL, axes_or_new


class ImportanceDisplay:
    """How much the loss of held-out rows rises when a column's values are exchanged, with 95 % intervals.

    Args:
        columns: their names, the most important first.
        nats: the mean rise of the loss per item.
        errors: its standard error.

    Example:
        >>> ImportanceDisplay(["age", "income"], [0.1, 0.02], [0.01, 0.004]).plot().ax_.get_xlabel()
        'rise of the loss without the column, nats per item'
    """

    def __init__(self, columns: Sequence[str], nats: Sequence[float], errors: Sequence[float]) -> None:
        self.columns, self.nats, self.errors = list(columns), list(nats), list(errors)

    def plot(self, ax: Any = None) -> ImportanceDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 6.4, 0.6 + 0.24 * max(len(self.columns), 3))
        self.figure_ = self.ax_.figure
        places = range(len(self.columns))
        self.ax_.barh(places, self.nats, color=BLUE, alpha=0.75)
        intervals = [1.96 * error for error in self.errors]
        self.ax_.errorbar(self.nats, places, xerr=intervals, fmt="none", ecolor=GREY, linewidth=1)
        self.ax_.set_yticks(places, [shown(name, 32) for name in self.columns], fontsize=8, **LITERAL)
        self.ax_.invert_yaxis()
        self.ax_.axvline(0, color=GREY, linewidth=1)
        self.ax_.set_xlabel("rise of the loss without the column, nats per item")
        return self
