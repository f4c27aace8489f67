"""torch's SGD and Adam, and AdamW where weights decay, over all parameters at once."""

from __future__ import annotations

import math

import numpy as np

from torchbce.jit.primitives import spliced

ONE = np.float32(1.0)


@spliced
def sgd(parameters, gradient, count, rate, decay):
    """Update p -= rate (g + decay p)"""
    step, rest = np.float32(rate), np.float32(decay)
    for i in range(count):
        parameters[i] -= step * (gradient[i] + rest * parameters[i])


@spliced
def adamw(parameters, gradient, first, second, start, stop, rate, keep, beta1, beta2, epsilon, steps):
    """Update p = keep p - rate m / (sqrt(v) + epsilon), with the moments m and v corrected for their start at 0."""
    b1, b2, rest1, rest2 = np.float32(beta1), np.float32(beta2), np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    step = np.float32(rate / (1.0 - beta1**steps))
    correction = np.float32(1.0 / math.sqrt(1.0 - beta2**steps))
    tiny, decayed = np.float32(epsilon), np.float32(keep)
    for i in range(start, stop):
        g = gradient[i]
        m = b1 * first[i] + rest1 * g
        v = b2 * second[i] + rest2 * g * g
        first[i], second[i] = m, v
        parameters[i] = decayed * parameters[i] - step * m / (math.sqrt(v) * correction + tiny)
