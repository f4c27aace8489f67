"""What a loss function computes, seen from its gradients."""

from __future__ import annotations

import math

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed, tip, warn
from torchbce.checks.catalogue.registry import also_checks, rule
from torchbce.checks.probing.fingerprint import Fingerprint
from torchbce.checks.probing.known_losses import CLOSE, SHARES

RIGHT = math.log(0.7 / 0.3)  # the first sigmoid, where the second is 0.7


@rule(
    "BCE003",
    "cross-talk",
    "the loss compares each output with its own target only",
    target="loss",
    explains=("BCE007", "BCE008", "BCE013", "BCE027", "BCE028"),
)
def cross_talk(loss: Fingerprint) -> Outcome:
    if loss.family == "of the mean":
        return warn(
            "the mean over the items is taken before a function that is not linear, so each target moves the "
            "gradients of all items: no item weighs more than another, as it should in a focal loss",
            'bce = binary_cross_entropy_with_logits(..., reduction="none"); the mean comes last',
        )
    if loss.family != "cross-talk":
        return passed()
    return fail(
        f"flipping one target moves other items' gradients {loss.cross_talk:.3f} times as much as its own: the "
        "loss compares every output with every target, as [N] and [N, 1] broadcast to [N, N]",
        "loss = loss_func(outputs, targets.reshape(outputs.shape))  # the shapes must be alike",
        {"cross-talk": loss.cross_talk},
    )


@also_checks("BCE004", target="loss")
def sigmoid_twice(loss: Fingerprint) -> Outcome:
    # It asks for logits that only rise above 0: what is taken for logits are probabilities already. Where 70 % are
    # right, sigmoid(sigmoid(z)) is 70 %.
    low, rises = loss.lowest[:3] == (0.0, 0.0, 0.0), loss.lowest[3:]
    saturates = low and abs(rises[0] - RIGHT) < CLOSE and rises[1] > 1 - CLOSE
    if not loss.family.startswith("sigmoid twice") and not saturates:
        return passed()
    return applies_sigmoid_twice("Sigmoid")


def applies_sigmoid_twice(first: str) -> Outcome:
    """Return BCE004 of a loss that puts this activation before one of logits."""
    return fail(
        f"the loss applies a sigmoid to what is already one, or squashed: it puts {first} before it. No output is "
        "taken for less than 1/2, and with BCE none costs less than 0.3133 (target 1) or 0.6931 (target 0)",
        "loss_func = torchbce.BCEWithLogitsLoss()  # on logits, without a sigmoid before it",
    )


@rule(
    "BCE006",
    "constant-loss",
    "the loss depends on the outputs",
    target="loss",
    explains=("BCE007", "BCE008", "BCE013", "BCE016"),
)
def constant_loss(loss: Fingerprint) -> Outcome:
    if loss.family != "constant":
        return passed()
    return fail(
        "the gradient is exactly 0 whatever the outputs are: a softmax or cross-entropy over one output is constant",
        "loss_func = torchbce.BCEWithLogitsLoss()  # one logit, no softmax",
    )


@rule("BCE007", "loss-is-bce", "the loss is binary cross-entropy", target="loss", explains=("BCE013",))
def loss_is_bce(loss: Fingerprint) -> Outcome:
    if loss.family in ("cross-talk", "constant", "of the mean"):
        return not_applicable(str(loss))
    if loss.family == "exchanged":
        text, fix = "outputs and targets are exchanged: the loss takes the outputs first", "loss_func(outputs, targets)"
        return fail(text, fix)
    if loss.family != "bce":
        return _other(loss)
    if loss.turned or loss.scale < 0:
        return fail(
            f"targets are flipped: 0 becomes {loss.low:g} and 1 becomes {loss.high:g}"
            if loss.scale > 0
            else "the loss has the wrong sign: lowering it makes predictions worse",
            "targets = 1 - targets" if loss.scale > 0 else "loss = -loss",
            {"low": loss.low, "high": loss.high, "scale": loss.scale},
        )
    return passed(str(loss))


def _other(loss: Fingerprint) -> Outcome:
    """A loss that is not BCE: another one that works, or one that no training can bring to an end."""
    fix, evidence = "torchbce.BCEWithLogitsLoss(), if BCE was meant", {"lowest": list(loss.lowest)}
    at = dict(zip(SHARES, loss.lowest, strict=False))
    ends = set(loss.lowest) & {0.0, 1.0}
    if not at:
        return tip(f"this is {loss}", fix)
    if len(set(loss.lowest)) == 1 and ends:
        text = (
            f"the loss is lowest where every output is {loss.lowest[0]:g}, whatever the targets are: one of its two "
            "terms is missing"
        )
        return fail(text, "y log p + (1 - y) log(1 - p): both terms", evidence)
    if at[0.9] < at[0.1] - CLOSE:
        text = f"this is {loss}; the more targets are 1, the lower are the outputs that it asks for, as for distances"
        return tip(text, "loss = -loss, or targets = 1 - targets, if outputs are logits", evidence)
    if loss.is_proper:
        return tip(f"this is {loss}; it is lowest at the right probability", fix, evidence)
    if ends:
        share = next(share for share, where in at.items() if where in ends)
        text = (
            f"this is {loss}, and it never ends: where {100 * share:g} % of the targets are 1, it is lowest at a "
            f"probability of {at[share]:g}, an infinite logit"
        )
        return warn(text, fix, evidence)
    text = f"this is {loss}; it is lowest at {at[0.9]:.2f} where 0.9 is right: its outputs are not probabilities"
    return tip(text, fix, evidence)


@rule("BCE008", "reduction", "the loss does not grow with the batch", target="loss")
def reduction(loss: Fingerprint) -> Outcome:
    if loss.family != "bce":
        return not_applicable("the loss is not BCE")
    if loss.reduction == "sum":
        return tip(
            "the loss is a sum over the items: it and its gradient grow with the batch, and so does the step",
            'reduction="mean"',
            {"scale": loss.scale},
        )
    return passed(loss.reduction)
