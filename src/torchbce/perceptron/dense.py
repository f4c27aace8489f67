"""Apply bias, activation and dropout after a dense layer's product, forward and backward."""

from __future__ import annotations

import numpy as np
from numba import uint32

from torchbce.jit.primitives import FLOAT32, spliced
from torchbce.perceptron.arguments import RELU, SILU, TANH

ZERO, ONE, MINUS_TWO = np.float32(0.0), np.float32(1.0), np.float32(-2.0)
exp = FLOAT32["exp"]


@spliced
def hashed(x):
    """Hash a counter by Chris Wellons' lowbias32: every bit of the result depends on every bit of it."""
    x ^= x >> uint32(16)
    x = uint32(x * uint32(0x7FEB352D))
    x ^= x >> uint32(15)
    x = uint32(x * uint32(0x846CA68B))
    return x ^ (x >> uint32(16))


@spliced
def dropout_key(seed, step, layer):
    """Return the key of a layer's dropout in a step."""
    return hashed(uint32(hashed(uint32(step) ^ uint32(seed)) + uint32(layer) * uint32(0x9E3779B9)))


@spliced
def sigmoid(v):
    return ONE / (ONE + exp(-v))


@spliced
def activate(out, slopes, parameters, bias, rows, width, activation):
    """Add the bias and apply the activation in place; write the derivative of each output by its input to `slopes`."""
    for i in range(rows):
        offset = i * width
        if activation == SILU:
            for j in range(width):
                v = out[offset + j] + parameters[bias + j]
                s = sigmoid(v)
                out[offset + j] = v * s
                slopes[offset + j] = s * (ONE + v * (ONE - s))
        elif activation == TANH:
            for j in range(width):
                v = out[offset + j] + parameters[bias + j]
                e = exp(MINUS_TWO * abs(v))
                t = (ONE - e) / (ONE + e)
                out[offset + j] = t if v >= ZERO else -t
                slopes[offset + j] = ONE - t * t
        elif activation == RELU:
            for j in range(width):
                v = out[offset + j] + parameters[bias + j]
                out[offset + j] = ZERO if v <= ZERO else v  # NaN stays NaN
                slopes[offset + j] = ZERO if v <= ZERO else ONE
        else:
            for j in range(width):
                out[offset + j] += parameters[bias + j]
                slopes[offset + j] = ONE


@spliced
def drop(out, slopes, count, key, threshold, keep_scale):
    """Set outputs and slopes to 0 by the dropout of a key, and scale the others."""
    for i in range(count):
        factor = ZERO if hashed(uint32(uint32(i) ^ key)) < threshold else keep_scale
        out[i] *= factor
        slopes[i] *= factor


@spliced
def add_columns(values, sums, offset, rows, width):
    """Add the gradient of a bias."""
    for i in range(rows):
        for j in range(width):
            sums[offset + j] += values[i * width + j]
