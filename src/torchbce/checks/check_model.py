"""check: is this model going to learn, and if not, why?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from torchbce.checks.catalogue.finding import Finding, Level, not_applicable, skipped
from torchbce.checks.probing.form import LossFunction
from torchbce.checks.probing.trial import Step, Trial, UserObjects, trial
from torchbce.checks.report import Report, report
from torchbce.checks.rules import catalogue, rules_for
from torchbce.checks.rules.shapes import UNKNOWN_LOSS

__all__ = ["check"]

BASIC = ("BCE001", "BCE002", "BCE032")  # where one of these fails, only the static ones are tried, which need no loss
STATIC = ("BCE003", "BCE004", "BCE005", "BCE009", "BCE017", "BCE018", "BCE030", "BCE033", "BCE041", "BCE042")
USERS_ERRORS = ("BCE017", "BCE030", "BCE033")  # errors in what the user gave are the user's to see


def check(
    model: nn.Module,
    batch: Any,
    loss_func: LossFunction,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    step: Step | None = None,
    valid: Any = None,
    ignore: Collection[str] = (),
) -> Report:
    """Try a model, a batch and a loss function together, before training, and name known mistakes.

    Works on copies: weights, gradients, buffers and modes of the model and the loss, the batch and the random numbers
    stay as they are, and so does what your step holds on to, such as schedulers, scalers and counters. Takes some
    hundred steps on eight items, and with an optimizer some thirty on up to 64.

    Args:
        model: any module.
        batch: ``(inputs, targets)``, a dict with a key named target, targets, label, labels or y, or a loader of such.
        loss_func: maps (outputs, targets) to a loss.
        optimizer: a copy of it takes thirty steps on a copy of the model.
        step: your training step, ``step(model, batch, optimizer)``; called some times on copies, and compared with
            the loss.
        valid: validation data, a batch or a loader, to look for items that are in both; up to 100,000 of each are read.
        ignore: codes to leave out.

    Returns:
        A :class:`Report`; its first line names the loss.

    Raises:
        ValueError: the batch has no inputs and targets, or a code does not exist.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
        >>> batch = torch.randn(32, 4), (torch.arange(32.0) % 2)[:, None]
        >>> check(model, batch, nn.BCEWithLogitsLoss()).issues[0].code
        'BCE004'
    """
    report((), ignore=ignore)  # an unknown code is known before the work
    with trial(UserObjects(model, batch, optimizer, step, valid), loss_func) as t:
        findings = [rules_for("model")[code](t) for code in BASIC]
        broken = any(finding.level is Level.FAIL for finding in findings)
        for code in rules_for("model"):
            if code in ignore or code in BASIC:
                continue
            runs = not broken or code in STATIC
            without = skipped("targets, numbers or shapes are broken")
            findings.append(_checked(code, t) if runs else catalogue()[code].finding(without))
        for code in ("BCE006", "BCE008"):
            unknown = catalogue()[code].finding(not_applicable(UNKNOWN_LOSS))
            findings.append(unknown if t.loss is None else rules_for("loss")[code](t.loss))
        about = "" if t.loss is None else str(t.loss)
    return report(findings, ignore=ignore, about=about)


def _checked(code: str, t: Trial) -> Finding:
    """Return what a rule finds; where the model or the loss raises, that it does not apply."""
    try:
        return rules_for("model")[code](t)
    except Exception as error:  # a user's model may refuse what a check tries, such as half a batch
        if code in USERS_ERRORS:
            raise
        reason = f"the model or the loss refused: {type(error).__name__}: {error}"
        return catalogue()[code].finding(not_applicable(reason.split("\n")[0]))
