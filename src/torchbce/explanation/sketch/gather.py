"""Merging what several processes have seen, under `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, Self, TypeVar

import torch


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without `torchrun`.

    A batch system may set WORLD_SIZE for its own ends: only with the address of a meeting point are there others.
    """
    if not all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


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
    started = not torch.distributed.is_initialized()
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
