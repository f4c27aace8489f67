"""Pictures, by matplotlib: the loss over the epochs, and the reliability of predictions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torchbce.lens.calibration import reliability_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2f6fb5", "#d9730d", "#777777"


def loss_curve(
    epochs: list[int], curves: dict[str, list[float]], levels: dict[str, float], best: int | None = None
) -> Figure:
    """The loss over the epochs; the numbers to beat are dashed lines, the best epoch a dot on the last curve."""
    figure, axes = _figure(6.4, 3.6)
    for (name, values), colour in zip(curves.items(), (BLUE, ORANGE), strict=False):
        axes.plot(epochs, values, color=colour, label=name, marker="" if len(epochs) > 1 else "o")
    for (name, level), style in zip(levels.items(), ("--", ":"), strict=False):
        axes.axhline(level, color=GREY, linestyle=style, linewidth=1, label=f"{name} {level:.4f}")
    if best is not None:
        values = list(curves.values())[-1]
        axes.plot([best], [values[epochs.index(best)]], "o", color=ORANGE, label=f"best epoch {best}")
    axes.set(xlabel="epoch", ylabel="BCE, nats per item")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return figure


def reliability_diagram(logits: Tensor, target: Tensor) -> Figure:
    """Predicted against observed probability; a point's area is its number of items, the diagonal is calibrated."""
    figure, axes = _figure(6.4, 5.6)
    probabilities = torch.sigmoid(logits.double()).numpy()
    curve = reliability_curve(probabilities, target.numpy())
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="calibrated")
    axes.plot(curve.predicted, curve.observed, color=BLUE, linewidth=1)
    area = 12 + 250 * curve.count / curve.count.sum()
    axes.scatter(
        curve.predicted, curve.observed, s=area, color=BLUE, alpha=0.7, clip_on=False, label="items, pooled (isotonic)"
    )
    share, edges = np.histogram(probabilities, bins=np.linspace(0, 1, 41))
    axes.bar(
        edges[:-1],
        0.15 * share / share.max(),
        width=0.025,
        align="edge",
        color=GREY,
        alpha=0.35,
        label="how often predicted",
    )
    axes.set(xlabel="predicted probability", ylabel="observed share of ones", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as an SVG element, the same bytes for the same picture."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "torchbce", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
