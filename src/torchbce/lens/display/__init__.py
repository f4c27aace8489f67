"""Pictures in scikit-learn's manner: `from_predictions(...)`, arrays as attributes, `plot(ax=None)`. By matplotlib."""

from torchbce.lens.display.epochs import EpochsDisplay, LossCurveDisplay
from torchbce.lens.display.histogram import LossHistogramDisplay
from torchbce.lens.display.items import ItemLossDisplay
from torchbce.lens.display.reliability import ReliabilityDisplay

__all__ = ["EpochsDisplay", "ItemLossDisplay", "LossCurveDisplay", "LossHistogramDisplay", "ReliabilityDisplay"]
