"""torch's own names for these losses, computed by ours: existing code gains without an edit."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType, TracebackType
from typing import Any

import torch

from torchbce.losses.bce import binary_cross_entropy
from torchbce.losses.bce_with_logits import binary_cross_entropy_with_logits

__all__ = ["Patch", "patch"]


class Patch:
    """A patch in force. `undo()`, or the end of a `with` block, puts back exactly what was there."""

    def __init__(self, changed: list[tuple[ModuleType, str, Any]]) -> None:
        self._changed = changed

    def undo(self) -> None:
        """Put torch's functions back; a second time does nothing."""
        while self._changed:
            module, name, original = self._changed.pop()
            setattr(module, name, original)

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def patch() -> Patch:
    """Run every call of torch's binary cross-entropy in this process on torchbce, until undone.

    ``torch.nn.functional.binary_cross_entropy`` and ``..._with_logits`` are replaced where they are defined and in
    every loaded module that imported them by name; ``torch.nn.BCELoss`` and ``BCEWithLogitsLoss`` call them. So a
    script, timm or Lightning gains without an edit. Modules loaded later find ours in ``torch.nn.functional``.

    Returns:
        A :class:`Patch`, to call ``undo()`` on or to use in ``with torchbce.patch():``.

    Example:
        >>> with patch():
        ...     torch.nn.BCEWithLogitsLoss()(torch.tensor([-15.0]), torch.tensor([0.0]))
        tensor(3.0590e-07)
        >>> torch.nn.BCEWithLogitsLoss()(torch.tensor([-15.0]), torch.tensor([0.0]))
        tensor(0.)
    """
    functions: tuple[Any, ...] = binary_cross_entropy, binary_cross_entropy_with_logits
    theirs = [getattr(torch.nn.functional, function.__name__) for function in functions]
    ours = {their: our for their, our in zip(theirs, functions, strict=True) if their is not our}
    changed: list[tuple[ModuleType, str, Any]] = []
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if type(value) is FunctionType and value in ours:
                changed.append((module, name, value))
                setattr(module, name, ours[value])
    return Patch(changed)
