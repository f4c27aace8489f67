"""The mean prediction as one column varies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchbce.common.visible import shown
from torchbce.explanation.plots.figure import BLUE, GREY, LITERAL, LONG, SHORT, add_legend, axes_or_new


class EffectDisplay:
    """The mean probability at values of a column, the other columns left as they are.

    Args:
        column: its name.
        values: numbers in order, or categories.
        probabilities: the mean answer at each.
        base_rate: a line to compare with.

    Example:
        >>> EffectDisplay("age", [20, 40, 60], [0.1, 0.3, 0.4]).plot().ax_.get_xlabel()
        'age'
    """

    def __init__(
        self,
        column: str,
        values: Sequence[float] | Sequence[str],
        probabilities: Sequence[float],
        *,
        base_rate: float | None = None,
    ) -> None:
        self.column, self.values, self.probabilities = column, list(values), list(probabilities)
        self.base_rate = base_rate

    def plot(self, ax: Any = None) -> EffectDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 4.8, 2.8)
        self.figure_ = self.ax_.figure
        if self.base_rate is not None:
            self.ax_.axhline(self.base_rate, color=GREY, linestyle="--", linewidth=1, label="base rate")
            add_legend(self.ax_)
        if any(isinstance(value, str) for value in self.values):
            places = range(len(self.values))
            self.ax_.bar(places, self.probabilities, color=BLUE, alpha=0.75)
            names = [shown(value, SHORT) for value in self.values]
            self.ax_.set_xticks(places, names, rotation=60, ha="right", fontsize=7, **LITERAL)
        else:
            self.ax_.plot(self.values, self.probabilities, color=BLUE, marker=".", markersize=4)
        self.ax_.set(ylabel="mean probability", ylim=(0, None))
        self.ax_.set_xlabel(shown(self.column, LONG), **LITERAL)
        return self
