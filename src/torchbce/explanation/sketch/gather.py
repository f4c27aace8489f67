"""Merging what several processes have seen, under `torchrun`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self, TypeVar

import torch

from torchbce.common.processes import is_joined, rank_and_size


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
    """What all processes have seen, in each of them; or the first failure, where one could not make its part."""
    if rank_and_size()[1] == 1:
        return failure or part or ""
    started = not is_joined()
    if started:
        torch.distributed.init_process_group("gloo")
    parts: list[tuple[bytes | None, str | None]] = [(None, None)] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, (None if part is None else to_bytes(part), failure))
    if started:
        torch.distributed.destroy_process_group()
    failures = [text for _, text in parts if text]
    if failures:
        return failures[0]
    first, *others = (from_bytes(content) for content, _ in parts if content is not None)
    for other in others:
        first.merge(other)
    return first
