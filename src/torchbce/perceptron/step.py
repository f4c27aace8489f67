"""The compiled loop over batches: forward, and in training backward and an update."""

from __future__ import annotations

import math

import numpy as np

from torchbce.formula.loss import Loss
from torchbce.jit.primitives import float64_of, spliced
from torchbce.jit.to_llvm import to_llvm
from torchbce.perceptron.arguments import ADAM, BIN_FLOATS, OFFSET, SGD
from torchbce.perceptron.bin_table import collect_gradient, fill_table
from torchbce.perceptron.hidden import layers, layers_backward, widen
from torchbce.perceptron.inputs import encode, gradient_of_encoding
from torchbce.perceptron.micro_batches import add_micro_batch, sum_micro_batches
from torchbce.perceptron.optimizers import adamw, sgd
from torchbce.perceptron.output import output_backward, slope_writer, weight_of, write_outputs
from torchbce.perceptron.pointers import (
    buffers_of,
    network_of,
    rows_of,
    to_doubles,
    to_floats,
    to_integers,
)

ZERO = np.float32(0.0)
# Sums over a batch may be taken in the order that is fast; it is chosen when this is compiled, so a seed gives the same
# bits each time. Nothing assumes away NaN: a loss that is not finite is to be seen.
FAST = {"contract", "reassoc", "nsz"}


@spliced
def clear(values, count):
    for i in range(count):
        values[i] = ZERO


@spliced
def update(a, memory, step, rate):
    decay = float64_of(a[OFFSET.decay])
    if a[OFFSET.optimizer] == SGD:
        sgd(memory.parameters, memory.gradient, a[OFFSET.parameter_count], rate, decay)
    elif a[OFFSET.optimizer] == ADAM:
        blocks = to_integers(a[OFFSET.blocks])
        first, second = to_floats(a[OFFSET.first_moment]), to_floats(a[OFFSET.second_moment])
        beta1, beta2, epsilon = float64_of(a[OFFSET.beta1]), float64_of(a[OFFSET.beta2]), float64_of(a[OFFSET.epsilon])
        for block in range(a[OFFSET.block_count]):
            start, size, decays = blocks[3 * block], blocks[3 * block + 1], blocks[3 * block + 2]
            keep = 1.0 - rate * decay if decays != 0 else 1.0
            adamw(
                memory.parameters,
                memory.gradient,
                first,
                second,
                start,
                start + size,
                rate,
                keep,
                beta1,
                beta2,
                epsilon,
                float(step + 1),
            )


def compile_to_llvm(loss: Loss) -> str:
    """Compile the loop for a loss to LLVM's language; see `numba_cpu.compile`."""
    losses_and_slopes = slope_writer(loss)

    def run(a):
        rows, net, memory = rows_of(a), network_of(a), buffers_of(a)
        training, step, micro_batches = a[OFFSET.training] != 0, a[OFFSET.step], a[OFFSET.whole_batch] > 0
        rates, loss = to_doubles(a[OFFSET.rates]), to_doubles(a[OFFSET.loss])
        first, stop, micro_batch = 0, a[OFFSET.rows], 0
        if training and stop == 0:  # `gradient` is computed already
            update(a, memory, step, rates[0])
        while first < stop:
            size = min(a[OFFSET.batch], stop - first)
            if (training and not micro_batches) or first == 0:  # the parameters are new
                fill_table(
                    memory.table, memory.parameters, a[OFFSET.bin_weight], a[OFFSET.bin_bias], net.binned, net.bins
                )
                if net.heads > 1:
                    widen(a, net, memory)
            encode(rows, net, memory, first, size)
            last = to_floats(layers(a, net, memory, size, step, training))
            logits = to_floats(a[OFFSET.logits] + (0 if training else 4 * first * net.heads))
            write_outputs(a, rows, net, memory, last, logits, first, size)
            if training:
                of_batch = losses_and_slopes(a, rows, net, logits, first, size)
                if a[OFFSET.skip] != 0 and not math.isfinite(of_batch):
                    loss[1] += 1.0
                    loss[2] += weight_of(rows, first, size)
                    step += 1
                    first += size
                    continue
                loss[micro_batch] += of_batch
                clear(memory.gradient, a[OFFSET.parameter_count])
                clear(memory.table_gradient, net.binned * net.bins * BIN_FLOATS)
                at_last = to_floats(memory.slopes[net.layers - 1]) if net.layers > 0 else memory.encoded_gradient
                output_backward(a, rows, net, memory, last, logits, at_last, first, size)
                layers_backward(a, net, memory, size)
                gradient_of_encoding(rows, net, memory, first, size)
                collect_gradient(
                    memory.table_gradient,
                    memory.gradient,
                    a[OFFSET.bin_weight],
                    a[OFFSET.bin_bias],
                    net.binned,
                    net.bins,
                )
                if micro_batches:
                    micro_batch += 1
                    add_micro_batch(memory.partials, memory.gradient, a[OFFSET.parameter_count], micro_batch)
                else:
                    update(a, memory, step, rates[step - a[OFFSET.step]])
                step += 1
            first += size
        if micro_batches:
            sum_micro_batches(memory.partials, memory.gradient, a[OFFSET.parameter_count], micro_batch)

    return to_llvm(run, FAST)
