"""What predictions give away, seen from their explanation."""

from __future__ import annotations

import math

from torchbce.checks.catalogue.finding import Outcome, not_applicable, passed, tip, warn
from torchbce.checks.catalogue.registry import also_checks, rule
from torchbce.explanation.result import Explanation

TOO_FEW = 100


@also_checks("BCE010", target="predictions")
def saturation(shown: Explanation) -> Outcome:
    share = shown.clamped / shown.count
    if share > 0.01:
        return warn(
            f"{shown.clamped:,} of {shown.count:,} items ({100 * share:.1f} %) gave probability 0 to what "
            f"happened and are clamped: {100 * shown.clamped_share:.1f} % of the loss, and no gradient",
            "loss_func = torchbce.BCEWithLogitsLoss()  # on the model's logits",
            {"clamped": shown.clamped, "share": share},
        )
    return passed()


@rule("BCE027", "no-better-than-base-rate", "predictions beat a constant", target="predictions")
def base_rate(shown: Explanation) -> Outcome:
    """BCE027: worse than a constant for certain, or so many items that a difference would show, and none does."""
    error = auc_error(shown)
    if shown.floor is not None or shown.count < TOO_FEW or not shown.baseline > 0:
        return not_applicable(_why_unknown(shown))
    spread = 4 * shown.standard_error * shown.count / (shown.weight_sum or shown.count)
    worse = shown.weighted_mean > shown.baseline + spread
    same = shown.d2 < 0.01 and abs(shown.auc - 0.5) < 3 * error < 0.05
    if not (worse or same):
        return passed()
    return warn(
        f"{shown.weighted_mean:.4f} nats, and always answering {100 * shown.base_rate:.4g} % costs "
        f"{shown.baseline:.4f}: {'worse' if worse else 'no better'} than a constant; AUC {shown.auc:.4f}",
        "look at the features, and at whether the targets belong to these rows",
        {"mean": shown.weighted_mean, "baseline": shown.baseline, "auc": shown.auc},
    )


def _why_unknown(shown: Explanation) -> str:
    """Return why nothing can be said of how good predictions are."""
    if shown.floor is not None:
        return "targets are soft"
    return "all targets are alike" if not shown.baseline > 0 else f"fewer than {TOO_FEW} items"


@also_checks("BCE033", target="predictions")
def one_class(shown: Explanation) -> Outcome:
    """BCE033."""
    if shown.floor is not None or shown.count < TOO_FEW:
        return not_applicable("targets are soft" if shown.floor is not None else f"fewer than {TOO_FEW} items")
    if shown.baseline > 0:
        return passed()
    return warn(
        f"all {shown.count:,} targets are {shown.base_rate:g}: no loss can say here whether items are told apart",
        "look at how these rows were chosen, and at the column of targets",
        {"target": shown.base_rate},
    )


def auc_error(shown: Explanation) -> float:
    """The standard error of the AUC of outputs that tell nothing (Hanley and McNeil)."""
    ones = shown.base_rate * shown.count
    pairs = ones * (shown.count - ones)
    return math.sqrt(shown.design_effect * (shown.count + 1) / (12 * pairs)) if pairs > 0 else math.inf


@rule("BCE028", "miscalibrated", "probabilities are right on the whole", target="predictions")
def calibration(shown: Explanation) -> Outcome:
    line, verdict = shown.calibration, shown.miscalibrated
    if line is None or verdict is None:
        return not_applicable(shown.withheld.get("slope", "there is one class"))
    if not verdict.is_off:
        return passed(str(verdict))
    fix = f"logits = {line.slope:.3f} * logits {line.shift:+.3f}"
    if not verdict.by_line:
        fix = "sklearn.isotonic.IsotonicRegression(out_of_bounds='clip'), fitted on predictions of other items"
    elif line.shift < -0.3 and 0.8 < line.slope < 1.25:
        fix += (
            f"\nwas it trained with pos_weight={math.exp(-line.shift):.3g}, or with negatives left out? "
            f"then subtract log({math.exp(-line.shift):.3g})"
        )
    values = {"slope": line.slope, "shift": line.shift, "gain": line.gain, "p": line.p_value}
    return warn(str(verdict), fix, values | {"miscalibration": line.miscalibration})


@rule("BCE030", "too-good", "predictions are not too good to be true", target="predictions")
def too_good(shown: Explanation) -> Outcome:
    if shown.floor is not None or shown.count < TOO_FEW or not shown.baseline > 0:
        return not_applicable(_why_unknown(shown))
    if shown.normalized_entropy < 0.02:
        return warn(
            f"only {100 * shown.normalized_entropy:.2f} % of the baseline's loss is left: is the answer a feature?",
            "train without one feature after the other, and look for rows that are in both splits",
            {"normalized entropy": shown.normalized_entropy},
        )
    return passed()


@rule("BCE031", "few-items-carry-the-loss", "no handful of items carries the loss", target="predictions")
def few_items(shown: Explanation) -> Outcome:
    if shown.count < 1000:
        return not_applicable("fewer than 1,000 items")
    rare = min(shown.base_rate, 1 - shown.base_rate) < 0.02  # then the loss is where the few of the rarer class are
    if shown.worst_share > 0.5 and shown.normalized_entropy > 0.02 and not rare:
        rows = ", ".join(item.name for item in shown.items[:5])
        return tip(
            f"the worst 1 % of the items carry {100 * shown.worst_share:.1f} % of the loss; the first are items {rows}",
            "look at their labels",
            {"share": shown.worst_share, "items": [item.row for item in shown.items]},
        )
    return passed()
