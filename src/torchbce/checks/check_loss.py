"""check_loss: which loss function is this, and is it the one that was meant?"""

from __future__ import annotations

from collections.abc import Collection

from torchbce.checks.findings import Finding, Level, Report, not_applicable, passed, report
from torchbce.checks.fingerprint import Fingerprint, LossFunction, fingerprint
from torchbce.checks.known_losses import CLOSE, SHARES

__all__ = ["check_loss"]


def check_loss(loss_func: LossFunction, *, columns: int | None = None, ignore: Collection[str] = ()) -> Report:
    """Identify any loss function by its gradients, and say what is wrong with it.

    Args:
        loss_func: maps (outputs, targets) to a loss: a function, a module, a lambda.
        columns: the number of output columns it needs; by default 1-d outputs, or one column.
        ignore: codes to leave out.

    Returns:
        A :class:`Report`; its first line names the loss.

    Raises:
        ValueError: the function fails on every kind of outputs, or a code does not exist.

    Example:
        >>> import torch
        >>> print(check_loss(torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))).about)
        mean-reduced BCE of logits with pos_weight 5
        >>> check_loss(torch.nn.BCEWithLogitsLoss(reduction="sum"))["BCE008"].level.value
        'tip'
    """
    found = fingerprint(loss_func, columns=columns)
    return report(findings_of(found), ignore=ignore, about=str(found))


def findings_of(found: Fingerprint) -> list[Finding]:
    """BCE003, BCE004, BCE006, BCE007 and BCE008, from a fingerprint."""
    return [_cross_talk(found), twice(found), _constant(found), _is_bce(found), _reduction(found)]


def _cross_talk(found: Fingerprint) -> Finding:
    if found.family == "of the mean":
        return Finding(
            "BCE003",
            Level.WARN,
            "the mean over the items is taken before a function that is not linear, so each target moves the "
            "gradients of "
            "all items: no item weighs more than another, as it should in a focal loss",
            'bce = binary_cross_entropy_with_logits(..., reduction="none"); the mean comes last',
        )
    if found.family != "cross-talk":
        return passed("BCE003")
    return Finding(
        "BCE003",
        Level.FAIL,
        f"turning one target around moves other items' gradients {found.cross_talk:.3f} times as much as its own: the "
        "loss compares every output with every target, as [N] and [N, 1] broadcast to [N, N]",
        "loss = loss_func(outputs, targets.reshape(outputs.shape))  # the shapes must be alike",
        {"cross-talk": found.cross_talk},
    )


def not_identified(reason: str) -> list[Finding]:
    """The same checks, for a loss that cannot be probed."""
    return [not_applicable(code, reason) for code in ("BCE003", "BCE006", "BCE007", "BCE008")]


def twice(found: Fingerprint) -> Finding:
    # It asks for logits that only rise above 0: what is taken for logits are probabilities already.
    saturates = found.lowest[:3] == (0.0, 0.0, 0.0) and found.lowest[4] > 0.5
    if not found.family.startswith("sigmoid twice") and not saturates:
        return passed("BCE004")
    return Finding(
        "BCE004",
        Level.FAIL,
        "the loss applies a sigmoid to what is already one: no output is taken for less than 1/2, and with BCE none "
        "costs "
        "less than 0.3133 (target 1) or 0.6931 (target 0)",
        "loss_func = torchbce.BCEWithLogitsLoss()  # on logits, without a sigmoid before it",
    )


def _constant(found: Fingerprint) -> Finding:
    if found.family != "constant":
        return passed("BCE006")
    return Finding(
        "BCE006",
        Level.FAIL,
        "the gradient is exactly 0 whatever the outputs are: a softmax or cross-entropy over one output is constant",
        "loss_func = torchbce.BCEWithLogitsLoss()  # one logit, no softmax",
    )


def _is_bce(found: Fingerprint) -> Finding:
    if found.family in ("cross-talk", "constant", "of the mean"):
        return not_applicable("BCE007", str(found))
    if found.family == "exchanged":
        text, fix = "outputs and targets are exchanged: the loss takes the outputs first", "loss_func(outputs, targets)"
        return Finding("BCE007", Level.FAIL, text, fix)
    if found.family != "bce":
        return _other(found)
    if found.turned or found.scale < 0:
        return Finding(
            "BCE007",
            Level.FAIL,
            f"targets are turned around: 0 becomes {found.low:g} and 1 becomes {found.high:g}"
            if found.scale > 0
            else "the loss has the wrong sign: lowering it makes predictions worse",
            "targets = 1 - targets" if found.scale > 0 else "loss = -loss",
            {"low": found.low, "high": found.high, "scale": found.scale},
        )
    return passed("BCE007", str(found))


def _other(found: Fingerprint) -> Finding:
    """A loss that is not BCE: another one that works, or one that no training can bring to an end."""
    fix, evidence = "torchbce.BCEWithLogitsLoss(), if BCE was meant", {"lowest": list(found.lowest)}
    at = dict(zip(SHARES, found.lowest, strict=False))
    ends = set(found.lowest) & {0.0, 1.0}
    if not at:
        return Finding("BCE007", Level.TIP, f"this is {found}", fix)
    if len(set(found.lowest)) == 1 and ends:
        text = (
            f"the loss is lowest where every output is {found.lowest[0]:g}, whatever the targets are: one of its two "
            "terms is missing"
        )
        return Finding("BCE007", Level.FAIL, text, "y log p + (1 - y) log(1 - p): both terms", evidence)
    if at[0.9] < at[0.1] - CLOSE:
        text = f"this is {found}; the more targets are 1, the lower are the outputs that it asks for, as for distances"
        return Finding(
            "BCE007", Level.TIP, text, "loss = -loss, or targets = 1 - targets, if outputs are logits", evidence
        )
    if found.is_proper:
        return Finding("BCE007", Level.TIP, f"this is {found}; it is lowest at the right probability", fix, evidence)
    if ends:
        share = next(share for share, where in at.items() if where in ends)
        text = (
            f"this is {found}, and it never ends: where {100 * share:g} % of the targets are 1, it is lowest at a "
            f"probability of {at[share]:g}, an infinite logit"
        )
        return Finding("BCE007", Level.WARN, text, fix, evidence)
    text = f"this is {found}; it is lowest at {at[0.9]:.2f} where 0.9 is right: its outputs are no probabilities"
    return Finding("BCE007", Level.TIP, text, fix, evidence)


def _reduction(found: Fingerprint) -> Finding:
    if found.family != "bce":
        return not_applicable("BCE008", "the loss is not BCE")
    if found.reduction == "sum":
        return Finding(
            "BCE008",
            Level.TIP,
            "the loss is a sum over the items: it and its gradient grow with the batch, and so does the step",
            'reduction="mean"',
            {"scale": found.scale},
        )
    return passed("BCE008", found.reduction)
