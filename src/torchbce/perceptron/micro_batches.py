"""Sum the gradient of a batch over micro-batches, so that threads and processes share it without changing a bit.

A micro-batch is a fixed number of a batch's rows. The gradients of micro-batches are added in a binary tree, so floats
are added in the same order whichever process has which micro-batches. A call works on a subtree. Micro-batches are
counted from 1: after number k, as many subtrees are complete as k has zeros at its end.
"""

from __future__ import annotations

from torchbce.jit.primitives import spliced


@spliced
def add_micro_batch(partials, gradient, count, micro_batch):
    """Add the gradient of a micro-batch; the sum of a subtree of 2^level of them lies at `level` of `partials`."""
    level, rest = 0, micro_batch
    while rest & 1 == 0:
        for i in range(count):
            gradient[i] = partials[level * count + i] + gradient[i]
        level += 1
        rest >>= 1
    for i in range(count):
        partials[level * count + i] = gradient[i]


@spliced
def sum_micro_batches(partials, gradient, count, micro_batches):
    """Sum all micro-batches; where their number is no power of two, the subtrees left over are added from the right."""
    level, rest, started = 0, micro_batches, False
    while rest > 0:
        if rest & 1 == 1:
            for i in range(count):
                subtree = partials[level * count + i]
                gradient[i] = subtree + gradient[i] if started else subtree
            started = True
        level += 1
        rest >>= 1
