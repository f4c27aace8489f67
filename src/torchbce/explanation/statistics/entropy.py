"""What knowing nothing but a base rate costs, and how far below that a loss is."""

from __future__ import annotations

import math


def cross_entropy(share: float, answer: float) -> float:
    """Return -(share log answer + (1 - share) log(1 - answer)), the mean loss of one constant answer, in nats.

    With answer = share it is the entropy of the base rate, the least that any constant answer costs.
    """
    cost = 0.0
    for part, probability in ((share, answer), (1 - share, 1 - answer)):
        if part > 0:
            cost += part * (-math.log(probability) if probability > 0 else math.inf)
    return cost


def percent_below(loss: float, baseline: float) -> str:
    """Return '47.9 % below baseline', or above it, or that there is no baseline."""
    if not baseline > 0:
        return "no baseline (one class only)"
    share = 100 * (1 - loss / baseline)
    return f"{share:.1f} % below baseline" if share >= 0 else f"{-share:.1f} % above baseline"
