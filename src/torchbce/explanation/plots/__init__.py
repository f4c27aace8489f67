"""Pictures in scikit-learn's manner: `from_predictions(...)`, arrays as attributes, `plot(ax=None)`. By matplotlib."""

from torchbce.explanation.plots.effect import EffectDisplay
from torchbce.explanation.plots.epochs import EpochsDisplay, LossCurveDisplay
from torchbce.explanation.plots.histogram import LossHistogramDisplay
from torchbce.explanation.plots.importance import ImportanceDisplay
from torchbce.explanation.plots.items import ItemLossDisplay
from torchbce.explanation.plots.ledger import LedgerDisplay
from torchbce.explanation.plots.reliability import ReliabilityDisplay

__all__ = [
    "EffectDisplay",
    "EpochsDisplay",
    "ImportanceDisplay",
    "ItemLossDisplay",
    "LedgerDisplay",
    "LossCurveDisplay",
    "LossHistogramDisplay",
    "ReliabilityDisplay",
]
