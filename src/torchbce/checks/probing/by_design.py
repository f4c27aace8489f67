"""Why all targets of a batch are alike where that is right: pairs that are compared, and the step of a generator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchbce.checks.probing.graph import AVERAGING, LINEAR, TRANSPARENT, name_of, nodes_from, parameters_of
from torchbce.checks.probing.trial import Trial

# What a loss and a comparison do between their value and the two scores.
TO_THE_SCORES = (
    TRANSPARENT
    | AVERAGING
    | {"Sum", "Mul", "Div", "Neg", "Add", "Sub", "Rsub", "LogSigmoid", "Softplus", "Log", "Exp", "Sigmoid", "Clamp"}
    | {"ClampMin", "Relu", "BinaryCrossEntropyWithLogits", "BinaryCrossEntropy", "LinalgVectorNorm", "Norm", "Pow"}
)


def one_class_by_design(t: Trial) -> str:
    """The reason, in words; "" where there is none."""
    if _is_a_difference(t):
        return "the outputs are differences of two scores by the same weights, so one target says it all"
    if _loss_has_a_network(t):
        return "the loss has a network of its own, which judges the outputs"
    if last_is_not_trained(t):
        return "the last layers are not trained here, as in the step of a generator"
    return "" if _targets_matter(t) else "the loss does not depend on the targets"


def last_is_not_trained(t: Trial) -> bool:
    """Return whether the parameters nearest to the outputs are frozen or another optimizer's, and earlier ones not."""
    known = {id(p): name for name, p in t.model.named_parameters()}
    trained = _trained(t)
    order = list(dict.fromkeys(known[id(p)] for p in _by_distance(t) if id(p) in known))
    # Frozen parameters are not in the graph: a linear layer that has none of them is one of theirs.
    first = next((node for node in nodes_from(t.outputs.grad_fn) if name_of(node).startswith(LINEAR)), None)
    frozen = first is not None and not any(True for _ in _weights(first)) and bool(order)
    left = [name for name in order if name not in trained]
    return bool(set(order) & trained) and (frozen or order[: len(left)] == left != [])


def _trained(t: Trial) -> set[str]:
    """The names of the parameters that the optimizer has."""
    held = None
    if t.user.optimizer is not None:
        held = {id(p) for group in t.user.optimizer.param_groups for p in group["params"]}
    return {name for name, p in t.user.model.named_parameters() if p.requires_grad and (held is None or id(p) in held)}


def _by_distance(t: Trial) -> list[Tensor]:
    """The parameters in the graph of the outputs, those of the last operations first."""
    nodes, todo, seen = list[Tensor](), [t.outputs.grad_fn], set[Any]()
    while todo:
        further = []
        for node in todo:
            if node is None or node in seen:
                continue
            seen.add(node)
            nodes += _weights(node)
            further += [part for part, _ in node.next_functions]
        todo = further
    return nodes


def _weights(node: Any) -> list[Tensor]:
    return [p for part, _ in node.next_functions if part is not None for p in parameters_of(part, TRANSPARENT)]


def _is_a_difference(t: Trial) -> bool:
    """Return whether the loss begins with f(a) - f(b): both sides by the same parameters, but for those of one side."""
    try:
        start = t.loss_func(t.returned, t.targets).grad_fn
    except Exception:  # a loss that fails is BCE032
        return False
    for node in nodes_from(start, TO_THE_SCORES):
        sides = [part for part, _ in node.next_functions]
        if name_of(node) == "Sub" and len(sides) == 2 and None not in sides:
            left, right = ({id(p) for p in parameters_of(side)} for side in sides)
            if left and right and (left <= right or right <= left):
                return True
    return False


def _loss_has_a_network(t: Trial) -> bool:
    try:
        outputs = t.outputs.detach().clone().requires_grad_()
        loss = t.loss_of(outputs)
    except Exception:  # as above
        return False
    return any(name_of(node).startswith(LINEAR) for node in nodes_from(loss.grad_fn))


def _targets_matter(t: Trial) -> bool:
    """Return whether other targets give another loss."""
    with torch.no_grad():
        try:
            outputs = t.outputs.detach()
            return not torch.equal(t.loss_of(outputs), t.loss_of(outputs, 1 - t.targets))
        except Exception:  # as above
            return True
