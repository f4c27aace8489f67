"""Derive a formula as another formula: the chain rule on its graph, forward (Wengert 1964).

A choice is differentiated branch by branch, and |v| as where(v >= 0, v, -v): at 0 from the right, as in the formulas.
`stop_gradient(v)` counts as a constant.
"""

from __future__ import annotations

from torchbce.formula.binding import Formula, bind
from torchbce.formula.graph import CONDITIONS, Graph, Node, formula_of, in_order

Derivative = Node | None  # None is 0


def derivative(formula: Formula, position: int) -> Formula | None:
    """Return the derivative by the argument at `position`, as a formula of the same arguments; None if it is 0."""
    code = formula.__code__
    inputs = code.co_varnames[: code.co_argcount]
    graph = Graph()
    nodes = [graph.input(name) for name in inputs]
    root = graph.node(bind(formula, graph.primitives())(*nodes))
    derived = differentiate(root, nodes[position])
    suffix = inputs[position]
    return (
        None
        if derived is None
        else formula_of(derived, inputs, formula.__defaults__ or (), f"{formula.__name__}_d{suffix}")
    )


def differentiate(root: Node, by: Node) -> Derivative:
    """Return the derivative of a node by an input."""
    derivatives: dict[int, Derivative] = {}
    for node in in_order(root):
        known = [derivatives[id(a)] for a in node.arguments]
        derivatives[id(node)] = root.graph.node(1.0) if node is by else _rule(node, known)
    return derivatives[id(root)]


def _rule(node: Node, d: list[Derivative]) -> Derivative:
    """Return the derivative of an operation from those of its arguments."""
    operation, a = node.operation, node.arguments
    if operation in ("input", "constant", "stop_gradient", *CONDITIONS) or all(part is None for part in d):
        return None
    graph = node.graph
    first = d[0]
    if operation == "add":
        return _add(d[0], d[1])
    if operation == "sub":
        return _add(d[0], _negative(d[1]))
    if operation == "neg":
        return _negative(first)
    if operation == "mul":
        return _add(_times(d[0], a[1]), _times(d[1], a[0]))
    if operation == "div":
        top = _add(d[0], _negative(_times(d[1], node)))
        return None if top is None else graph.apply("div", top, a[1])
    if operation == "where":
        return graph.apply("where", a[0], _or_zero(graph, d[1]), _or_zero(graph, d[2]))
    if operation == "at_least":
        return graph.apply("where", graph.apply("lt", a[0], a[1]), _or_zero(graph, d[1]), _or_zero(graph, d[0]))
    if operation == "log_unit":
        top = _add(d[0], d[1])
        return None if top is None else graph.apply("div", top, graph.apply("add", a[0], a[1]))
    assert first is not None
    if operation in ("exp", "exp_unit"):
        return _times(first, node)
    if operation == "log":
        return graph.apply("div", first, a[0])
    if operation in ("log1p", "log1p_unit"):
        return graph.apply("div", first, graph.apply("add", 1.0, a[0]))
    if operation == "abs":
        return graph.apply("where", graph.apply("ge", a[0], 0.0), first, graph.apply("neg", first))
    raise NotImplementedError(operation)


def _add(a: Derivative, b: Derivative) -> Derivative:
    if a is None or b is None:
        return b if a is None else a
    return a.graph.apply("add", a, b)


def _negative(a: Derivative) -> Derivative:
    return None if a is None else a.graph.apply("neg", a)


def _times(a: Derivative, b: Node) -> Derivative:
    if a is None or (a.operation == "constant" and a.value == 1.0):
        return None if a is None else b
    return a if b.operation == "constant" and b.value == 1.0 else a.graph.apply("mul", a, b)


def _or_zero(graph: Graph, a: Derivative) -> Node:
    return graph.node(0.0) if a is None else a
