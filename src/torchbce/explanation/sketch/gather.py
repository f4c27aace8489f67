"""Merging what several processes have seen, under `torchrun`."""

from __future__ import annotations

import os

import torch

from torchbce.explanation.sketch.file import from_bytes, to_bytes
from torchbce.explanation.sketch.sketch import Sketch


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without `torchrun`.

    A batch system may set WORLD_SIZE for its own ends: only with the address of a meeting point are there others.
    """
    if not all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def merged(sketch: Sketch | None, failure: str | None = None) -> Sketch | str:
    """The sketch of all processes, in each of them; or the first failure, where one of them could not make its part."""
    if rank_and_size()[1] == 1:
        return failure or sketch or ""
    started = not torch.distributed.is_initialized()
    if started:
        torch.distributed.init_process_group("gloo")
    parts: list[tuple[bytes | None, str | None]] = [(None, None)] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, (None if sketch is None else to_bytes(sketch), failure))
    if started:
        torch.distributed.destroy_process_group()
    failures = [text for _, text in parts if text]
    if failures:
        return failures[0]
    first, *others = (from_bytes(content) for content, _ in parts if content is not None)
    for other in others:
        first.merge(other)
    return first
