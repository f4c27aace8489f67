"""BCE001, BCE002: which encoding impossible targets have, and where numbers are not finite."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Level, Outcome, fail, not_applicable, outcome, passed
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.by_design import one_class_by_design
from torchbce.checks.probing.trial import Trial
from torchbce.checks.rules.training_step import passes_of_a_step
from torchbce.common.batch import unpack
from torchbce.common.encodings import encoding

FEWEST_ITEMS = 16  # of one class, before it is odd that there is no other
FEWEST_ZEROS = 256
MOST_BATCHES = 50  # of a loader, that are looked through for the other class


def targets_range(targets: Tensor, counts: Tensor | None = None) -> Outcome:
    """Find targets outside [0, 1], for which the loss has no lowest value and training makes it ever more negative.

    Targets where `counts` is False are labels that are missing, which the loss leaves out.
    """
    y = (targets if counts is None else targets[counts]).detach().double().flatten()
    finite = y[y.isfinite()]
    if not len(finite):
        return not_applicable("there are no finite targets")
    low, high = (bound.item() for bound in finite.aminmax())
    if low >= 0 and high <= 1:
        left_out = 0 if counts is None else int((~counts).sum())
        return passed(f"{left_out} missing labels, which the loss leaves out" if left_out else "")
    outside = int(((finite < 0) | (finite > 1)).sum())
    values = torch.unique(finite)
    name, fix = encoding(low, high) or ("", "(targets == positive_value).float()")
    if len(values) > 2 and (low, high) in ((0.0, 2.0), (-1.0, 1.0)):
        name = ""  # three classes
    fix = fix if fix.startswith("loss") else f"targets = {fix}"
    whole = bool((values == values.round()).all())
    if not name and whole and low >= 0 and len(values) > 2:
        name, fix = f"class numbers 0 to {high:g}", "loss_func = torch.nn.CrossEntropyLoss()  # one output per class"
    likely = f"; these look like {name}" if name else ""
    return fail(
        f"{outside} of {len(y)} targets are outside [0, 1], from {low:g} to {high:g}{likely}",
        fix,
        {"lowest": low, "highest": high, "outside": outside, "count": len(y)},
    )


def is_binary(targets: Tensor) -> bool:
    """Return whether every target is 0 or 1."""
    return bool(((targets == 0) | (targets == 1)).all())


def are_probabilities(values: Tensor) -> bool:
    """Return whether every value lies in [0, 1]; NaN does not."""
    return bool(((values >= 0) & (values <= 1)).all())


@rule(
    "BCE001",
    "targets-range",
    "targets lie in [0, 1]",
    target="model",
    explains=("BCE007", "BCE021", "BCE027", "BCE028", "BCE029"),
)
def allowed(t: Trial) -> Outcome:
    """BCE001, unless the loss is another, for which such targets are right."""
    outcome = targets_range(t.targets, t.counts)
    is_bce = t.loss is not None and t.loss.is_cross_entropy and not t.recoded
    if outcome.level is Level.FAIL and t.maps:
        return passed("the loss turns these targets into probabilities")
    if outcome.level is Level.FAIL and not is_bce and t.is_bounded():
        return passed("the loss has a lowest value for these targets, so it is one that takes them")
    return outcome


@rule("BCE033", "one-class", "both targets occur", target="model", explains=("BCE027", "BCE030"))
def both_classes(t: Trial) -> Outcome:
    """BCE033: in the batch, or in the next ones of a loader."""
    labels, batch = t.labels, t.user.batch
    if not is_binary(labels) or labels.numel() < FEWEST_ITEMS:
        return not_applicable(f"targets are not 0 and 1, or fewer than {FEWEST_ITEMS}")
    first = labels.flatten()[0].item()
    if bool((labels != first).any()):
        return passed()
    seen = labels.numel()
    if not isinstance(batch, list | tuple | Mapping):
        for other in itertools.islice(batch, MOST_BATCHES):
            targets = unpack(other)[1]
            if bool((targets != first).any()):
                return passed()
            seen += targets.numel()
    why = one_class_by_design(t) if first == 1 else ""
    if why or passes_of_a_step(t) > 1:
        return passed(why or "the step runs the model several times, so it may have others of its own")
    # A batch without a positive is nothing special where they are rare.
    certain = first == 1 or seen >= FEWEST_ZEROS
    return outcome(
        Level.WARN if certain else Level.TIP,
        f"all {seen:,} targets are {first:g}: nothing can be learned from them, and little be checked",
        "give check a batch, or a loader, with both; look at whether the data are sorted by target",
        {"target": first, "items": seen},
    )
