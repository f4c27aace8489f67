"""What a loss does to the outputs first, read off its graph: torch's own loss of logits or of probabilities says it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchbce.checks.probing.graph import SQUASHING, TRANSPARENT, name_of, nodes_from

LOGITS, PROBABILITIES = "BinaryCrossEntropyWithLogits", "BinaryCrossEntropy"


def takes(loss: Tensor, outputs: Tensor) -> str:
    """Return what torch's own BCE in the loss takes of the plain outputs: "logits", "probabilities" or ""."""
    for node in nodes_from(loss.grad_fn):
        name = name_of(node)
        if name in (LOGITS, PROBABILITIES) and getattr(_first(node), "variable", None) is outputs:
            return "logits" if name == LOGITS else "probabilities"
    return ""


def squashes(loss: Tensor) -> str:
    """The activation inside a loss, right before torch's own BCE of logits; "" where there is none."""
    for node in nodes_from(loss.grad_fn):
        if name_of(node) == LOGITS:
            before = _first(node)
            if before is not None and name_of(before) in SQUASHING:
                return name_of(before)
    return ""


def _first(node: Any) -> Any:
    """Return what a node takes first, behind views and copies."""
    node = node.next_functions[0][0]
    while node is not None and name_of(node) in TRANSPARENT:
        node = node.next_functions[0][0]
    return node
