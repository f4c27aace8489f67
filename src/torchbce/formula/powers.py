"""Powers in a formula: some whole exponents need neither an exponential nor a logarithm."""

from __future__ import annotations

from torchbce.formula.binding import Formula, bind
from torchbce.formula.graph import Graph, Node, in_order

PRODUCTS = (0.0, 1.0, 2.0)  # exponents that become products


def exponents(formula: Formula) -> frozenset[str]:
    """The arguments to which powers are raised: some whole numbers are worth a formula of their own."""
    code = formula.__code__
    graph = Graph()
    root = bind(formula, graph.primitives())(*map(graph.input, code.co_varnames[: code.co_argcount]))
    powers = (_power(node) for node in in_order(root))
    return frozenset(exponent.value for _, exponent in filter(None, powers) if exponent.operation == "input")


def _power(node: Node) -> tuple[Node, Node] | None:
    """The base and the exponent of exp(exponent * log(base)) with a base above 0."""
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
    """The same formula with such powers as products."""
    graph = root.graph
    made: dict[int, Node] = {}
    for node in in_order(root):
        arguments = [made[id(argument)] for argument in node.arguments]
        new = graph.apply(node.operation, *arguments) if arguments else node
        power = _power(new)
        if power is not None and power[1].operation == "constant" and power[1].value in PRODUCTS:
            base, exponent = power
            new = (
                graph.node(1.0)
                if exponent.value == 0.0
                else base
                if exponent.value == 1.0
                else graph.apply("mul", base, base)
            )
        made[id(node)] = new
    return made[id(root)]
