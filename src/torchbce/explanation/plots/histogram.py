"""How many items cost how much, and how much of the loss they carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.data.summarize import summary_of
from torchbce.explanation.plots.figure import BLUE, GREY, ORANGE, add_legend, axes_or_new


class LossHistogramDisplay:
    """The items by what they cost, five bars to a decade.

    Attributes:
        edges: where each bar begins, in nats; the first also holds what is below.
        counts: the items in it.
    """

    def __init__(self, edges: np.ndarray, counts: np.ndarray, mean: float) -> None:
        self.edges, self.counts, self.mean = edges, counts, mean

    @classmethod
    def from_explanation(cls, found: ExplanationRecord) -> LossHistogramDisplay:
        """The losses behind an explanation."""
        edges, counts = np.array(found.histogram).T
        return cls(edges, counts.astype(np.int64), found.mean)

    @classmethod
    def from_predictions(cls, outputs: Any, targets: Any, *, from_logits: bool, ax: Any = None) -> LossHistogramDisplay:
        """Draw the losses of predictions; see :func:`torchbce.explain`."""
        return cls.from_explanation(summary_of(outputs, targets, from_logits=from_logits)).plot(ax)

    def plot(self, ax: Any = None) -> LossHistogramDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 4.8, 3.2)
        self.figure_ = self.ax_.figure
        used = self.counts.nonzero()[0]
        first, last = (used[0], used[-1] + 1) if len(used) else (0, 1)
        edges, counts = self.edges[first:last], self.counts[first:last]
        self.ax_.bar(edges, counts, width=edges * (10**0.2 - 1), align="edge", color=BLUE, alpha=0.75)
        self.ax_.axvline(np.log(2), color=GREY, linestyle="--", linewidth=1, label="a coin, log 2 = 0.693")
        self.ax_.axvline(self.mean, color=ORANGE, linewidth=1, label=f"mean {self.mean:.4f}")
        self.ax_.set(xscale="log", xlabel="loss of an item, nats", ylabel="items")
        add_legend(self.ax_)
        return self
