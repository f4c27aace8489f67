"""Compute logits, the loss and its slope by its formula: the end of the forward pass, the start of the backward pass.

A row has one target and as many logits as there are heads, each with its own loss; the loss of a row is their mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchbce.formula.loss import Loss
from torchbce.jit.primitives import formula, spliced
from torchbce.jit.to_llvm import inlined
from torchbce.perceptron.arguments import OFFSET
from torchbce.perceptron.dense import sigmoid
from torchbce.perceptron.inputs import direct_logit, gradient_of_direct, row_at

ZERO, ONE = np.float32(0.0), np.float32(1.0)


@spliced
def write_outputs(a, rows, net, memory, last, out, first, size):
    """Write one logit per row and head, or its sigmoid. Without layers a head has the encoded row itself."""
    parameters, heads, width = memory.parameters, net.heads, net.widths[net.layers]
    weight, bias, as_probability = a[OFFSET.output_weight], a[OFFSET.output_bias], a[OFFSET.sigmoid] != 0
    for i in range(size):
        direct = direct_logit(a, rows, net, parameters, row_at(rows, first + i))
        for head in range(heads):
            offset = (i * heads + head) * width if net.layers > 0 else i * width
            total = ZERO
            for j in range(width):
                total += last[offset + j] * parameters[weight + head * width + j]
            logit = direct + parameters[bias + head] + total
            out[i * heads + head] = sigmoid(logit) if as_probability else logit


@spliced
def weight_of(rows, first, size):
    """Return the sum of the weights of a batch."""
    total = 0.0
    for i in range(size):
        total += rows.weight[row_at(rows, first + i)] if rows.weighted else 1.0
    return total


def slope_writer(loss: Loss) -> Any:
    """Compile `losses_and_slopes`, which returns the sum of the losses and writes the slope of their mean to `out`."""
    value, derivative = formula(loss.value, False), formula(loss.dx, False)

    @inlined
    def losses_and_slopes(a, rows, net, out, first, size):
        heads, as_probability = net.heads, a[OFFSET.sigmoid] != 0
        share = ONE / np.float32((a[OFFSET.whole_batch] if a[OFFSET.whole_batch] > 0 else size) * heads)
        total = 0.0
        for i in range(size):
            row = row_at(rows, first + i)
            target = rows.target[row]
            weight = rows.weight[row] if rows.weighted else ONE
            of_row = 0.0
            for head in range(heads):
                output = out[i * heads + head]
                of_row += value(output, target)
                slope = derivative(output, target)
                if as_probability:
                    slope *= output * (ONE - output)
                out[i * heads + head] = slope * (weight * share)
            total += of_row * weight / heads
        return total

    return losses_and_slopes


@spliced
def output_backward(a, rows, net, memory, last, slopes, to_layer, first, size):
    """Add the gradient of the output layer; turn `to_layer`, the last slopes, into the gradient of the last product."""
    parameters, gradient, heads, width = memory.parameters, memory.gradient, net.heads, net.widths[net.layers]
    weight, bias = a[OFFSET.output_weight], a[OFFSET.output_bias]
    for i in range(size):
        of_row = ZERO
        for head in range(heads):
            grad = slopes[i * heads + head]
            of_row += grad
            gradient[bias + head] += grad
            offset = (i * heads + head) * width if net.layers > 0 else i * width
            for j in range(width):
                gradient[weight + head * width + j] += grad * last[offset + j]
            if net.layers > 0:
                for j in range(width):
                    to_layer[offset + j] *= grad * parameters[weight + head * width + j]
            else:
                for j in range(width):
                    to_layer[offset + j] = grad * parameters[weight + head * width + j]
        gradient_of_direct(a, rows, net, gradient, row_at(rows, first + i), of_row)
