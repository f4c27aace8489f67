"""Which operations made a tensor, read off autograd's graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

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
    "Expand",
    "Index",
    "IndexSelect",
    "Gather",
}
# Operations whose values lie between those that they are given.
AVERAGING = {
    "Mean",
    "AvgPool2D",
    "AvgPool3D",
    "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D",
    "MaxPool2DWithIndices",
    "MaxPool3DWithIndices",
    "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D",
    "Amax",
    "Amin",
    "Max",
    "Min",
    "Median",
    "Topk",
    "Sort",
}
SIGMOIDS = ("Sigmoid", "SpecialExpit")
SQUASHING = (*SIGMOIDS, "Softmax", "LogSigmoid", "LogSoftmax", "Hardsigmoid")
LINEAR = ("Addmm", "Mm", "Bmm", "Addbmm", "Baddbmm", "Convolution", "Mkldnn", "Linear")  # their range is everything
DEEPEST = 100_000  # nodes that are looked at


def name_of(node: Any) -> str:
    """The operation of a node, such as "Sigmoid"."""
    return str(node.name()).split("Backward")[0].lstrip("_")


def last_operations(outputs: Tensor, count: int = 2, passed_over: set[str] = TRANSPARENT) -> list[tuple[str, Any]]:
    """The last operations and their nodes, the very last first; views and copies are passed over."""
    node, operations = outputs.grad_fn, list[tuple[str, Any]]()
    while node is not None and len(operations) < count:
        name = name_of(node)
        if name not in passed_over:
            operations.append((name, node))
        node = node.next_functions[0][0] if node.next_functions else None
    return operations


def last_operation(outputs: Tensor) -> str:
    """Return the name of the last operation, such as "Sigmoid"; "" where there is no graph."""
    return next((name for name, _ in last_operations(outputs, 1)), "")


def is_square(node: Any) -> bool:
    """Return whether this is an even power, or a product of a value with itself."""
    name = name_of(node)
    if name == "Pow":
        exponent = getattr(node, "_saved_exponent", None)
        return isinstance(exponent, int | float) and exponent % 2 == 0
    parts = [part for part, _ in node.next_functions]
    return name == "Mul" and len(parts) == 2 and parts[0] is not None and parts[0] is parts[1]


def is_free_layer(node: Any) -> bool:
    """Return whether this is a linear layer with weights of its own, whose outputs may be any number."""
    return name_of(node).startswith(LINEAR) and any(
        part is not None and any(True for _ in parameters_of(part, TRANSPARENT)) for part, _ in node.next_functions
    )


def parameters_of(node: Any, through: set[str] | None = None) -> Iterator[Tensor]:
    """The parameters that are reached from a node; with `through`, by these operations alone."""
    for reached in nodes_from(node, through):
        variable = getattr(reached, "variable", None)
        if isinstance(variable, nn.Parameter):
            yield variable


def nodes_from(start: Any, through: set[str] | None = None) -> Iterator[Any]:
    """A node and those before it; with `through`, only those behind these operations."""
    seen: set[Any] = set()
    todo = [start]
    while todo and len(seen) < DEEPEST:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if through is None or name_of(node) in through:
            todo += [part for part, _ in node.next_functions]
