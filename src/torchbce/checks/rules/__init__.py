"""The rules, a file for each topic: importing the folder fills the catalogue."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torchbce.checks.catalogue.finding import Finding, Rule
from torchbce.checks.catalogue.registry import CHECKS, RULES, Target
from torchbce.checks.rules import (  # noqa: F401 - each declares its rules
    activations,
    base_rate,
    class_weight,
    frozen,
    gradients,
    input_values,
    inputs,
    layout,
    learning_curve,
    loss_function,
    loss_in_batch,
    loss_value,
    optimizer_settings,
    overlap,
    predictions,
    scale,
    shapes,
    start,
    step_loss,
    step_order,
    targets,
    training_step,
)


@functools.cache
def catalogue() -> dict[str, Rule]:
    """Return all rules by code."""
    return dict(sorted(RULES.items()))


@functools.cache
def rules_for(target: Target) -> dict[str, Callable[[Any], Finding]]:
    """Return the functions that check a model, a loss, predictions or a log, by code."""
    return dict(sorted(CHECKS[target].items()))
