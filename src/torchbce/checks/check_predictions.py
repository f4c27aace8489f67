"""check_predictions: what predictions alone give away."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from torchbce.checks.findings import Finding, Level, Report, report, skipped
from torchbce.checks.rule import looks
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
    """What is wrong with predictions, seen from the predictions alone.

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
        return report([two_columns(x, y)], ignore=ignore)
    if x.shape != y.shape or not x.numel():
        raise ValueError(f"outputs has the shape {tuple(x.shape)} and targets {tuple(y.shape)}; write both alike")
    turned = transposed(x, y)
    x, y = x.flatten(), y.flatten()
    x = x if x.is_floating_point() else x.double()
    numbers = without_certain_logits(x, y) if from_logits else x
    found = {
        "BCE001": targets_range(y),
        "BCE002": finite(outputs=numbers, targets=y),
        "BCE003": turned,
        "BCE029": scale(x, y, from_logits),
    }
    plain = all(found[code].level is Level.PASS for code in ("BCE001", "BCE002"))
    if plain and (from_logits or are_probabilities(x)):
        sketch, _ = sketched(x, y, from_logits=from_logits, weight=weight, cluster=cluster)
        shown = explanation(sketch, bands=False)
        for code, look in looks("predictions").items():
            if code not in found or found[code].level is Level.PASS:
                found[code] = look(shown)
        _settle(found, shown)
    coded = [dataclasses.replace(finding, code=code) for code, finding in found.items()]
    return report(coded, ignore=ignore, about=f"{len(x):,} predictions")


def _settle(found: dict[str, Finding], shown: Explanation) -> None:
    """Where BCE027 and BCE028 both warn, predictions that separate are miscalibrated, and others are worth nothing."""
    if found["BCE027"].level is Level.WARN and found["BCE028"].level is Level.WARN:
        cause, other = ("BCE028", "BCE027") if shown.auc - 0.5 > 4 * auc_error(shown) else ("BCE027", "BCE028")
        found[other] = skipped(f"explained by {cause}", other)
