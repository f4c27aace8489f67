"""The reliability diagram: what was predicted beside what happened, with the band in which chance alone would stay."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.data.summarize import summary_of
from torchbce.explanation.plots.figure import BLUE, GREY, add_legend, axes_or_new
from torchbce.explanation.statistics.isotonic import ReliabilityCurve

RARE = 0.05  # below this base rate, or above 1 - it, the axes are logits
FARTHEST = 9.0  # the logit at which such axes end


class ReliabilityDisplay:
    """Blocks of items (isotonic regression): mean prediction, share of ones; a point's area is its number of items.

    Between the edges of the grey band, which lies around the diagonal, 90 % of the curves of calibrated predictions
    stay: what is outside is real.

    Attributes:
        curve: a :class:`ReliabilityCurve` with the arrays predicted, observed, count, low and high.

    Example:
        >>> display = ReliabilityDisplay.from_predictions([0.2, 0.2, 0.8, 0.8], [0, 0, 1, 1], from_logits=False)
        >>> display.curve.observed.tolist()
        [0.0, 1.0]
    """

    def __init__(self, curve: ReliabilityCurve, *, base_rate: float = 0.5) -> None:
        self.curve, self.base_rate = curve, base_rate

    @classmethod
    def from_explanation(cls, found: ExplanationRecord) -> ReliabilityDisplay:
        """The predictions behind an explanation."""
        if found.reliability is None:
            raise ValueError("there is no reliability diagram of soft targets: what happened is not known")
        return cls(found.reliability, base_rate=found.base_rate)

    @classmethod
    def from_predictions(
        cls, outputs: Any, targets: Any, *, from_logits: bool, weight: Any = None, ax: Any = None
    ) -> ReliabilityDisplay:
        """Draw predictions; see :func:`torchbce.explain`."""
        return cls.from_explanation(summary_of(outputs, targets, from_logits=from_logits, weight=weight)).plot(ax)

    def plot(self, ax: Any = None, *, logit_axes: bool | None = None) -> ReliabilityDisplay:
        """Draw; `logit_axes` spread out rare events, and are the default for them. Sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax, 4.8, 4.2)
        self.figure_ = self.ax_.figure
        curve = self.curve
        rare = min(self.base_rate, 1 - self.base_rate) < RARE
        scale = _logit if (rare if logit_axes is None else logit_axes) else np.asarray
        line = np.linspace(-FARTHEST, FARTHEST) if scale is _logit else np.linspace(0, 1)
        self.ax_.plot(line, line, color=GREY, linewidth=1, linestyle="--", label="calibrated")
        x, y = scale(curve.predicted), scale(curve.observed)
        if curve.low is not None and curve.high is not None:
            self.ax_.fill_between(
                x, scale(curve.low), scale(curve.high), color=GREY, alpha=0.2, linewidth=0, label="chance, 90 %"
            )
        self.ax_.plot(x, y, color=BLUE, linewidth=1)
        area = 12 + 250 * curve.count / curve.count.sum()
        self.ax_.scatter(x, y, s=area, color=BLUE, alpha=0.7, clip_on=False, label="items, pooled (isotonic)")
        self._label(scale is _logit)
        return self

    def _label(self, logits: bool) -> None:
        self.ax_.set(xlabel="predicted probability", ylabel="observed share of ones")
        if logits:
            shares = np.array([1e-3, 1e-2, 0.1, 0.5, 0.9, 0.99, 0.999])
            names = [f"{share:g}" for share in shares]
            self.ax_.set_xticks(_logit(shares), names)
            self.ax_.set_yticks(_logit(shares), names)
        else:
            self.ax_.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        add_legend(self.ax_, loc="upper left")


def _logit(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(p) - np.log1p(-p), -FARTHEST, FARTHEST))
