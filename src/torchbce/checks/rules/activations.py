"""What the model ends with, and what the loss expects: BCE004 and BCE005."""

from __future__ import annotations

from typing import Any

import torch

from torchbce.checks.catalogue.finding import Level, Outcome, fail, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.fingerprint import SOFTMAX
from torchbce.checks.probing.graph import (
    AVERAGING,
    LINEAR,
    SIGMOIDS,
    SQUASHING,
    TRANSPARENT,
    is_free_layer,
    is_square,
    last_operation,
    last_operations,
)
from torchbce.checks.probing.ranges import Range, range_of
from torchbce.checks.probing.trial import Trial, forward
from torchbce.checks.rules import loss_function
from torchbce.checks.rules.targets import are_probabilities

UNBOUNDED = ("Relu", "Tanh", "LeakyRelu", "Softplus", "Gelu", "Elu", "Silu", "Abs")  # not within [0, 1] either
ENOUGH = 8.0  # a logit that is clamped there reaches 99.97 %
STEPS = 60


@rule(
    "BCE004",
    "sigmoid-twice",
    "no activation comes before a loss that has its own",
    target="model",
    explains=("BCE007", "BCE013", "BCE015", "BCE016", "BCE020"),
)
def activation_before_logits(t: Trial) -> Outcome:
    """BCE004: read off autograd's graph, and tried out where that does not tell; not guessed from the outputs."""
    loss = t.loss
    if _softmax_of_one(t):
        return fail(
            "the model ends with a softmax over one value, which is 1 whatever that is",
            "a sigmoid in place of the softmax, or a score for each of two classes",
            {"last operation": "Softmax"},
        )
    if t.takes == "probabilities":
        return _activation_before_sigmoid(t)
    if t.squashes:
        return loss_function.applies_sigmoid_twice(t.squashes)
    alone = passed() if loss is None else loss_function.sigmoid_twice(loss)
    if alone.level is Level.FAIL:
        return alone
    last = last_operation(t.outputs)
    if loss is not None and loss.family == SOFTMAX and last == "Softmax":
        return fail(
            "the model ends with Softmax, and the loss applies a softmax again: no class comes near a probability of 1",
            "return the values before that layer; outputs.softmax(1) only to read them",
            {"last operation": last},
        )
    if loss is not None and loss.family == SOFTMAX and last == "Relu":
        return warn(
            "the model ends with Relu, and the loss applies a softmax: a class whose score is below 0 counts as 0, and "
            "learns no more",
            "end the model with a Linear layer",
            {"last operation": last},
        )
    if t.takes != "logits":
        return not_applicable("the loss is not BCE of logits")
    seen = range_of(t.outputs.grad_fn)
    squashed = _squashing(t, last, seen)
    if squashed:
        share = (t.labels > 0.5).double().mean().item()
        floor = 0.3133 * share + 0.6931 * (1 - share)
        return fail(
            f"the model ends with {squashed}, and the loss applies a sigmoid again: it cannot come below {floor:.4f}",
            "return the values before that layer; torch.sigmoid(logits) only to read them",
            {"last operation": squashed, "floor": floor},
        )
    if _is_narrow(seen):
        return warn(
            f"the model ends with {_end(t, seen)}, so some logits, and their probabilities, cannot be reached"
            + (", such as any below 0.5" if seen.low >= 0 else ""),
            "end the model with a Linear layer",
            {"last operation": seen.by, "lowest": seen.low, "highest": seen.high},
        )
    return passed()


def _activation_before_sigmoid(t: Trial) -> Outcome:
    """A ReLU and then a sigmoid: no probability below one half."""
    names = last_operations(t.outputs, 2)
    if len(names) == 2 and names[0][0] in SIGMOIDS:
        (_, sigmoid), (before, _) = names
        if before in SQUASHING:
            return fail(
                f"the model ends with {before} and a sigmoid on top: probabilities lie between 0.5 and 0.7311",
                "one sigmoid, after a Linear layer",
                {"last operations": [before, names[0][0]]},
            )
        seen = range_of(sigmoid.next_functions[0][0])
        if _is_narrow(seen):
            return warn(
                f"the model ends with {seen.by} and then a sigmoid: some probabilities cannot be reached"
                + (", such as any below 0.5" if seen.low >= 0 else ""),
                "the sigmoid comes right after a Linear layer",
                {"last operations": [seen.by, names[0][0]]},
            )
    return not_applicable("the loss takes probabilities")


