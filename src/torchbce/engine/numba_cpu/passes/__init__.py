"""The passes over the items, as loops: the total with or without gradient, items, gradient, count.

Each is written once; a `Variant` says for which loss, how each tensor is read and which options there are. Work goes in
chunks of a fixed size, each with a sum of its own, so no result depends on which thread did which. Within a chunk,
`LANES` independent sums fill the SIMD registers and keep the chains of rounding errors short.
"""

LANES = 16
