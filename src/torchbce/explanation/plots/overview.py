"""An explanation as one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchbce.explanation.data.record import ExplanationRecord
from torchbce.explanation.plots.histogram import LossHistogramDisplay
from torchbce.explanation.plots.items import LABELLED, ItemLossDisplay
from torchbce.explanation.plots.reliability import ReliabilityDisplay

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def explanation_figure(record: ExplanationRecord) -> Figure:
    """Draw few items on the curve -log q, or many as a reliability diagram beside the histogram of their losses."""
    from matplotlib.figure import Figure

    if record.count <= LABELLED:
        return ItemLossDisplay.from_explanation(record).plot().figure_  # type: ignore[no-any-return]
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    if record.reliability is None:
        ItemLossDisplay.from_explanation(record).plot(left)
    else:
        ReliabilityDisplay.from_explanation(record).plot(left)
    LossHistogramDisplay.from_explanation(record).plot(right)
    return figure
