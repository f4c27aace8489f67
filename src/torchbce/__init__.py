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
    "BCELoss",
    "BCEWithLogitsLoss",
    "Engine",
    "Epoch",
    "EpochBCE",
    "Explanation",
    "History",
    "InputError",
    "OutputError",
    "Patch",
    "Report",
    "RunFolderError",
    "check",
    "check_log",
    "check_loss",
    "check_predictions",
    "engine_for",
    "explain",
    "fit",
    "functional",
    "patch",
]

# Imported on use: a training script that changes one import pays for the losses only.
_LATER = {
    "Epoch": "trainer.history",
    "EpochBCE": "lens.meter",
    "Explanation": "lens.explain",
    "History": "trainer.history",
    "Report": "lens.check.findings",
    "check": "lens.check.model",
    "check_log": "lens.check.log",
    "check_loss": "lens.check.loss",
    "check_predictions": "lens.check.predictions",
    "explain": "lens.explain",
    "fit": "trainer.loop",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'torchbce' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"torchbce.{_LATER[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
