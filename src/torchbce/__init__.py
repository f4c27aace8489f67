"""Binary cross-entropy for PyTorch that you can see through.

The same results as torch's own losses, from formulas that can be read; `explain` for what the number means; `fit` and
the command `torchbce` for training with a loss that is a true mean over items.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from torchbce import functional
from torchbce.errors import InputError, OutputError, RunFolderError
from torchbce.kernels.choice import Engine, engine_for
from torchbce.losses import BCELoss, BCEWithLogitsLoss
from torchbce.patching import Patch, patch

if TYPE_CHECKING:
    from torchbce.denominator import global_denominator
    from torchbce.family.asymmetric import asymmetric_loss, asymmetric_loss_with_logits
    from torchbce.family.balanced import (
        class_balanced_loss_with_logits,
        distribution_balanced_loss_with_logits,
        logit_adjusted_loss_with_logits,
    )
    from torchbce.family.counts import class_weight_from, pos_weight_from, prior_bias
    from torchbce.family.focal import (
        focal_loss,
        focal_loss_with_logits,
        poly1_loss,
        poly1_loss_with_logits,
        quality_focal_loss,
        quality_focal_loss_with_logits,
    )
    from torchbce.family.modules import (
        AsymmetricLoss,
        AsymmetricWithLogitsLoss,
        ClassBalancedLoss,
        DistributionBalancedLoss,
        FocalLoss,
        FocalWithLogitsLoss,
        LogitAdjustedLoss,
        Poly1Loss,
        Poly1WithLogitsLoss,
        QualityFocalLoss,
        QualityFocalWithLogitsLoss,
    )
    from torchbce.fused.loss import fused_loss
    from torchbce.fused.verify import verify
    from torchbce.lens.check.findings import Report
    from torchbce.lens.check.log import check_log
    from torchbce.lens.check.loss import check_loss
    from torchbce.lens.check.model import check
    from torchbce.lens.check.predictions import check_predictions
    from torchbce.lens.explain import Explanation, explain
    from torchbce.lens.meter import EpochBCE
    from torchbce.trainer.history import Epoch, History
    from torchbce.trainer.loop import fit

__version__ = "0.1.0"

__all__ = [
    "AsymmetricLoss",
    "AsymmetricWithLogitsLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "ClassBalancedLoss",
    "DistributionBalancedLoss",
    "Engine",
    "Epoch",
    "EpochBCE",
    "Explanation",
    "FocalLoss",
    "FocalWithLogitsLoss",
    "History",
    "InputError",
    "LogitAdjustedLoss",
    "OutputError",
    "Patch",
    "Poly1Loss",
    "Poly1WithLogitsLoss",
    "QualityFocalLoss",
    "QualityFocalWithLogitsLoss",
    "Report",
    "RunFolderError",
    "asymmetric_loss",
    "asymmetric_loss_with_logits",
    "check",
    "check_log",
    "check_loss",
    "check_predictions",
    "class_balanced_loss_with_logits",
    "class_weight_from",
    "distribution_balanced_loss_with_logits",
    "engine_for",
    "explain",
    "fit",
    "focal_loss",
    "focal_loss_with_logits",
    "functional",
    "fused_loss",
    "global_denominator",
    "logit_adjusted_loss_with_logits",
    "patch",
    "poly1_loss",
    "poly1_loss_with_logits",
    "pos_weight_from",
    "prior_bias",
    "quality_focal_loss",
    "quality_focal_loss_with_logits",
    "verify",
]

# Imported on use: a training script that changes one import pays for the losses only.
_LATER = {
    "AsymmetricLoss": "family.modules",
    "AsymmetricWithLogitsLoss": "family.modules",
    "ClassBalancedLoss": "family.modules",
    "DistributionBalancedLoss": "family.modules",
    "Epoch": "trainer.history",
    "EpochBCE": "lens.meter",
    "Explanation": "lens.explain",
    "FocalLoss": "family.modules",
    "FocalWithLogitsLoss": "family.modules",
    "History": "trainer.history",
    "LogitAdjustedLoss": "family.modules",
    "Poly1Loss": "family.modules",
    "Poly1WithLogitsLoss": "family.modules",
    "QualityFocalLoss": "family.modules",
    "QualityFocalWithLogitsLoss": "family.modules",
    "Report": "lens.check.findings",
    "asymmetric_loss": "family.asymmetric",
    "asymmetric_loss_with_logits": "family.asymmetric",
    "check": "lens.check.model",
    "check_log": "lens.check.log",
    "check_loss": "lens.check.loss",
    "check_predictions": "lens.check.predictions",
    "class_balanced_loss_with_logits": "family.balanced",
    "class_weight_from": "family.counts",
    "distribution_balanced_loss_with_logits": "family.balanced",
    "explain": "lens.explain",
    "fit": "trainer.loop",
    "focal_loss": "family.focal",
    "focal_loss_with_logits": "family.focal",
    "fused_loss": "fused.loss",
    "global_denominator": "denominator",
    "logit_adjusted_loss_with_logits": "family.balanced",
    "poly1_loss": "family.focal",
    "poly1_loss_with_logits": "family.focal",
    "pos_weight_from": "family.counts",
    "prior_bias": "family.counts",
    "quality_focal_loss": "family.focal",
    "quality_focal_loss_with_logits": "family.focal",
    "verify": "fused.verify",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'torchbce' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"torchbce.{_LATER[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
