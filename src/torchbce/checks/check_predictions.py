"""check_predictions: what predictions alone give away."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from torchbce.checks.findings import Finding, Level, Report, not_applicable, passed, report, skipped
from torchbce.checks.targets import are_probabilities, finite, is_binary, targets_range
from torchbce.explanation.explain import as_tensor, explanation, sketched
from torchbce.explanation.result import Explanation
from torchbce.functional import binary_cross_entropy

TOO_FEW = 100
SIGMOID_OF_1 = 1 / (1 + math.exp(-1))

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
        outputs, targets, from_logits, weight, cluster: as for :func:`torchbce.explain`; outputs and targets may have
        any
            values.
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
        found = [
            Finding(
                "BCE029",
                Level.FAIL,
                f"outputs has two columns, one per class: shape {tuple(x.shape)} for {y.numel()} targets",
                "outputs = outputs[:, 1]  # of the positive class",
            )
        ]
        return report(found, ignore=ignore)
    if x.shape != y.shape or not x.numel():
        raise ValueError(f"outputs has the shape {tuple(x.shape)} and targets {tuple(y.shape)}; write both alike")
    x, y = x.flatten(), y.flatten()
    x = x if x.is_floating_point() else x.double()
    findings = [targets_range(y), finite(outputs=_without_certain_logits(x, y) if from_logits else x, targets=y)]
    findings.append(_scale(x, y, from_logits))
    if all(finding.level is Level.PASS for finding in findings[:2]) and (from_logits or are_probabilities(x)):
        sketch, _ = sketched(x, y, from_logits=from_logits, weight=weight, cluster=cluster)
        shown = explanation(sketch, bands=False)
        findings[2] = _direction(findings[2], shown)
        findings += [_saturation(shown), *_worth(shown), _too_good(shown), _few_items(shown), _one_class(shown)]
    return report(findings, ignore=ignore, about=f"{len(x):,} predictions")


def _without_certain_logits(x: Tensor, y: Tensor) -> Tensor:
    """An infinite logit is a certain answer, and costs nothing where it is right."""
    right = (x == math.inf) & (y == 1) | (x == -math.inf) & (y == 0)
    return torch.where(right, 0.0, x)


def _scale(x: Tensor, y: Tensor, from_logits: bool) -> Finding:
    """BCE029: the range says what numbers are. Nothing is converted: `from_logits` has to say it."""
    low, high = (bound.item() for bound in x.aminmax())
    evidence = {"lowest": low, "highest": high}
    if not from_logits and not are_probabilities(x):
        return _outside(x, evidence)
    if len(x) < TOO_FEW:
        return not_applicable("BCE029", f"fewer than {TOO_FEW} items")
    probabilities = x.double()
    if not from_logits and low >= 0.5 and high <= SIGMOID_OF_1 + 1e-6:
        undone = torch.logit(probabilities).clamp(0, 1)
        if _mean_loss(undone, y) < _mean_loss(probabilities, y):
            return Finding(
                "BCE029",
                Level.FAIL,
                f"all probabilities lie in [{low:.4f}, {high:.4f}], as the sigmoid of [0, 1] does, and cost "
                "less with one sigmoid undone: it was applied twice",
                "apply it once: return logits from the model, and torch.sigmoid(logits) only to read them",
                evidence,
            )
    if from_logits and low >= 0 and high <= 1 and _mean_loss(probabilities, y) < _mean_loss(probabilities.sigmoid(), y):
        return Finding(
            "BCE029",
            Level.FAIL,
            f"all logits lie in [{low:.4f}, {high:.4f}], and cost less if they are probabilities",
            "from_logits=False",
            evidence,
        )
    return passed("BCE029")


def _outside(x: Tensor, evidence: dict[str, float]) -> Finding:
    """What numbers may be that are said to be probabilities and are none."""
    low, high = evidence["lowest"], evidence["highest"]
    outside = int(((x < 0) | (x > 1)).sum())
    if not outside:
        return not_applicable("BCE029", "outputs are not finite")
    text = f"{outside} of {len(x)} probabilities are outside [0, 1], from {low:g} to {high:g}"
    if outside < 0.05 * len(x):
        return Finding(
            "BCE029", Level.FAIL, text, "look at these outputs: outputs[(outputs < 0) | (outputs > 1)]", evidence
        )
    if low >= 0 and 20 < high <= 100:
        return Finding("BCE029", Level.FAIL, f"{text}: these look like percentages", "outputs / 100", evidence)
    return Finding("BCE029", Level.FAIL, f"{text}: these look like logits", "from_logits=True", evidence)


def _mean_loss(probabilities: Tensor, y: Tensor) -> float:
    """NaN, which compares with nothing, where targets are not allowed."""
    return binary_cross_entropy(probabilities, y.double()).item() if is_binary(y) else math.nan


def _direction(found: Finding, shown: Explanation) -> Finding:
    """BCE029 as well: an AUC so far below one half is no chance."""
    error = _auc_error(shown)
    if found.level is not Level.PASS or shown.floor is not None:
        return found
    if shown.auc < 0.5 - 5 * error and shown.auc < 0.45:
        return Finding(
            "BCE029",
            Level.FAIL,
            f"AUC {shown.auc:.4f}: large outputs go with target 0, far beyond chance (+- {error:.4f})",
            "targets = 1 - targets, or take the other class's column",
            {"auc": shown.auc, "standard error": error},
        )
    return found


def _saturation(shown: Explanation) -> Finding:
    share = shown.clamped / shown.count
    if share > 0.01:
        return Finding(
            "BCE010",
            Level.WARN,
            f"{shown.clamped:,} of {shown.count:,} items ({100 * share:.1f} %) gave probability 0 to what "
            f"happened and are clamped: {100 * shown.clamped_share:.1f} % of the loss, and no gradient",
            "loss_func = torchbce.BCEWithLogitsLoss()  # on the model's logits",
            {"clamped": shown.clamped, "share": share},
        )
    return passed("BCE010")


def _worth(shown: Explanation) -> tuple[Finding, Finding]:
    """BCE027 and BCE028; where both fire, predictions that separate are miscalibrated, and others are worth nothing."""
    base_rate, calibrated = _base_rate(shown), _calibration(shown)
    if base_rate.level is Level.WARN and calibrated.level is Level.WARN:
        if shown.auc - 0.5 > 4 * _auc_error(shown):
            return skipped("BCE027", "explained by BCE028"), calibrated
        return base_rate, skipped("BCE028", "explained by BCE027")
    return base_rate, calibrated


def _base_rate(shown: Explanation) -> Finding:
    """BCE027: worse than a constant for certain, or so many items that a difference would show, and none does."""
    error = _auc_error(shown)
    if shown.floor is not None or shown.count < TOO_FEW or not shown.baseline > 0:
        return not_applicable("BCE027", _untold(shown))
    spread = 4 * shown.standard_error * shown.count / (shown.weight_sum or shown.count)
    worse = shown.weighted_mean > shown.baseline + spread
    same = shown.d2 < 0.01 and abs(shown.auc - 0.5) < 3 * error < 0.05
    if not (worse or same):
        return passed("BCE027")
    return Finding(
        "BCE027",
        Level.WARN,
        f"{shown.weighted_mean:.4f} nats, and always answering {100 * shown.base_rate:.4g} % costs "
        f"{shown.baseline:.4f}: {'worse' if worse else 'no better'} than a constant; AUC {shown.auc:.4f}",
        "look at the features, and at whether the targets belong to these rows",
        {"mean": shown.weighted_mean, "baseline": shown.baseline, "auc": shown.auc},
    )


def _untold(shown: Explanation) -> str:
    """Why nothing can be said of how good predictions are."""
    if shown.floor is not None:
        return "targets are soft"
    return "all targets are alike" if not shown.baseline > 0 else f"fewer than {TOO_FEW} items"


def _one_class(shown: Explanation) -> Finding:
    """BCE033."""
    if shown.floor is not None or shown.count < TOO_FEW:
        return not_applicable(
            "BCE033", "targets are soft" if shown.floor is not None else f"fewer than {TOO_FEW} items"
        )
    if shown.baseline > 0:
        return passed("BCE033")
    return Finding(
        "BCE033",
        Level.WARN,
        f"all {shown.count:,} targets are {shown.base_rate:g}: no loss can say here whether items are told apart",
        "look at how these rows were chosen, and at the column of targets",
        {"target": shown.base_rate},
    )


def _auc_error(shown: Explanation) -> float:
    """The standard error of the AUC of outputs that tell nothing (Hanley and McNeil)."""
    ones = shown.base_rate * shown.count
    pairs = ones * (shown.count - ones)
    return math.sqrt(shown.design_effect * (shown.count + 1) / (12 * pairs)) if pairs > 0 else math.inf


def _calibration(shown: Explanation) -> Finding:
    found = shown.calibration
    if found is None:
        return not_applicable("BCE028", "soft targets or few items")
    if not found.is_off(shown.baseline):
        return passed("BCE028", found.in_words(shown.baseline))
    fix = f"logits = {found.slope:.3f} * logits {found.shift:+.3f}"
    if found.shift < -0.3 and 0.8 < found.slope < 1.25:
        fix += (
            f"\nwas it trained with pos_weight={math.exp(-found.shift):.3g}, or with negatives left out? "
            f"then subtract log({math.exp(-found.shift):.3g})"
        )
    return Finding(
        "BCE028",
        Level.WARN,
        found.in_words(shown.baseline),
        fix,
        {"slope": found.slope, "shift": found.shift, "gain": found.gain, "p": found.p_value},
    )


def _too_good(shown: Explanation) -> Finding:
    if shown.floor is not None or shown.count < TOO_FEW or not shown.baseline > 0:
        return not_applicable("BCE030", _untold(shown))
    if shown.normalized_entropy < 0.02:
        return Finding(
            "BCE030",
            Level.WARN,
            f"only {100 * shown.normalized_entropy:.2f} % of the baseline's loss is left: is the answer a feature?",
            "train without one feature after the other, and look for rows that are in both splits",
            {"normalized entropy": shown.normalized_entropy},
        )
    return passed("BCE030")


def _few_items(shown: Explanation) -> Finding:
    if shown.count < 1000:
        return not_applicable("BCE031", "fewer than 1,000 items")
    rare = min(shown.base_rate, 1 - shown.base_rate) < 0.02  # then the loss is where the few of the rarer class are
    if shown.worst_share > 0.5 and shown.normalized_entropy > 0.02 and not rare:
        rows = ", ".join(item.name for item in shown.items[:5])
        return Finding(
            "BCE031",
            Level.TIP,
            f"the worst 1 % of the items carry {100 * shown.worst_share:.1f} % of the loss; the first are items {rows}",
            "look at their labels",
            {"share": shown.worst_share, "items": [item.row for item in shown.items]},
        )
    return passed("BCE031")
