"""What the model ends with, and what the loss expects: BCE004 and BCE005."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from torchbce.checks.findings import Finding, Level, fail, not_applicable, passed, warn
from torchbce.checks.probing.graph import last_operation, last_operations, reaches
from torchbce.checks.probing.trial import Trial, forward
from torchbce.checks.rule import rule
from torchbce.checks.rules import loss_function
from torchbce.checks.rules.targets import are_probabilities

SQUASHING = ("Sigmoid", "Softmax", "LogSigmoid", "LogSoftmax", "Hardsigmoid", "SpecialExpit")
CLAMPS = ("Clamp", "Hardtanh")
BOUNDED = ("Relu", "Tanh", "LeakyRelu", "Softplus", "Gelu", "Elu", *CLAMPS)
LINEAR = ("Addmm", "Mm", "Bmm", "Addbmm", "Baddbmm", "Convolution", "Mkldnn", "Linear")  # their range is everything
ENOUGH = 8.0  # a logit that is clamped there reaches 99.97 %
PUSH = 30.0


@rule(
    "BCE004",
    "sigmoid-twice",
    "no activation comes before a loss that has its own",
    on="model",
    explains=("BCE007", "BCE013", "BCE015", "BCE016", "BCE020"),
)
def activation_before_logits(t: Trial) -> Finding:
    """BCE004: read off autograd's graph, and tried out where that does not tell; not guessed from the outputs."""
    loss = t.loss
    if loss is not None and loss.takes == "probabilities" and loss.is_cross_entropy:
        return _activation_before_sigmoid(t)
    alone = passed() if loss is None else loss_function.sigmoid_twice(loss)
    if alone.level is Level.FAIL:
        return alone
    if loss is None or loss.takes != "logits" or not loss.is_cross_entropy:
        return not_applicable("the loss is not BCE of logits")
    last = _squashing(t)
    if last:
        share = (t.labels > 0.5).double().mean().item()
        floor = 0.3133 * share + 0.6931 * (1 - share)
        return fail(
            f"the model ends with {last}, and the loss applies a sigmoid again: it cannot come below {floor:.4f}",
            "return the values before that layer; torch.sigmoid(logits) only to read them",
            {"last operation": last, "floor": floor},
        )
    for name, node in last_operations(t.outputs, 1):
        if name.startswith(BOUNDED) and not (name.startswith(CLAMPS) and reaches(node, ENOUGH)):
            return warn(
                f"the model ends with {name}, so some logits, and their probabilities, cannot be reached",
                "end the model with a Linear layer",
                {"last operation": name},
            )
    return passed()


def _activation_before_sigmoid(t: Trial) -> Finding:
    """A ReLU and then a sigmoid: no probability below one half."""
    names = last_operations(t.outputs, 2)
    if len(names) == 2 and names[0][0] in ("Sigmoid", "SpecialExpit"):
        (_, _), (before, node) = names
        if before in SQUASHING:
            return fail(
                f"the model ends with {before} and a sigmoid on top: probabilities lie between 0.5 and 0.7311",
                "one sigmoid, after a Linear layer",
                {"last operations": [before, names[0][0]]},
            )
        if before.startswith(BOUNDED) and not (before.startswith(CLAMPS) and reaches(node, ENOUGH)):
            return warn(
                f"the model ends with {before} and then a sigmoid: some probabilities cannot be reached"
                + (", such as any below 0.5" if before.startswith("Relu") else ""),
                "the sigmoid comes right after a Linear layer",
                {"last operations": [before, names[0][0]]},
            )
    return not_applicable("the loss takes probabilities")


def _squashing(t: Trial) -> str:
    """The activation at the end, by name or by what it does to outputs that are pushed up and down."""
    last = last_operation(t.outputs)
    if last in SQUASHING:
        return last
    if last.startswith((*LINEAR, *BOUNDED)) or not are_probabilities(t.outputs.detach()):
        return ""
    model, seen = t.copy(), [t.outputs.detach()]
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        return ""
    with torch.no_grad():
        for push in (PUSH, -PUSH):  # logits would follow
            _push(model, parameters, push)
            seen.append(forward(model, t.inputs, t))
    moved = any(bool((one != other).any()) for one, other in itertools.pairwise(seen))
    if moved and all(are_probabilities(outputs) for outputs in seen):
        return "something that keeps outputs within [0, 1]"
    return ""


def _push(model: nn.Module, parameters: list[nn.Parameter], push: float) -> None:
    """Move the outputs by the last layer's bias, or by making its weights larger."""
    biases = [p for name, p in model.named_parameters() if name.endswith("bias") and p.requires_grad]
    if biases and biases[-1].numel() <= parameters[-1].numel():
        biases[-1].add_(push)
    else:
        parameters[-1].mul_(push)


@rule(
    "BCE005",
    "missing-sigmoid",
    "a loss of probabilities gets probabilities",
    on="model",
    explains=("BCE002", "BCE010", "BCE011", "BCE013", "BCE016", "BCE032"),
)
def missing_sigmoid(t: Trial) -> Finding:
    """BCE005."""
    if t.loss is None or t.loss.takes != "probabilities" or t.loss.family in ("constant", "cross-talk"):
        return not_applicable("the loss does not take probabilities")
    x = t.outputs.detach()
    outside = int(((x < 0) | (x > 1)).sum())
    if outside:
        last = last_operation(t.outputs)
        return fail(
            f"the loss takes probabilities and {outside} of {x.numel()} outputs are outside [0, 1]; the model ends "
            f"with {last or 'no operation'}",
            "loss_func = torchbce.BCEWithLogitsLoss()",
            {"outside": outside, "last operation": last},
        )
    return passed()
