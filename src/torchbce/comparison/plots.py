"""A comparison as a picture: every difference with its interval, on one axis."""

from __future__ import annotations

import math
from typing import Any

from torchbce.common.visible import shown
from torchbce.comparison.over_time import OverTime
from torchbce.comparison.record import ComparisonRecord
from torchbce.explanation.plots.figure import BLUE, GREEN, GREY, LITERAL, ORANGE, SHORT, add_legend, axes_or_new
from torchbce.explanation.statistics.intervals import Interval

SHOWN = 8  # groups


class ComparisonDisplay:
    """The difference b - a over all items, its parts, and its groups: left of zero b is better.

    Attributes:
        rows: name, value in nats per item and interval of each.

    Example:
        >>> from torchbce import compare
        >>> found = compare([0.9, 0.2, 0.6], [0.8, 0.1, 0.7], [1, 0, 1], from_logits=False)
        >>> ComparisonDisplay.from_comparison(found).rows[0][0]
        'all items'
    """

    def __init__(self, rows: list[tuple[str, float, Interval]], label: str) -> None:
        self.rows, self.label = rows, label

    @classmethod
    def from_comparison(cls, found: ComparisonRecord) -> ComparisonDisplay:
        """The result of :func:`torchbce.compare`."""
        rows = [("all items", found.difference, found.interval)]
        if found.parts is not None:
            for name, part in (("separation", found.parts.separation), ("calibration", found.parts.calibration)):
                rows.append((name, part.nats, part.interval))
        rows += [(f"sure of {band.name}", band.difference, band.interval) for band in found.bands]
        rows += [(group.name, group.difference, group.interval) for group in found.groups[:SHOWN]]
        a, b = (shown(name, SHORT) for name in found.names)
        return cls(rows, f"{b} - {a}, nats per item")

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 4.8, 1.0 + 0.3 * len(self.rows))
        self.figure_ = self.ax_.figure
        self.ax_.axvline(0, color=GREY, linewidth=1, linestyle="--")
        for height, (_, value, interval) in enumerate(self.rows):
            color = GREEN if interval.high < 0 else ORANGE if interval.low > 0 else GREY
            if not math.isnan(interval.low):
                self.ax_.plot(interval, [height, height], color=color, linewidth=1.6)
            self.ax_.plot([value], [height], "o", color=color, markersize=7 if height == 0 else 5)
        self.ax_.set_yticks(range(len(self.rows)), [shown(name, 32) for name, _, _ in self.rows], **LITERAL)
        self.ax_.invert_yaxis()
        self.ax_.set_xlabel(self.label, **LITERAL)
        self.ax_.locator_params(axis="x", nbins=5)
        return self


class OverTimeDisplay:
    """The mean loss of each period with its interval as a band, beside what its base rate alone would cost.

    Attributes:
        names, means, intervals, baselines: one of each period.
    """

    def __init__(self, names: list[str], means: list[float], intervals: list[Interval], baselines: list[float]) -> None:
        self.names, self.means, self.intervals, self.baselines = names, means, intervals, baselines

    @classmethod
    def from_periods(cls, found: OverTime) -> OverTimeDisplay:
        """The result of :func:`torchbce.comparison.over_time.over_time`."""
        each = found.explanations
        return cls(
            list(found.names),
            [period.weighted_mean for period in each],
            [period.intervals["mean"] for period in each],
            [period.baseline for period in each],
        )

    def plot(self, ax: Any = None) -> OverTimeDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 6.4, 3.2)
        self.figure_ = self.ax_.figure
        places = range(len(self.names))
        low, high = zip(*self.intervals, strict=True)
        self.ax_.fill_between(places, low, high, color=BLUE, alpha=0.25, linewidth=0, label="95 %")
        self.ax_.plot(places, self.means, color=BLUE, marker="o", markersize=4, label="mean loss")
        self.ax_.plot(places, self.baselines, color=GREY, linestyle="--", linewidth=1, label="always the base rate")
        step = max(1, len(self.names) // 8)
        names = [shown(name, SHORT) for name in self.names[::step]]
        self.ax_.set_xticks(places[::step], names, rotation=30, ha="right", fontsize=8, **LITERAL)
        self.ax_.set(ylabel="nats per item")
        add_legend(self.ax_)
        return self
