"""Merging what several processes have seen, under `torchrun`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

import torch

from torchbce.common import group


class Mergeable(Protocol):
    """What adds up over processes."""

    def merge(self, other: Self) -> None: ...


Part = TypeVar("Part", bound=Mergeable)


def merged(
    part: Part | None,
    failure: str | None,
    to_bytes: Callable[[Part], bytes],
    from_bytes: Callable[[bytes], Part],
) -> Part | str:
    """Merge the parts of all processes, in each of them; return the first failure where one could not make its part."""
    if group.number_and_count()[1] == 1:
        return failure or part or ""
    with group.joined():
        parts: list[tuple[bytes | None, str | None]] = [(None, None)] * group.count()
        torch.distributed.all_gather_object(parts, (None if part is None else to_bytes(part), failure))
    failures = [text for _, text in parts if text]
    if failures:
        return failures[0]
    first, *others = (from_bytes(content) for content, _ in parts if content is not None)
    for other in others:
        first.merge(other)
    return first
