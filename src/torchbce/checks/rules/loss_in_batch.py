"""BCE007 of a loss together with the batch and the model that it is used with."""

from __future__ import annotations

from torchbce.checks.catalogue.finding import Level, Outcome, not_applicable, warn
from torchbce.checks.catalogue.registry import also_checks
from torchbce.checks.probing.by_design import one_class_by_design
from torchbce.checks.probing.graph import LINEAR, SIGMOIDS, is_free_layer, last_operation, last_operations
from torchbce.checks.probing.trial import Trial
from torchbce.checks.rules import loss_function
from torchbce.checks.rules.shapes import UNKNOWN_LOSS

BOUND = ("Softmax", "LogSoftmax")


@also_checks("BCE007", target="model")
def loss_is_bce(t: Trial) -> Outcome:
    """BCE007, but where outputs are bound to each other, or one target says it all: then one term is enough."""
    if t.loss is None:
        return not_applicable(UNKNOWN_LOSS)
    outcome = loss_function.loss_is_bce(t.loss)
    if outcome.level is Level.TIP and t.loss.is_reversed and _are_scores(t):
        return warn(
            f"this is {t.loss}, and raising a target lowers the output that it asks for: it makes predictions worse",
            "loss = -loss, or 1 - loss; for a loss of distances, let the model end with a distance",
        )
    if outcome.level is not Level.FAIL or not t.loss.lowest:
        return outcome
    if last_operation(t.outputs) in BOUND:
        return not_applicable("the outputs of an item are bound to each other, so one term is enough")
    labels = t.labels.flatten()
    if not len(labels) or bool((labels != t.loss.lowest[0]).any()):  # what the loss asks for is not what is wanted
        return outcome
    why = one_class_by_design(t)
    return not_applicable(why) if why else outcome


def _are_scores(t: Trial) -> bool:
    """Return whether the outputs are of a linear layer or a sigmoid, so larger for target 1; distances are not."""
    name, node = next(iter(last_operations(t.outputs, 1)), ("", None))
    return name in SIGMOIDS or (name.startswith(LINEAR) and is_free_layer(node))
