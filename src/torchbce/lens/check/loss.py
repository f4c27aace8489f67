"""check_loss: which loss function is this, and is it the one that was meant?"""

from __future__ import annotations

from collections.abc import Collection

from torchbce.lens.check.findings import Finding, Level, Report, not_applicable, passed, report
from torchbce.lens.check.fingerprint import Fingerprint, LossFunction, fingerprint

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
    return [_cross_talk(found), _twice(found), _constant(found), _is_bce(found), _reduction(found)]


def _cross_talk(found: Fingerprint) -> Finding:
    if found.family != "cross-talk":
        return passed("BCE003")
    return Finding(
        "BCE003",
        Level.FAIL,
        f"turning one target around moves other items' gradients {found.cross_talk:.3f} times as much as its own: the "
        "loss compares every output with every target, as [N] and [N, 1] broadcast to [N, N]",
        "loss = loss_func(outputs, targets.unsqueeze(1))  # the shapes must be alike",
        {"cross-talk": found.cross_talk},
    )


def not_identified(reason: str) -> list[Finding]:
    """The same checks, for a loss that cannot be probed."""
    return [not_applicable(code, reason) for code in ("BCE003", "BCE006", "BCE007", "BCE008")]


def _twice(found: Fingerprint) -> Finding:
    if found.family != "sigmoid twice":
        return passed("BCE004")
    return Finding(
        "BCE004",
        Level.FAIL,
        "the loss applies a sigmoid to what is already one: no output can cost less than 0.3133 (target 1) or 0.6931 "
        "(target 0)",
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
    if found.family in ("cross-talk", "constant"):
        return not_applicable("BCE007", str(found))
    if found.family != "bce":
        return Finding("BCE007", Level.TIP, f"this is {found}", "torchbce.BCEWithLogitsLoss(), if BCE was meant")
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
