"""Write powers as products: some whole exponents need neither an exponential nor a logarithm."""

from __future__ import annotations

from torchbce.formula.binding import Formula, bind
from torchbce.formula.graph import Graph, Node, in_order, rewritten

PRODUCTS = (0.0, 1.0, 2.0)  # exponents that become products


def exponents(formula: Formula) -> frozenset[str]:
    """Return the arguments that are exponents: some whole numbers are worth a formula of their own."""
    code = formula.__code__
    graph = Graph()
    root = bind(formula, graph.primitives())(*map(graph.input, code.co_varnames[: code.co_argcount]))
    powers = (_power(node) for node in in_order(root))
    return frozenset(exponent.value for _, exponent in filter(None, powers) if exponent.operation == "input")


def _power(node: Node) -> tuple[Node, Node] | None:
    """Return base and exponent of exp(exponent * log(base)) with a base above 0."""
    if node.operation not in ("exp", "exp_unit") or node.arguments[0].operation != "mul":
        return None
    exponent, logarithm = node.arguments[0].arguments
    base = logarithm.arguments[-1] if logarithm.arguments else logarithm
    whole = logarithm.operation == "log" or (logarithm.operation == "log_unit" and logarithm.arguments[0].value == 0.0)
    if not whole or base.operation != "at_least":
        return None
    floor = base.arguments[1]
    return (base, exponent) if floor.operation == "constant" and floor.value > 0 else None


def with_powers(root: Node) -> Node:
    """Return the formula with such powers as products."""
    return rewritten(root, _product)


def _product(node: Node) -> Node:
    power = _power(node)
    if power is None or power[1].operation != "constant" or power[1].value not in PRODUCTS:
        return node
    base, exponent = power
    if exponent.value == 0.0:
        return node.graph.node(1.0)
    return base if exponent.value == 1.0 else node.graph.apply("mul", base, base)
