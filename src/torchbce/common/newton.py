"""Minimize a convex function of a few parameters by Newton's method, with shorter steps where a full one goes too far.

Reference: Nocedal and Wright, Numerical Optimization, 2006, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEPS = 100  # a handful is enough where there is a minimum
PRECISION = 1e-9  # of a parameter


def newton(
    value: Callable[[np.ndarray], float],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    *,
    least_gain: float = -1.0,
) -> np.ndarray | None:
    """Return the parameters of the least value; None where the steps do not end.

    derivatives: the gradient and the Hessian. least_gain: a step that gains no more, relatively, is the last: the next
    one would gain its square.

    Raises:
        LinAlgError: a Hessian is singular.
    """
    parameters, least = start, value(start)
    for _ in range(STEPS):
        step = np.linalg.solve(*reversed(derivatives(parameters)))
        while (after := value(parameters - step)) > least and np.abs(step).max() > PRECISION:
            step = step / 2
        parameters, before, least = parameters - step, least, min(after, least)
        if np.abs(step).max() <= PRECISION or before - least <= least_gain * abs(least):
            return parameters
    return None
