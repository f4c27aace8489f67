"""The passes over the items, as loops: the total with or without gradient, items, gradient, count.

Work goes in chunks of a fixed size (`chunks`), each with a sum of its own, so no result depends on which thread did
which; and within them in blocks, for which `block` computes a loss. Within a chunk, `LANES` independent sums fill the
SIMD registers and keep the chains of rounding errors short. `plain` and `general` say how a block's items are read.
"""

LANES = 16
