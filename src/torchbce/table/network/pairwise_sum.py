"""A sum over the micro-batches of a batch, in an order of its own, whoever adds what.

Floats are added in pairs of neighbours, pairs of pairs and so on, and what has no neighbour is passed on. A subtree of
this tree, micro-batches [first, stop), can be summed by itself. So threads and processes share a batch out by subtrees,
and the sum has the same bits with any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Subtree = tuple[int, int]  # micro-batches from the first to the one before the second


def share_of(micro_batches: int, rank: int, workers: int) -> Subtree:
    """Return the micro-batches of a worker."""
    return micro_batches * rank // workers, micro_batches * (rank + 1) // workers


def subtrees(share: Subtree, micro_batches: int) -> list[Subtree]:
    """Return the fewest subtrees of the tree over all micro-batches that make up a share."""
    first, stop = share
    result = []
    while first < stop:
        size = 1
        while first % (2 * size) == 0 and (first + 2 * size <= stop or (stop == micro_batches and first + size < stop)):
            size *= 2
        result.append((first, min(first + size, stop)))
        first += size
    return result


def subtree_sum(parts: Mapping[Subtree, Tensor], subtree: Subtree, micro_batches: int) -> Tensor:
    """Return the sum of a subtree from the sums of its parts."""
    first, stop = subtree
    size = 1
    while size < stop - first:
        size *= 2
    return _sum(parts, first, size, micro_batches)


def _sum(parts: Mapping[Subtree, Tensor], first: int, size: int, micro_batches: int) -> Tensor:
    part = parts.get((first, min(first + size, micro_batches)))
    if part is not None:
        return part
    half = size // 2
    left = _sum(parts, first, half, micro_batches)
    return left if first + half >= micro_batches else left + _sum(parts, first + half, half, micro_batches)
