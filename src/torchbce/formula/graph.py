"""Turn a formula into a graph of operations, by running it on nodes, and a graph back into a formula's source.

The operations are those that every engine has. Whatever cannot be one of them, such as a condition in Python on a value
that is not known yet, raises `Unsupported`.
"""

from __future__ import annotations

import itertools
import linecache
import math
import operator
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torchbce.formula.binding import Formula

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
    "and": "&",
    "or": "|",
}
PREFIX = {"neg": "-"}
CALLS = ("exp", "exp_unit", "log", "log1p", "log1p_unit", "log_unit", "abs", "at_least", "where", "stop_gradient")
CONDITIONS = ("lt", "le", "gt", "ge", "eq", "ne", "and", "or")
FOLDED: dict[str, Any] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg}
_numbers = itertools.count()


class Unsupported(TypeError):
    """A formula uses something that is not supported."""


class Node:
    """Value in a formula; operators on it make further nodes."""

    __slots__ = ("arguments", "graph", "operation", "value")
    __array_ufunc__ = None  # numpy's numbers leave operators to us

    def __init__(self, graph: Graph, operation: str, arguments: tuple[Node, ...], value: Any) -> None:
        self.graph, self.operation, self.arguments, self.value = graph, operation, arguments, value

    @property
    def is_condition(self) -> bool:
        return self.operation in CONDITIONS

    def __hash__(self) -> int:
        return id(self)

    def __neg__(self) -> Node:
        return self.graph.apply("neg", self)

    def __pos__(self) -> Node:
        return self

    def __abs__(self) -> Node:
        return self.graph.apply("abs", self)

    def __invert__(self) -> Node:
        return self.graph.apply("ne", self, True) if not self.is_condition else _opposite(self)

    def _refuse(self, *_: object) -> Any:
        raise Unsupported(
            "the value is not known yet: a formula is written with torch.where, not with if, and, or, not"
        )

    __bool__ = __float__ = __int__ = __index__ = __len__ = __iter__ = _refuse

    def __getattr__(self, name: str) -> Any:
        raise Unsupported(f"a value of one item has no {name!r}")


def _opposite(condition: Node) -> Node:
    graph = condition.graph
    return graph.apply("eq", graph.apply("where", condition, 1.0, 0.0), 0.0)


def _operators() -> None:
    def forward(name: str) -> Callable[[Node, Any], Node]:
        return lambda self, other: self.graph.apply(name, self, other)

    def backward(name: str) -> Callable[[Node, Any], Node]:
        return lambda self, other: self.graph.apply(name, other, self)

    for name, method in (
        ("add", "add"),
        ("sub", "sub"),
        ("mul", "mul"),
        ("div", "truediv"),
        ("and", "and"),
        ("or", "or"),
    ):
        setattr(Node, f"__{method}__", forward(name))
        setattr(Node, f"__r{method}__", backward(name))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Node, f"__{name}__", forward(name))


_operators()


class Graph:
    """Make nodes, each operation on the same arguments once."""

    def __init__(self, kind: type[Node] = Node) -> None:
        self.kind = kind
        self._known: dict[Any, Node] = {}

    def input(self, name: str) -> Node:
        return self._node("input", (), name)

    def apply(self, operation: str, *arguments: Any) -> Node:
        """Return the node of an operation on nodes and numbers."""
        nodes = tuple(map(self.node, arguments))
        values = [node.value for node in nodes if node.operation == "constant"]
        fold: Callable[..., float] | None = FOLDED.get(operation)
        if fold is not None and len(values) == len(nodes):
            return self.node(fold(*values))
        return self._node(operation, nodes, None)

    def node(self, value: Any) -> Node:
        """Return a node as it is, and a number as a constant."""
        if isinstance(value, Node):
            return value
        try:
            return self._node("constant", (), float(value))
        except (TypeError, ValueError) as error:
            raise Unsupported(f"a formula computes with numbers, got {type(value).__name__}") from error

    def _node(self, operation: str, arguments: tuple[Node, ...], value: Any) -> Node:
        key = operation, tuple(map(id, arguments)), repr(value)
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = self.kind(self, operation, arguments, value)
        return node

    def primitives(self) -> dict[str, Callable[..., Node]]:
        """Return the primitives that make nodes."""
        return {name: lambda *arguments, name=name: self.apply(name, *arguments) for name in CALLS}


def formula_of(
    root: Node,
    inputs: Sequence[str],
    defaults: tuple[float, ...],
    name: str,
    known: Mapping[int, str] = MappingProxyType({}),
) -> Formula:
    """Return a function of the inputs that computes the node, with source that inspect finds (Triton reads it).

    `known` names the inputs that hold the values of nodes, by the nodes' id.
    """
    names: dict[int, str] = dict(known)
    lines: list[str] = []
    for node in in_order(root, known):
        if node.operation == "input":
            names[id(node)] = node.value
        elif node.operation == "constant":
            names[id(node)] = _literal(node.value)
        else:
            arguments = [names[id(argument)] for argument in node.arguments]
            names[id(node)] = f"v{len(lines)}"
            lines.append(f"    v{len(lines)} = {_text(node.operation, arguments)}\n")
    head = ", ".join(inputs)
    source = f"def {name}({head}):\n{''.join(lines)}    return {names[id(root)]}\n"
    file = f"<torchbce formula {next(_numbers)}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    code = next(c for c in compile(source, file, "exec").co_consts if isinstance(c, types.CodeType))
    made = types.FunctionType(code, {"__name__": __name__}, name, defaults)
    made.__module__ = __name__
    return made


def in_order(root: Node, known: Collection[int] = ()) -> list[Node]:
    """Return the nodes that a node needs, each after its arguments; without those whose id is known."""
    ordered: list[Node] = []
    seen: set[int] = set(known)
    waiting = [(root, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting += [(argument, False) for argument in reversed(node.arguments)]
    return ordered


def rewritten(root: Node, change: Callable[[Node], Node]) -> Node:
    """Return the formula with each node changed after its arguments."""
    made: dict[int, Node] = {}
    for node in in_order(root):
        arguments = [made[id(argument)] for argument in node.arguments]
        made[id(node)] = change(root.graph.apply(node.operation, *arguments) if arguments else node)
    return made[id(root)]


def _text(operation: str, arguments: list[str]) -> str:
    if operation in INFIX:
        return f"{arguments[0]} {INFIX[operation]} {arguments[1]}"
    if operation in PREFIX:
        return f"{PREFIX[operation]}{arguments[0]}"
    return f"{operation}({', '.join(arguments)})"


def _literal(value: float) -> str:
    if math.isfinite(value):
        return repr(value) if value >= 0 else f"({value!r})"
    if math.isnan(value):
        raise Unsupported("a formula cannot have NaN as a constant")
    return "1e400" if value > 0 else "(-1e400)"
