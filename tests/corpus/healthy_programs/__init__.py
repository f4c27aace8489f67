"""Programs on which no FAIL and no WARN is right, one module per topic."""

from . import (
    data,
    images,
    inputs,
    later,
    layers,
    logs,
    loops,
    losses,
    masks,
    models,
    predictions,
    schedules,
    second,
    sequences,
    steps,
)
from .registry import HEALTHY, Program

__all__ = [
    "HEALTHY",
    "Program",
    "data",
    "images",
    "inputs",
    "later",
    "layers",
    "logs",
    "loops",
    "losses",
    "masks",
    "models",
    "predictions",
    "schedules",
    "second",
    "sequences",
    "steps",
]
