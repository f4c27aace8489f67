"""The loss over the epochs, with the numbers to beat; and its two parts, separation and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchbce.common.visible import shown
from torchbce.explanation.plots.figure import BLUE, GREY, LONG, ORANGE, add_legend, axes_or_new
from torchbce.explanation.statistics.decomposition import Decomposition


class LossCurveDisplay:
    """The loss over the epochs.

    Args:
        curves: losses in nats per item, an epoch each, by name; two at most are told apart by colour.
        epochs: the epochs' numbers; 1, 2, ... by default.
        levels: what to compare with, such as ``{"base rate": 0.66, "floor": 0.2}``: dashed and dotted lines.
        best: the epoch to mark on the last curve.

    Example:
        >>> display = LossCurveDisplay({"train": [0.6, 0.4], "validation": [0.6, 0.5]}, levels={"base rate": 0.69})
        >>> display.plot().ax_.get_ylabel()
        'BCE, nats per item'
    """

    def __init__(
        self,
        curves: Mapping[str, Sequence[float]],
        *,
        epochs: Sequence[int] | None = None,
        levels: Mapping[str, float] | None = None,
        best: int | None = None,
    ) -> None:
        self.curves, self.levels, self.best = dict(curves), dict(levels or {}), best
        self.epochs = list(epochs or range(1, 1 + max(map(len, self.curves.values()), default=0)))

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw; sets `ax_`, `figure_` and `lines_`."""
        self.ax_ = axes_or_new(ax, 6.4, 3.6)
        self.figure_ = self.ax_.figure
        self.lines_ = []
        for (name, values), colour in zip(self.curves.items(), (BLUE, ORANGE, GREY), strict=False):
            marker = "" if len(values) > 1 else "o"
            shape = {"color": colour, "marker": marker, "label": shown(name, LONG)}
            self.lines_ += self.ax_.plot(self.epochs[: len(values)], values, **shape)
        for (name, level), style in zip(self.levels.items(), ("--", ":", "-."), strict=False):
            self.ax_.axhline(level, color=GREY, linestyle=style, linewidth=1, label=f"{shown(name, LONG)} {level:.4f}")
        if self.best is not None:
            last = list(self.curves.values())[-1]
            height = last[self.epochs.index(self.best)]
            self.ax_.plot([self.best], [height], "o", color=ORANGE, label=f"best epoch {self.best}")
        self.ax_.set(xlabel="epoch", ylabel="BCE, nats per item")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.set_ylim(bottom=0)
        add_legend(self.ax_)
        return self


class EpochsDisplay:
    """Where each epoch's loss comes from: what is left after recalibration, and what miscalibration adds.

    A loss that rises while the lower area still falls is over-confidence: calibrate, do not stop.

    Args:
        decompositions: of each epoch's predictions, as :attr:`Explanation.decomposition`.
        epochs: the epochs' numbers; 1, 2, ... by default.
    """

    def __init__(self, decompositions: Sequence[Decomposition], *, epochs: Sequence[int] | None = None) -> None:
        self.epochs = list(epochs or range(1, 1 + len(decompositions)))
        self.refinement = [parts.uncertainty - parts.discrimination for parts in decompositions]
        self.miscalibration = [parts.miscalibration for parts in decompositions]
        self.uncertainty = [parts.uncertainty for parts in decompositions]

    def plot(self, ax: Any = None) -> EpochsDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 6.4, 3.6)
        self.figure_ = self.ax_.figure
        parts = (self.refinement, self.miscalibration)
        labels = ("after recalibration", "miscalibration")
        self.ax_.stackplot(self.epochs, *parts, colors=(BLUE, ORANGE), labels=labels, alpha=0.75)
        self.ax_.plot(self.epochs, self.uncertainty, color=GREY, linestyle="--", linewidth=1, label="base rate")
        self.ax_.set(xlabel="epoch", ylabel="BCE, nats per item")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        add_legend(self.ax_)
        return self
