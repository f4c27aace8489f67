"""What an epoch's loss is, for TensorBoard: scalars, and the pictures of an explanation."""

from __future__ import annotations

from typing import Any

from torchbce.explanation.plots import LossHistogramDisplay, ReliabilityDisplay
from torchbce.explanation.plots.figure import with_canvas
from torchbce.explanation.result import Explanation
from torchbce.monitor.epoch_bce import EpochBCE

__all__ = ["write_explanation", "write_meter"]


def write_meter(writer: Any, meter: EpochBCE, step: int, name: str = "bce") -> None:
    """Write the mean in nats and, where targets were seen, its share of the baseline; `writer` is a `SummaryWriter`."""
    writer.add_scalar(f"{name}/nats", meter.compute(), step)
    if meter.baseline > 0:
        writer.add_scalar(f"{name}/of_baseline", meter.compute() / meter.baseline, step)


def write_explanation(writer: Any, found: Explanation, step: int, name: str = "bce") -> None:
    """Write the parts of the loss as scalars, the reliability diagram, the histogram of losses, and the text."""
    writer.add_scalar(f"{name}/nats", found.mean, step)
    writer.add_scalar(f"{name}/of_baseline", found.normalized_entropy, step)
    if found.decomposition is not None:
        writer.add_scalar(f"{name}/miscalibration", found.decomposition.miscalibration, step)
        writer.add_scalar(f"{name}/discrimination", found.decomposition.discrimination, step)
    if found.reliability is not None:
        diagram = ReliabilityDisplay.from_explanation(found).plot()
        writer.add_figure(f"{name}/reliability", with_canvas(diagram.figure_), step)
    histogram = LossHistogramDisplay.from_explanation(found).plot()
    writer.add_figure(f"{name}/losses", with_canvas(histogram.figure_), step)
    writer.add_text(f"{name}/meaning", found.to_markdown(), step)
