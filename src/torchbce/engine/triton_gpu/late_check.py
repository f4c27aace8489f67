"""Raise for values that are not allowed on a GPU, without waiting for it.

A kernel counts them. The count is copied to the host asynchronously, and the first check after its arrival raises;
until then the loss is NaN, so a wrong number is never shown. (torch aborts the device's context here, and with it the
process.)
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

_on_their_way: deque[tuple[Any, Tensor]] = deque()


def passed(wrong: Tensor) -> bool:
    """Return whether the count is known to be 0; True if not known yet. Raise for counts that have arrived."""
    if wrong.is_cpu:  # Triton's interpreter
        return not wrong.item()
    if torch.cuda.is_current_stream_capturing():  # a CUDA graph cannot copy to the host
        return True
    count = torch.empty((), dtype=wrong.dtype, pin_memory=True)
    count.copy_(wrong, non_blocking=True)
    arrival = torch.cuda.Event()
    arrival.record()
    _on_their_way.append((arrival, count))
    while _on_their_way and _on_their_way[0][0].query():
        _, count = _on_their_way.popleft()
        if count.item():
            raise RuntimeError(
                f"{count.item()} items of this call or one before it on this GPU had values that are not allowed, and "
                "its loss was NaN: probabilities and targets lie in [0, 1], class numbers are those of a class; logits "
                "go to functions whose name ends with _with_logits"
            )
    return True
