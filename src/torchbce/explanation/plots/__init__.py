"""Pictures in scikit-learn's manner: `from_predictions(...)`, arrays as attributes, `plot(ax=None)`. By matplotlib."""

from torchbce.explanation.plots.epochs import EpochsDisplay, LossCurveDisplay
from torchbce.explanation.plots.histogram import LossHistogramDisplay
from torchbce.explanation.plots.items import ItemLossDisplay
from torchbce.explanation.plots.reliability import ReliabilityDisplay

__all__ = ["EpochsDisplay", "ItemLossDisplay", "LossCurveDisplay", "LossHistogramDisplay", "ReliabilityDisplay"]
