"""The gradient of a batch as a sum over lanes, so that threads and processes can share a batch without changing a bit.

A lane is a fixed number of a batch's rows. Its gradient is one sum; the lanes' gradients are added in pairs, pairs of
pairs and so on, the order in which floats are added being the same whoever holds which lanes. A call does some lanes
that are a branch of this tree. Lane k is counted from 1: after it, as many branches are complete as k has zeros at its
end.
"""

from __future__ import annotations

from torchbce.jit.primitives import spliced


@spliced
def add_lane(partials, gradient, count, lane):
    """Put the gradient of a lane with those before it; branch sums of 2^level lanes lie at `level`."""
    level, rest = 0, lane
    while rest & 1 == 0:
        for i in range(count):
            gradient[i] = partials[level * count + i] + gradient[i]
        level += 1
        rest >>= 1
    for i in range(count):
        partials[level * count + i] = gradient[i]


@spliced
def sum_lanes(partials, gradient, count, lanes):
    """The sum of all lanes: where their number is no power of two, the branches left over are added from the right."""
    level, rest, started = 0, lanes, False
    while rest > 0:
        if rest & 1 == 1:
            for i in range(count):
                branch = partials[level * count + i]
                gradient[i] = branch + gradient[i] if started else branch
            started = True
        level += 1
        rest >>= 1
