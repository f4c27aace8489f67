"""Binary cross-entropy for PyTorch that you can see through.

The same results as torch's own losses, from formulas that can be read; `explain` for what the number means; `fit` and
the command `torchbce` for training with a loss that is a true mean over items.

The public names stand in `__init__.pyi`, and are imported on use: a training script that changes one import pays for
the losses only.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
