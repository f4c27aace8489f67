"""BCE002 and BCE032: whether the loss can be computed, and is a number."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Level, Outcome, fail, not_applicable, passed
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.parts import tensors_in
from torchbce.checks.probing.trial import Trial


@rule(
    "BCE002",
    "non-finite",
    "numbers are finite",
    target="model",
    explains=("BCE010", "BCE021", "BCE027", "BCE028", "BCE030", "BCE031", "BCE032"),
)
def all_finite(t: Trial) -> Outcome:
    """BCE002: where the outputs or the loss are not finite, the first tensor on the way to them that is not.

    A model or a loss may leave out what is not finite.
    """
    try:
        loss = {"loss": t.value(t.model).detach()}
    except Exception:  # it cannot be computed, which is BCE032
        loss = {}
    after = finite(outputs=t.outputs, **loss)
    if after.level is not Level.FAIL:
        return after if loss else not_applicable("the loss cannot be computed")
    before = finite(**dict(tensors_in(t.inputs, "inputs")), targets=t.labels)
    return before if before.level is Level.FAIL else after


@rule(
    "BCE032",
    "loss-runs",
    "the loss can be computed and differentiated",
    target="model",
    explains=("BCE013", "BCE015", "BCE016", "BCE019"),
)
def loss_runs(t: Trial) -> Outcome:
    """BCE032: as in a training step."""
    model = t.copy()
    try:
        loss: object = t.value(model)
        if isinstance(loss, torch.Tensor):
            if loss.requires_grad:
                t.gradients(model, loss)
            return passed()
        text, fix = f"the loss is a {type(loss).__name__}, not a tensor", "return the loss itself, not loss.item()"
    except Exception as error:
        text, fix = f"{type(error).__name__}: {error}", _advice(t)
    return fail(text, fix, {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)})


def _advice(t: Trial) -> str:
    if t.outputs.shape != t.targets.shape and t.outputs.numel() == t.targets.numel():
        return "targets = targets.reshape(outputs.shape)"
    if not t.targets.is_floating_point():
        return "targets = targets.float()"
    return "call it as loss_func(outputs, targets), with tensors of one shape and dtype"


def finite(**tensors: Tensor) -> Outcome:
    """Find NaN and infinities, in the first tensor that has any."""
    for name, tensor in tensors.items():
        values = tensor.detach().flatten()
        wrong = (~values.isfinite()).nonzero().flatten() if values.is_floating_point() else torch.zeros(0)
        if len(wrong):
            items = torch.unique(wrong // max(1, values.numel() // max(1, len(tensor) if tensor.ndim else 1)))
            rows = ", ".join(str(int(row) + 1) for row in items[:5]) + (", ..." if len(items) > 5 else "")
            first = values[int(wrong[0])].item()
            return fail(
                f"{len(wrong)} of {len(values)} values of {name} are not finite: items {rows}; the first is {first}",
                f"look at {name} before the loss: torch.isfinite({name}).all()",
                {"tensor": name, "count": len(wrong), "first": int(wrong[0]) + 1},
            )
    return passed()
