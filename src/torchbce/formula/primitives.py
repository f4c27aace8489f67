"""Apply torch's functions to the nodes of a graph, so that a loss for one item is written as for tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from torchbce.formula.binding import bind
from torchbce.formula.functions import power, sigmoid, softplus
from torchbce.formula.graph import Node, Unsupported

LARGEST_PRODUCT = 16  # a power with a whole exponent up to this is multiplied out


class Value(Node):
    """Value of one item, in a loss that is being read."""

    __slots__ = ()

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        primitive = FUNCTIONS.get(function)
        if primitive is None:
            raise Unsupported(f"torch.{getattr(function, '__name__', function)} is not among the operations of a loss")
        return primitive(*arguments, **(options or {}))

    def __pow__(self, exponent: Any) -> Node:
        return _pow(self, exponent)

    def __rpow__(self, base: Any) -> Node:
        return self.graph.apply("exp", self.graph.apply("mul", self, math.log(base)))

    def __getattr__(self, name: str) -> Any:
        primitive = METHODS.get(name)
        if primitive is None:
            raise Unsupported(f"a value of one item has no {name!r}")
        return lambda *arguments, **options: primitive(self, *arguments, **options)


def _graph(*values: Any) -> Any:
    return next(value.graph for value in values if isinstance(value, Node))


def _plain(operation: str) -> Callable[..., Node]:
    return lambda value: value.graph.apply(operation, value)


def _composed(formula: Callable[..., Any], *more: Any) -> Callable[..., Node]:
    """Return an operation that is composed of others."""
    return lambda value: bind(formula, value.graph.primitives())(value, *more)


def _pow(base: Any, exponent: Any) -> Node:
    graph = _graph(base, exponent)
    if isinstance(exponent, int | float) and float(exponent).is_integer() and abs(exponent) <= LARGEST_PRODUCT:
        product = graph.node(1.0)
        for _ in range(abs(int(exponent))):
            product = base if product.operation == "constant" else graph.apply("mul", product, base)
        power_of: Node = product if exponent >= 0 else graph.apply("div", 1.0, product)
        return power_of
    node: Node = bind(power, graph.primitives())(graph.node(base), exponent)
    return node


def _where(condition: Any, yes: Any, no: Any) -> Node:
    if not isinstance(condition, Node):
        raise Unsupported("the condition of torch.where is a comparison of values")
    return condition.graph.apply("where", condition, yes, no)


def _larger(a: Any, b: Any) -> Node:
    return _graph(a, b).apply("at_least", a, b)  # type: ignore[no-any-return]


def _smaller(a: Any, b: Any) -> Node:
    graph = _graph(a, b)
    return graph.apply("neg", graph.apply("at_least", graph.apply("neg", a), graph.apply("neg", b)))  # type: ignore[no-any-return]


def _clamp(value: Any, min: Any = None, max: Any = None) -> Any:
    value = value if min is None else _larger(value, min)
    return value if max is None else _smaller(value, max)


def _tanh(x: Any) -> Any:
    """Return tanh(x) as 2 sigmoid(2x) - 1."""
    return 2.0 * sigmoid(2.0 * x) - 1.0


def _log_sigmoid(x: Any) -> Any:
    return -softplus(-x)


BY_NAME: dict[str, Callable[..., Any]] = {
    "exp": _plain("exp"),
    "log": _plain("log"),
    "log1p": _plain("log1p"),
    "abs": _plain("abs"),
    "detach": _plain("stop_gradient"),
    "sigmoid": _composed(sigmoid),
    "tanh": _composed(_tanh),
    "sqrt": _composed(power, 0.5),
    "square": lambda value: _pow(value, 2),
    "relu": lambda value: _larger(value, 0.0),
    "clamp": _clamp,
    "clamp_min": _larger,
    "clamp_max": _smaller,
    "maximum": _larger,
    "minimum": _smaller,
    "pow": _pow,
    "where": _where,
}
METHODS = {name: primitive for name, primitive in BY_NAME.items() if name != "where"}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    getattr(torch, name): word for name, word in BY_NAME.items() if hasattr(torch, name)
}
FUNCTIONS |= {
    F.softplus: _composed(softplus),
    F.logsigmoid: _composed(_log_sigmoid),
    F.relu: BY_NAME["relu"],
    F.sigmoid: BY_NAME["sigmoid"],
    torch.absolute: BY_NAME["abs"],
    torch.clip: _clamp,
}
ALLOWED = (
    "+ - * / **, comparisons, & | ~, and torch's "
    + ", ".join(name for name in BY_NAME if hasattr(torch, name))
    + ", torch.nn.functional.softplus, logsigmoid"
)
