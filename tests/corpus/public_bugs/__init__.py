"""Programs from public threads, by topic."""

from . import (
    activations,
    epochs,
    gradients,
    later,
    loops,
    losses,
    predictions,
    second,
    shapes,
    targets,
    training_steps,
)
from .registry import BUGS, MENDED, Program

__all__ = [
    "BUGS",
    "MENDED",
    "Program",
    "activations",
    "epochs",
    "gradients",
    "later",
    "loops",
    "losses",
    "predictions",
    "second",
    "shapes",
    "targets",
    "training_steps",
]
