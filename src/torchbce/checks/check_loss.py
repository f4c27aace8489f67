"""check_loss: which loss function is this, and is it the one that was meant?"""

from __future__ import annotations

from collections.abc import Collection

from torchbce.checks.probing.fingerprint import fingerprint
from torchbce.checks.probing.form import LossFunction
from torchbce.checks.report import Report, report
from torchbce.checks.rules import rules_for

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
    loss = fingerprint(loss_func, columns=columns)
    findings = [check(loss) for check in rules_for("loss").values()]
    return report(findings, ignore=ignore, about=str(loss))
