"""Cut formulas into stages: each exponential and logarithm by itself, then the results made of them.

A processor works on many items of a short loop at once, and on few of a long one. So a compiled pass evaluates one
costly function at a time for a block of items, and no function twice that two formulas have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torchbce.formula.binding import Formula, bind
from torchbce.formula.derivative import differentiate
from torchbce.formula.graph import Graph, Node, formula_of, in_order, rewritten
from torchbce.formula.loss import Loss
from torchbce.formula.powers import with_powers

COSTLY = ("exp", "exp_unit", "log", "log1p", "log1p_unit", "log_unit")


class Stages(NamedTuple):
    """Functions of the formulas' own arguments and of what the steps before have given.

    Attributes:
        steps: one costly function each.
        results: the loss, its derivative or both, of all steps.
    """

    steps: list[Formula]
    results: list[Formula]


def stages(loss: Loss, results: Sequence[str], fixed: Mapping[str, float]) -> Stages:
    """Return the stages of a loss's "value" (or "hard"), "dx" or both; `fixed` gives numbers for some parameters."""
    code = loss.value.__code__
    names = code.co_varnames[: code.co_argcount]
    graph = Graph()
    inputs = [graph.node(fixed[name]) if name in fixed else graph.input(name) for name in names]
    value = with_powers(bind(loss.value, graph.primitives())(*inputs))
    roots = [rewritten(_root(loss, result, value, inputs), _even) for result in results]
    costly: dict[int, Node] = {}
    for root in roots:
        costly |= {id(node): node for node in in_order(root) if node.operation in COSTLY}
    known: dict[int, str] = {}
    steps = []
    for number, node in enumerate(costly.values()):
        steps.append(formula_of(node, [*names, *known.values()], (), f"step_{number}", known))
        known[id(node)] = f"step{number}"
    everything = [*names, *known.values()]
    return Stages(steps, [formula_of(graph.node(root), everything, (), "result", known) for root in roots])


def _even(node: Node) -> Node:
    """Write |-v| as |v|, to share results; only after differentiation, as they differ in derivative at 0."""
    inner = node.arguments[0] if node.operation == "abs" else node
    return node.graph.apply("abs", *inner.arguments) if inner.operation == "neg" and inner is not node else node


def _root(loss: Loss, result: str, value: Node, inputs: Sequence[Node]) -> Node:
    """Return the root of a result; the derivative is the loss's own formula, else that of the value."""
    graph = value.graph
    given = {"hard": loss.hard, "dx": loss.given_dx}.get(result)
    if given is not None:
        return with_powers(bind(given, graph.primitives())(*inputs))
    root = differentiate(value, inputs[0]) if result == "dx" else value
    return graph.node(0.0) if root is None else root
