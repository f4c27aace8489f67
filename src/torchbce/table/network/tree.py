"""A sum over the lanes of a batch, in an order of its own, whoever adds what.

Floats are added in pairs of neighbours, pairs of pairs and so on, and what has no neighbour is passed on. A branch of
this tree, lanes [first, stop), can be summed by itself. So threads and processes share a batch out by branches, and the
sum has the same bits with any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Branch = tuple[int, int]  # lanes from the first to the one before the second


def part_of(lanes: int, number: int, count: int) -> Branch:
    """The lanes of one of `count` workers."""
    return lanes * number // count, lanes * (number + 1) // count


def branches(part: Branch, lanes: int) -> list[Branch]:
    """As few branches of the tree over all lanes as these lanes are made of."""
    first, stop = part
    found = []
    while first < stop:
        size = 1
        while first % (2 * size) == 0 and (first + 2 * size <= stop or (stop == lanes and first + size < stop)):
            size *= 2
        found.append((first, min(first + size, stop)))
        first += size
    return found


def total(parts: Mapping[Branch, Tensor], branch: Branch, lanes: int) -> Tensor:
    """The sum of a branch, of which all parts are there."""
    first, stop = branch
    size = 1
    while size < stop - first:
        size *= 2
    return _total(parts, first, size, lanes)


def _total(parts: Mapping[Branch, Tensor], first: int, size: int, lanes: int) -> Tensor:
    found = parts.get((first, min(first + size, lanes)))
    if found is not None:
        return found
    half = size // 2
    left = _total(parts, first, half, lanes)
    return left if first + half >= lanes else left + _total(parts, first + half, half, lanes)