def _softmax_of_one(t: Trial) -> bool:
    """Return whether the last operation is a softmax along a dimension of one value."""
    for name, _ in last_operations(t.outputs, 1):
        if name in ("Softmax", "LogSoftmax"):
            constant = t.outputs.detach().exp() if name == "LogSoftmax" else t.outputs.detach()
            return t.outputs.numel() > 1 and bool((constant == 1).all())
    return False


def _is_narrow(seen: Range) -> bool:
    return seen.by != "" and (seen.low > -ENOUGH or seen.high < ENOUGH)


def _end(t: Trial, seen: Range) -> str:
    last = last_operation(t.outputs)
    return seen.by if last == seen.by else f"{seen.by} and {last}"


def _squashing(t: Trial, last: str, seen: Range) -> str:
    """The activation at the end, by name or by what it does to outputs that are trained upwards and downwards."""
    if last in SQUASHING:
        return last
    if seen.by in SQUASHING and seen.low >= 0 and seen.high <= 1:
        return _end(t, seen)
    if last.startswith(LINEAR) or _is_narrow(seen) or not are_probabilities(t.outputs.detach()):
        return ""
    moved = [_stays_within(t, sign) for sign in (1.0, -1.0)]  # logits would leave
    return "something that keeps outputs within [0, 1]" if all(moved) else ""


def _stays_within(t: Trial, sign: float) -> bool:
    """Return whether outputs stay within [0, 1] though training raises, or lowers, them, and they move."""
    model = t.copy()
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        return False
    optimizer = torch.optim.Adam(parameters, lr=0.3)
    outputs = start = t.outputs.detach()
    for _ in range(STEPS):
        outputs = forward(model, t.inputs, t)
        if not are_probabilities(outputs.detach()):
            return False
        if not outputs.requires_grad:
            return False
        t.gradients(model, -sign * outputs.sum())
        optimizer.step()
    return bool((outputs.detach() != start).any())


@rule(
    "BCE005",
    "missing-sigmoid",
    "a loss of probabilities gets probabilities",
    target="model",
    explains=("BCE002", "BCE010", "BCE011", "BCE013", "BCE016", "BCE032"),
)
def missing_sigmoid(t: Trial) -> Outcome:
    """BCE005: by the values of the outputs, and by the operation that they come from, which may give any others."""
    if t.takes != "probabilities" and (
        t.loss is None or t.loss.takes != "probabilities" or t.loss.family in ("constant", "cross-talk")
    ):
        return not_applicable("the loss does not take probabilities")
    x = t.outputs.detach()
    outside, last = int(((x < 0) | (x > 1)).sum()), last_operation(t.outputs)
    fix = "loss_func = torchbce.BCEWithLogitsLoss()"
    evidence = {"outside": outside, "last operation": last}
    if outside:
        return fail(
            f"the loss takes probabilities and {outside} of {x.numel()} outputs are outside [0, 1]; the model ends "
            f"with {last or 'no operation'}",
            fix,
            evidence,
        )
    if t.takes == "probabilities" and _may_be_anything(t):
        return fail(
            f"the loss takes probabilities and the model ends with {last}: its outputs are within [0, 1] now, and "
            "nothing keeps them there",
            fix,
            evidence,
        )
    return passed()


def _may_be_anything(t: Trial) -> bool:
    """Return whether the outputs come from a linear layer, by activations that do not keep them within [0, 1]."""
    for name, node in last_operations(t.outputs, 3, TRANSPARENT | AVERAGING):
        if name.startswith(LINEAR):
            return is_free_layer(node)
        if not _is_unbounded(name, node):
            return False
    return False


def _is_unbounded(name: str, node: Any) -> bool:
    return name in UNBOUNDED or is_square(node)
