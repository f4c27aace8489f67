"""BCE029: whether numbers are what they are said to be. Nothing is converted: `from_logits` has to say it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.rules.predictions import TOO_FEW, auc_error
from torchbce.checks.rules.targets import are_probabilities, is_binary
from torchbce.explanation.result import Explanation
from torchbce.functional import binary_cross_entropy

SIGMOID_OF_1 = 1 / (1 + math.exp(-1))


def without_certain_logits(x: Tensor, y: Tensor) -> Tensor:
    """An infinite logit is a certain answer, and costs nothing where it is right."""
    right = (x == math.inf) & (y == 1) | (x == -math.inf) & (y == 0)
    return torch.where(right, 0.0, x)


def scale(x: Tensor, y: Tensor, from_logits: bool) -> Outcome:
    """BCE029: the range says what numbers are. Nothing is converted: `from_logits` has to say it."""
    low, high = (bound.item() for bound in x.aminmax())
    evidence = {"lowest": low, "highest": high}
    if not from_logits and not are_probabilities(x):
        return _outside(x, evidence)
    if len(x) < TOO_FEW:
        return not_applicable(f"fewer than {TOO_FEW} items")
    probabilities = x.double()
    if not from_logits and low >= 0.5 and high <= SIGMOID_OF_1 + 1e-6:
        undone = torch.logit(probabilities).clamp(0, 1)
        if _mean_loss(undone, y) < _mean_loss(probabilities, y):
            return fail(
                f"all probabilities lie in [{low:.4f}, {high:.4f}], as the sigmoid of [0, 1] does, and cost "
                "less with one sigmoid undone: it was applied twice",
                "apply it once: return logits from the model, and torch.sigmoid(logits) only to read them",
                evidence,
            )
    if from_logits and low >= 0 and high <= 1 and _mean_loss(probabilities, y) < _mean_loss(probabilities.sigmoid(), y):
        return fail(
            f"all logits lie in [{low:.4f}, {high:.4f}], and cost less if they are probabilities",
            "from_logits=False",
            evidence,
        )
    return passed()


def _outside(x: Tensor, evidence: dict[str, float]) -> Outcome:
    """Return what numbers may be that are said to be probabilities and are not."""
    low, high = evidence["lowest"], evidence["highest"]
    outside = int(((x < 0) | (x > 1)).sum())
    if not outside:
        return not_applicable("outputs are not finite")
    text = f"{outside} of {len(x)} probabilities are outside [0, 1], from {low:g} to {high:g}"
    if outside < 0.05 * len(x):
        return fail(text, "look at these outputs: outputs[(outputs < 0) | (outputs > 1)]", evidence)
    if low >= 0 and 20 < high <= 100:
        return fail(f"{text}: these look like percentages", "outputs / 100", evidence)
    return fail(f"{text}: these look like logits", "from_logits=True", evidence)


def _mean_loss(probabilities: Tensor, y: Tensor) -> float:
    """Return the mean loss; NaN, which compares with nothing, where targets are not allowed."""
    return binary_cross_entropy(probabilities, y.double()).item() if is_binary(y) else math.nan


@rule(
    "BCE029",
    "wrong-scale",
    "outputs are what they are said to be",
    target="predictions",
    explains=("BCE010", "BCE027", "BCE028"),
)
def direction(shown: Explanation) -> Outcome:
    """An AUC so far below one half is not chance."""
    error = auc_error(shown)
    if shown.floor is None and shown.auc < 0.5 - 5 * error and shown.auc < 0.45:
        return fail(
            f"AUC {shown.auc:.4f}: large outputs go with target 0, far beyond chance (+- {error:.4f})",
            "targets = 1 - targets, or take the other class's column",
            {"auc": shown.auc, "standard error": error},
        )
    return passed()


def two_columns(x: Tensor, y: Tensor) -> Outcome:
    """Return BCE029 for outputs of both classes."""
    return fail(
        f"outputs has two columns, one per class: shape {tuple(x.shape)} for {y.numel()} targets",
        "outputs = outputs[:, 1]  # of the positive class",
    )
