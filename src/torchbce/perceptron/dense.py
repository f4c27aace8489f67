"""What follows a dense layer's product: bias, activation and dropout, forward and backward."""

from __future__ import annotations

import numpy as np
from numba import uint32

from torchbce.jit.primitives import FLOAT32, spliced
from torchbce.perceptron.words import RELU, SILU, TANH

ZERO, ONE, MINUS_TWO = np.float32(0.0), np.float32(1.0), np.float32(-2.0)
exp = FLOAT32["exp"]


@spliced
def hashed(x):
    """Chris Wellons' lowbias32: every bit of the result depends on every bit of a counter."""
    x ^= x >> uint32(16)
    x = uint32(x * uint32(0x7FEB352D))
    x ^= x >> uint32(15)
    x = uint32(x * uint32(0x846CA68B))
    return x ^ (x >> uint32(16))


@spliced
def dropout_key(seed, step, layer):
    return hashed(uint32(hashed(uint32(step) ^ uint32(seed)) + uint32(layer) * uint32(0x9E3779B9)))


@spliced
def sigmoid(v):
    return ONE / (ONE + exp(-v))


@spliced
def activate(out, slopes, parameters, bias, rows, width, activation):
    """In place; `slopes` gets the derivative of each output by its input."""
    for i in range(rows):
        place = i * width
        if activation == SILU:
            for j in range(width):
                v = out[place + j] + parameters[bias + j]
                s = sigmoid(v)
                out[place + j] = v * s
                slopes[place + j] = s * (ONE + v * (ONE - s))
        elif activation == TANH:
            for j in range(width):
                v = out[place + j] + parameters[bias + j]
                e = exp(MINUS_TWO * abs(v))
                t = (ONE - e) / (ONE + e)
                out[place + j] = t if v >= ZERO else -t
                slopes[place + j] = ONE - t * t
        elif activation == RELU:
            for j in range(width):
                v = out[place + j] + parameters[bias + j]
                out[place + j] = ZERO if v <= ZERO else v  # NaN stays NaN
                slopes[place + j] = ZERO if v <= ZERO else ONE
        else:
            for j in range(width):
                out[place + j] += parameters[bias + j]
                slopes[place + j] = ONE


@spliced
def drop(out, slopes, count, key, below, kept_scale):
    for i in range(count):
        factor = ZERO if hashed(uint32(uint32(i) ^ key)) < below else kept_scale
        out[i] *= factor
        slopes[i] *= factor


@spliced
def add_columns(values, sums, place, rows, width):
    """The gradient of a bias."""
    for i in range(rows):
        for j in range(width):
            sums[place + j] += values[i * width + j]
