"""check_predictions: what predictions alone give away."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torchbce.checks.catalogue.finding import Finding, Level, skipped
from torchbce.checks.report import Report, report
from torchbce.checks.rules import catalogue, rules_for
from torchbce.checks.rules.layout import transposed
from torchbce.checks.rules.loss_value import finite
from torchbce.checks.rules.predictions import auc_error
from torchbce.checks.rules.scale import scale, two_columns, without_certain_logits
from torchbce.checks.rules.targets import are_probabilities, targets_range
from torchbce.explanation.data.summarize import sketched
from torchbce.explanation.explain import explanation
from torchbce.explanation.result import Explanation
from torchbce.explanation.sketch.items import as_tensor

__all__ = ["check_predictions"]


def check_predictions(
    outputs: Any,
    targets: Any,
    *,
    from_logits: bool,
    weight: Any = None,
    cluster: Any = None,
    ignore: Collection[str] = (),
) -> Report:
    """Say what is wrong with predictions, from the predictions alone.

    Args:
        outputs, targets, from_logits, weight, cluster: as for :func:`torchbce.explain`; any values are allowed.
        ignore: codes to leave out.

    Returns:
        A :class:`Report`.

    Raises:
        ValueError: the shapes differ, there are no items, a weight is negative or not finite, or there is no such code
            to ignore.

    Example:
        >>> print(check_predictions([2.0, -1.0, 0.3], [1, 0, 1], from_logits=False).issues[0].code)
        BCE029
    """
    x, y = as_tensor("outputs", outputs), as_tensor("targets", targets)
    if x.shape != y.shape and x.numel() == 2 * y.numel() and x.shape[-1] == 2:
        return report([catalogue()["BCE029"].finding(two_columns(x, y))], ignore=ignore)
    if x.shape != y.shape or not x.numel():
        raise ValueError(f"outputs has the shape {tuple(x.shape)} and targets {tuple(y.shape)}; write both alike")
    turned = transposed(x, y)
    x, y = x.flatten(), y.flatten()
    x = x if x.is_floating_point() else x.double()
    numbers = without_certain_logits(x, y) if from_logits else x
    outcomes = {
        "BCE001": targets_range(y),
        "BCE002": finite(outputs=numbers, targets=y),
        "BCE003": turned,
        "BCE029": scale(x, y, from_logits),
    }
    findings = {code: catalogue()[code].finding(outcome) for code, outcome in outcomes.items()}
    plain = all(findings[code].level is Level.PASS for code in ("BCE001", "BCE002"))
    if plain and (from_logits or are_probabilities(x)):
        sketch, _ = sketched(x, y, from_logits=from_logits, weight=weight, cluster=cluster)
        explained = explanation(sketch, bands=False)
        for code, check in rules_for("predictions").items():
            if code not in findings or findings[code].level is Level.PASS:
                findings[code] = check(explained)
        _settle(findings, explained)
    return report(findings.values(), ignore=ignore, about=f"{len(x):,} predictions")


def _settle(findings: dict[str, Finding], explained: Explanation) -> None:
    """Keep one of BCE027 and BCE028: predictions that separate are miscalibrated, and others are worth nothing."""
    if findings["BCE027"].level is Level.WARN and findings["BCE028"].level is Level.WARN:
        separates = explained.auc - 0.5 > 4 * auc_error(explained)
        cause, other = ("BCE028", "BCE027") if separates else ("BCE027", "BCE028")
        findings[other] = catalogue()[other].finding(skipped(f"explained by {cause}"))
