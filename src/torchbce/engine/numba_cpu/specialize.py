"""Formulas as compiled functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from torchbce.engine.numba_cpu.primitives import FLOAT32, FLOAT64, inlined
from torchbce.formula.binding import bind


@functools.cache
def formula(of: Callable[..., Any], wide: bool) -> Any:
    """A formula as a compiled function."""
    return bind(of, FLOAT64 if wide else FLOAT32, inlined, np.float64 if wide else np.float32)
