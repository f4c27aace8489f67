"""Compute the dense layers, forward and backward. Heads share them: each has its own signs of the inputs.

The first layer's weights are multiplied by the signs instead of the rows: one product with a layer as wide as all heads
together. After it, each pair of a row and a head is a row.
"""

from __future__ import annotations

import numpy as np
from numba import uint32

from torchbce.jit.primitives import float64_of, spliced
from torchbce.perceptron.arguments import OFFSET
from torchbce.perceptron.blas import product, product_by_transpose, product_of_transpose
from torchbce.perceptron.dense import activate, add_columns, drop, dropout_key
from torchbce.perceptron.pointers import to_floats


@spliced
def widen(a, net, memory):
    """Write the first layer's weights for each head."""
    parameters, wide = memory.parameters, memory.wide_weight
    weight, signs, outputs, inputs = net.dense[0], a[OFFSET.signs], net.widths[1], net.inputs
    for head in range(net.heads):
        for i in range(outputs):
            for j in range(inputs):
                wide[(head * outputs + i) * inputs + j] = (
                    parameters[weight + i * inputs + j] * parameters[signs + head * inputs + j]
                )


@spliced
def gradient_of_wide(a, net, memory):
    """Add the gradient of the first layer's weights and of the signs, from that of the wide layer."""
    parameters, gradient, wide = memory.parameters, memory.gradient, memory.wide_gradient
    weight, signs, outputs, inputs = net.dense[0], a[OFFSET.signs], net.widths[1], net.inputs
    for head in range(net.heads):
        for i in range(outputs):
            for j in range(inputs):
                grad = wide[(head * outputs + i) * inputs + j]
                gradient[weight + i * inputs + j] += grad * parameters[signs + head * inputs + j]
                gradient[signs + head * inputs + j] += grad * parameters[weight + i * inputs + j]


@spliced
def layers(a, net, memory, size, step, training):
    """Compute the layers from the encoded rows; return the address of the last one's outputs."""
    sgemm, heads = a[OFFSET.sgemm], net.heads
    threshold = uint32(a[OFFSET.drop_threshold])
    keep_scale = np.float32(float64_of(a[OFFSET.keep_scale]))
    source, items = a[OFFSET.encoded], size * heads
    for layer in range(net.layers):
        inputs, outputs = net.widths[layer], net.widths[layer + 1]
        weight = a[OFFSET.parameters] + 4 * net.dense[2 * layer]
        out = memory.outputs[layer]
        if layer == 0 and heads > 1:
            product_by_transpose(sgemm, size, heads * outputs, inputs, source, a[OFFSET.wide_weight], out)
        else:
            product_by_transpose(sgemm, items, outputs, inputs, source, weight, out)
        slopes = to_floats(memory.slopes[layer])
        bias = net.dense[2 * layer + 1]
        activate(to_floats(out), slopes, memory.parameters, bias, items, outputs, net.activations[layer])
        if training and a[OFFSET.drop_threshold] != 0:
            key = dropout_key(a[OFFSET.seed], step, layer)
            drop(to_floats(out), slopes, items * outputs, key, threshold, keep_scale)
        source = out
    return source


@spliced
def layers_backward(a, net, memory, size):
    """Compute the gradients of weights and encoded rows, from that of the last layer's products in `slopes`."""
    sgemm, heads, items = a[OFFSET.sgemm], net.heads, size * net.heads
    encoded_gradient = a[OFFSET.encoded_gradient]
    for above in range(net.layers):
        layer = net.layers - 1 - above
        inputs, outputs = net.widths[layer], net.widths[layer + 1]
        grad = memory.slopes[layer]
        weight, gradient = (
            a[OFFSET.parameters] + 4 * net.dense[2 * layer],
            a[OFFSET.gradient] + 4 * net.dense[2 * layer],
        )
        add_columns(to_floats(grad), memory.gradient, net.dense[2 * layer + 1], items, outputs)
        if layer > 0:
            product_of_transpose(sgemm, outputs, inputs, items, grad, memory.outputs[layer - 1], gradient)
            product(sgemm, items, inputs, outputs, grad, weight, a[OFFSET.scratch])
            scratch, slopes = to_floats(a[OFFSET.scratch]), to_floats(memory.slopes[layer - 1])
            for i in range(items * inputs):
                slopes[i] *= scratch[i]
        elif heads > 1:
            product_of_transpose(sgemm, heads * outputs, inputs, size, grad, a[OFFSET.encoded], a[OFFSET.wide_gradient])
            product(sgemm, size, inputs, heads * outputs, grad, a[OFFSET.wide_weight], encoded_gradient)
            gradient_of_wide(a, net, memory)
        else:
            product_of_transpose(sgemm, outputs, inputs, size, grad, a[OFFSET.encoded], gradient)
            product(sgemm, size, inputs, outputs, grad, weight, encoded_gradient)
