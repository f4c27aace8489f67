"""BCE001, BCE002: which encoding impossible targets have, and where numbers are not finite."""

from __future__ import annotations

import torch
from torch import Tensor

from torchbce.checks.findings import Finding, Level, passed
from torchbce.common.encodings import encoding


def targets_range(targets: Tensor, counts: Tensor | None = None) -> Finding:
    """Below 0 or above 1 the loss has no lowest value: training it away makes it ever more negative.

    Targets where `counts` is False are labels that are missing, which the loss leaves out.
    """
    y = (targets if counts is None else targets[counts]).detach().double().flatten()
    finite = y[y.isfinite()]
    if not len(finite):
        return Finding("BCE001", Level.NOT_APPLICABLE, "there are no finite targets")
    low, high = (bound.item() for bound in finite.aminmax())
    if low >= 0 and high <= 1:
        left_out = 0 if counts is None else int((~counts).sum())
        return passed("BCE001", f"{left_out} missing labels, which the loss leaves out" if left_out else "")
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
    return Finding(
        "BCE001",
        Level.FAIL,
        f"{outside} of {len(y)} targets are outside [0, 1], from {low:g} to {high:g}{likely}",
        fix,
        {"lowest": low, "highest": high, "outside": outside, "count": len(y)},
    )


def finite(**tensors: Tensor) -> Finding:
    """NaN and infinities, in the first tensor that has any."""
    for name, tensor in tensors.items():
        values = tensor.detach().flatten()
        wrong = (~values.isfinite()).nonzero().flatten() if values.is_floating_point() else torch.zeros(0)
        if len(wrong):
            items = torch.unique(wrong // max(1, values.numel() // max(1, len(tensor) if tensor.ndim else 1)))
            rows = ", ".join(str(int(row) + 1) for row in items[:5]) + (", ..." if len(items) > 5 else "")
            first = values[int(wrong[0])].item()
            return Finding(
                "BCE002",
                Level.FAIL,
                f"{len(wrong)} of {len(values)} values of {name} are not finite: items {rows}; the first is {first}",
                f"look at {name} before the loss: torch.isfinite({name}).all()",
                {"tensor": name, "count": len(wrong), "first": int(wrong[0]) + 1},
            )
    return passed("BCE002")


def is_binary(targets: Tensor) -> bool:
    """Every target is 0 or 1."""
    return bool(((targets == 0) | (targets == 1)).all())


def are_probabilities(values: Tensor) -> bool:
    """Every value lies in [0, 1]; NaN does not."""
    return bool(((values >= 0) & (values <= 1)).all())
