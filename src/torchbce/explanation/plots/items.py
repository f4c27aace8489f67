"""The items on the curve -log q: the article's table as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.common.visible import shown
from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.data.summarize import summary_of
from torchbce.explanation.plots.figure import BLUE, GREY, LITERAL, ORANGE, SHORT, add_legend, axes_or_new

LABELLED = 12


class ItemLossDisplay:
    """Each item at the probability q that was given to its target, and at what that costs, -log q.

    Attributes:
        probability, loss, row: arrays, one value per item shown.

    Example:
        >>> display = ItemLossDisplay.from_predictions([0.6, 0.2, 0.7], [1, 0, 1], from_logits=False)
        >>> display.loss.round(2).tolist()
        [0.51, 0.22, 0.36]
    """

    def __init__(self, probability: np.ndarray, loss: np.ndarray, row: np.ndarray) -> None:
        self.probability, self.loss, self.row = probability, loss, row

    @classmethod
    def from_explanation(cls, found: ExplanationRecord) -> ItemLossDisplay:
        """The items that an explanation shows; those with soft targets are not on the curve and are left out."""
        hard = [item for item in found.items if item.target in (0, 1)]
        probability = [item.probability if item.target == 1 else 1 - item.probability for item in hard]
        loss = [item.loss / item.weight if item.weight else 0.0 for item in hard]
        return cls(np.array(probability), np.array(loss), np.array([item.place or str(item.row) for item in hard]))

    @classmethod
    def from_predictions(
        cls, outputs: Any, targets: Any, *, from_logits: bool, top: int = 30, ax: Any = None
    ) -> ItemLossDisplay:
        """Draw the items, or those that cost most; see :func:`torchbce.explain`."""
        return cls.from_explanation(summary_of(outputs, targets, from_logits=from_logits, top=top)).plot(ax)

    def plot(self, ax: Any = None) -> ItemLossDisplay:
        """Draw; sets `ax_` and `figure_`."""
        self.ax_ = axes_or_new(ax)
        self.figure_ = self.ax_.figure
        q = np.linspace(max(1e-6, min(0.01, self.probability.min(initial=1.0))), 1, 500)
        self.ax_.plot(q, -np.log(q), color=GREY, linewidth=1, label="-log q")
        self.ax_.vlines(self.probability, 0, self.loss, color=BLUE, linewidth=1, alpha=0.4)
        self.ax_.plot(self.probability, self.loss, "o", color=BLUE, label="items")
        if len(self.row):
            self.ax_.axhline(self.loss.mean(), color=ORANGE, linestyle="--", label=f"their mean {self.loss.mean():.4f}")
        taken: list[tuple[float, float]] = []
        for q_item, loss, row in list(zip(self.probability, self.loss, self.row, strict=True))[:LABELLED]:
            at = q_item / 1.02, loss / max(self.loss.max(), 1e-9)
            if any(abs(at[0] - x) < 0.06 and abs(at[1] - y) < 0.05 for x, y in taken):
                continue  # a label on another cannot be read
            taken.append(at)
            name = shown(row, SHORT)
            self.ax_.annotate(name, (q_item, loss), (5, 5), textcoords="offset points", fontsize=8, **LITERAL)
        self.ax_.set(xlabel="q, the probability given to what happened", ylabel="loss, nats", xlim=(0, 1.02))
        self.ax_.set_ylim(bottom=0)
        add_legend(self.ax_)
        return self
