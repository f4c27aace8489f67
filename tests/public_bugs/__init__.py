"""Programs from public threads, by topic."""

from . import activations, epochs, gradients, loops, losses, predictions, shapes, targets, training_steps
from .registry import BUGS, MENDED, Program

__all__ = [
    "BUGS",
    "MENDED",
    "Program",
    "activations",
    "epochs",
    "gradients",
    "loops",
    "losses",
    "predictions",
    "shapes",
    "targets",
    "training_steps",
]
