"""check: is this model going to learn, and if not, why?"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from torchbce.lens.check import start, structure
from torchbce.lens.check.findings import Finding, Level, Report, not_applicable, passed, report, skipped
from torchbce.lens.check.fingerprint import LossFunction, fingerprint
from torchbce.lens.check.loss import findings_of, not_identified
from torchbce.lens.check.overlap import shared_items
from torchbce.lens.check.step import Step, fresh_gradients
from torchbce.lens.check.targets import finite, targets_range
from torchbce.lens.check.trial import Trial, trial

__all__ = ["check"]

RULES: dict[str, Callable[[Trial], Finding]] = {
    "BCE004": structure.activation_before_logits,
    "BCE005": structure.missing_sigmoid,
    "BCE009": structure.pos_weight_shape,
    "BCE010": start.saturated_at_start,
    "BCE011": start.loss_at_start,
    "BCE012": start.head_bias,
    "BCE013": start.overfits_one_batch,
    "BCE014": start.conflicting_items,
    "BCE015": structure.input_ignored,
    "BCE016": structure.dead_gradient,
    "BCE019": structure.batch_mixing,
}
STATIC = ("BCE004", "BCE005", "BCE009")  # look at what there is, and need no loss


def check(
    model: nn.Module,
    batch: Any,
    loss_func: LossFunction,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    step: Step | None = None,
    valid: Any = None,
    ignore: Collection[str] = (),
) -> Report:
    """Try a model, a batch and a loss function together, before training, and name known mistakes.

    Works on copies: weights, gradients, buffers and modes of the model and the loss, the batch and the random numbers
    stay as they are. Takes some hundred steps on eight items.

    Args:
        model: any module.
        batch: ``(inputs, targets)``, a dict with a key named target, targets, label, labels or y, or a loader of such.
        loss_func: maps (outputs, targets) to a loss.
        optimizer: looked at, not used.
        step: your training step, ``step(model, batch, optimizer)``; called some times on copies.
        valid: validation data, a batch or a loader, to look for items that are in both; up to 100,000 of each are read.
        ignore: codes to leave out.

    Returns:
        A :class:`Report`; its first line names the loss.

    Raises:
        ValueError: the batch is none, or a code does not exist.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
        >>> batch = torch.randn(32, 4), (torch.arange(32.0) % 2)[:, None]
        >>> check(model, batch, nn.BCEWithLogitsLoss()).issues[0].code
        'BCE004'
    """
    report((), ignore=ignore)  # an unknown code is known before the work
    with trial(model, batch, loss_func) as t:
        findings = [targets_range(t.targets), _finite(t), _runs(t), structure.optimizer_coverage(model, optimizer)]
        if "BCE018" not in ignore:
            findings.append(_run("BCE018", lambda _: fresh_gradients(model, batch, step, optimizer), t))
        if "BCE030" not in ignore:
            findings.append(shared_items(batch, valid))
        findings += _loss_findings(t)
        broken = any(finding.level is Level.FAIL for finding in findings[:3])
        for code, rule in RULES.items():
            if code in ignore:
                continue
            runs = not broken or code in STATIC
            findings.append(_run(code, rule, t) if runs else skipped(code, "targets, numbers or shapes are broken"))
        about = "" if t.loss is None else str(t.loss)
    return report(findings, ignore=ignore, about=about)


def _loss_findings(t: Trial) -> list[Finding]:
    """What the loss function is, and what it makes of this batch's shapes; BCE004 is judged with the model."""
    if t.loss is None:
        return not_identified("the loss fails on plain outputs")
    try:
        broadcast = structure.compares_all(t)
    except Exception:  # shapes that differ and that the loss refuses
        broadcast = None
    found = [finding for finding in findings_of(t.loss) if finding.code != "BCE004"]
    return found if broadcast is None else [broadcast, *(finding for finding in found if finding.code != "BCE003")]


def _run(code: str, rule: Callable[[Trial], Finding], t: Trial) -> Finding:
    try:
        return rule(t)
    except Exception as error:  # a user's model may refuse what a check tries, such as half a batch
        return not_applicable(code, f"the model or the loss refused: {type(error).__name__}: {error}".split("\n")[0])


def _finite(t: Trial) -> Finding:
    tensors = {"inputs": t.inputs} if isinstance(t.inputs, torch.Tensor) else {}
    found = finite(**tensors, targets=t.targets, outputs=t.outputs)
    if found.level is Level.FAIL:
        return found
    try:
        return finite(loss=t.value(t.model))
    except Exception:
        return not_applicable("BCE002", "the loss cannot be computed")


def _runs(t: Trial) -> Finding:
    """BCE032: as in a training step."""
    model = t.copy()
    try:
        loss: object = t.value(model)
        if isinstance(loss, torch.Tensor):
            if loss.requires_grad:
                t.gradients(model, loss)
            if t.loss is not None or not _exchanged(t):
                return passed("BCE032")
            text, fix = "outputs and targets are exchanged", "loss_func(outputs, targets)"
            return Finding("BCE032", Level.FAIL, text, fix)
        text, fix = f"the loss is a {type(loss).__name__}, no tensor", "return the loss itself, not loss.item()"
    except Exception as error:
        text, fix = f"{type(error).__name__}: {error}", _advice(t)
    return Finding(
        "BCE032", Level.FAIL, text, fix, {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)}
    )


def _exchanged(t: Trial) -> bool:
    """Whether the loss is BCE for the targets as outputs."""
    try:
        return fingerprint(lambda outputs, targets: t.loss_func(targets, outputs)).family == "bce"
    except ValueError:
        return False


def _advice(t: Trial) -> str:
    if t.outputs.shape != t.targets.shape and t.outputs.numel() == t.targets.numel():
        return "targets = targets.reshape(outputs.shape)"
    if not t.targets.is_floating_point():
        return "targets = targets.float()"
    return "call it as loss_func(outputs, targets), with tensors of one shape and dtype"
