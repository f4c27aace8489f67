"""Which operations made a tensor, read off autograd's graph."""

from __future__ import annotations

from typing import Any

from torch import Tensor

# Operations that only hand a value on.
TRANSPARENT = {
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Select",
    "Slice",
    "ToCopy",
    "Alias",
    "Clone",
    "Permute",
    "Transpose",
    "T",
}


def last_operations(outputs: Tensor, count: int = 2) -> list[tuple[str, Any]]:
    """The last operations and their nodes, the very last first; views and copies are passed over."""
    node, found = outputs.grad_fn, list[tuple[str, Any]]()
    while node is not None and len(found) < count:
        name = node.name().split("Backward")[0].lstrip("_")
        if name not in TRANSPARENT:
            found.append((name, node))
        node = node.next_functions[0][0] if node.next_functions else None
    return found


def last_operation(outputs: Tensor) -> str:
    """Such as "Sigmoid"; "" where there is no graph."""
    return next((name for name, _ in last_operations(outputs, 1)), "")


def reaches(node: Any, limit: float) -> bool:
    """Whether a clamp lets logits through up to this size on both sides."""
    low, high = getattr(node, "_saved_min", None), getattr(node, "_saved_max", None)
    low, high = getattr(node, "_saved_min_val", low), getattr(node, "_saved_max_val", high)
    return (low is None or float(low) <= -limit) and (high is None or float(high) >= limit)
