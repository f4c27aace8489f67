"""Binary cross-entropy for PyTorch that you can see through.

The same results as torch's own losses, from formulas that can be read; `explain` for what the number means; `fit` and
the command `torchbce` for training with a loss that is a true mean over items.

The public names stand in `__init__.pyi`, and are imported on use: a training script that changes one import pays for
the losses only.
"""

from typing import Any

import lazy_loader

from torchbce.common.extras import how_to_install

__version__ = "0.1.0"
_find, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except ModuleNotFoundError as error:
        message = how_to_install(f"torchbce.{name}", error)
        if message is None:
            raise
        raise ModuleNotFoundError(message, name=error.name) from error


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
