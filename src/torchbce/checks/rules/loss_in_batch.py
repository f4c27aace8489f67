"""BCE007 of a loss together with the batch and the model that it is used with."""

from __future__ import annotations

from torchbce.checks.findings import Finding, Level, not_applicable
from torchbce.checks.probing.by_design import one_class_by_design
from torchbce.checks.probing.graph import last_operation
from torchbce.checks.probing.trial import Trial
from torchbce.checks.rule import finds
from torchbce.checks.rules import loss_function
from torchbce.checks.rules.shapes import UNKNOWN_LOSS

BOUND = ("Softmax", "LogSoftmax")


@finds("BCE007", on="model")
def loss_is_bce(t: Trial) -> Finding:
    """BCE007, but where outputs are bound to each other, or one target says it all: then one term is enough."""
    if t.loss is None:
        return not_applicable(UNKNOWN_LOSS)
    found = loss_function.loss_is_bce(t.loss)
    if found.level is not Level.FAIL or not t.loss.lowest:
        return found
    if last_operation(t.outputs) in BOUND:
        return not_applicable("the outputs of an item are bound to each other, so one term is enough")
    why = one_class_by_design(t) if bool((t.labels == t.labels.flatten()[:1]).all()) else ""
    return not_applicable(why) if why else found
