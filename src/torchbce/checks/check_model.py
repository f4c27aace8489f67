"""check: is this model going to learn, and if not, why?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import nn

from torchbce.checks import activations, gradients, shapes, start
from torchbce.checks.check_loss import findings_of, not_identified
from torchbce.checks.findings import Finding, Level, Report, not_applicable, passed, report, skipped
from torchbce.checks.fingerprint import LossFunction
from torchbce.checks.overlap import shared_items
from torchbce.checks.step import Step, fresh_gradients
from torchbce.checks.targets import finite, is_binary, targets_range
from torchbce.checks.trial import Trial, tensors_in, trial
from torchbce.common.batch import unpack

__all__ = ["check"]

RULES: dict[str, Callable[[Trial], Finding]] = {
    "BCE004": activations.activation_before_logits,
    "BCE005": activations.missing_sigmoid,
    "BCE009": shapes.pos_weight_shape,
    "BCE010": start.saturated_at_start,
    "BCE011": start.loss_at_start,
    "BCE012": start.head_bias,
    "BCE013": start.overfits_one_batch,
    "BCE014": start.conflicting_items,
    "BCE015": gradients.input_ignored,
    "BCE016": gradients.dead_gradient,
    "BCE019": gradients.batch_mixing,
}
FEWEST_ITEMS = 16  # of one class, before it is odd that there is no other
FEWEST_ZEROS = 256
MOST_BATCHES = 50  # of a loader, that are looked through for the other class
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
        findings = [_allowed(t), _finite(t), _runs(t)]
        findings += [gradients.optimizer_coverage(t, model, optimizer), _both_classes(t, batch)]
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
    known = not_identified("the loss fails on plain outputs") if t.loss is None else findings_of(t.loss)
    found = [finding for finding in known if finding.code != "BCE004"]
    pairs = _pairs(t)
    return found if pairs is None else [pairs, *(finding for finding in found if finding.code != "BCE003")]


def _pairs(t: Trial) -> Finding | None:
    """BCE003 on the batch's own shapes."""
    try:
        return shapes.compares_all(t) or shapes.compares_others(t)
    except Exception:  # shapes that differ and that the loss refuses
        return None


def _both_classes(t: Trial, batch: Any) -> Finding:
    """BCE033: in the batch, or in the next ones of a loader."""
    labels = t.labels
    if not is_binary(labels) or labels.numel() < FEWEST_ITEMS:
        return not_applicable("BCE033", f"targets are not 0 and 1, or fewer than {FEWEST_ITEMS}")
    first = labels.flatten()[0].item()
    if bool((labels != first).any()):
        return passed("BCE033")
    seen = labels.numel()
    if not isinstance(batch, list | tuple | Mapping):
        for other in itertools.islice(batch, MOST_BATCHES):
            targets = unpack(other)[1]
            if bool((targets != first).any()):
                return passed("BCE033")
            seen += targets.numel()
    # A batch without a positive is nothing special where they are rare.
    certain = first == 1 or seen >= FEWEST_ZEROS
    return Finding(
        "BCE033",
        Level.WARN if certain else Level.TIP,
        f"all {seen:,} targets are {first:g}: nothing can be learned from them, and little be checked",
        "give check a batch, or a loader, with both; look at whether the data are sorted by target",
        {"target": first, "items": seen},
    )


def _run(code: str, rule: Callable[[Trial], Finding], t: Trial) -> Finding:
    try:
        return rule(t)
    except Exception as error:  # a user's model may refuse what a check tries, such as half a batch
        return not_applicable(code, f"the model or the loss refused: {type(error).__name__}: {error}".split("\n")[0])


def _allowed(t: Trial) -> Finding:
    """BCE001, unless the loss is another, for which such targets are right."""
    found = targets_range(t.targets, t.counts)
    is_bce = t.loss is not None and t.loss.is_cross_entropy and not t.recoded
    if found.level is Level.FAIL and not is_bce and t.is_bounded():
        return passed("BCE001", "the loss has a lowest value for these targets, so it is one that takes them")
    return found


def _finite(t: Trial) -> Finding:
    """BCE002: where the outputs or the loss are not finite, the first tensor on the way to them that is not.

    A model or a loss may leave out what is not finite.
    """
    try:
        loss = {"loss": t.value(t.model).detach()}
    except Exception:  # it cannot be computed, which is BCE032
        loss = {}
    after = finite(outputs=t.outputs, **loss)
    if after.level is not Level.FAIL:
        return after if loss else not_applicable("BCE002", "the loss cannot be computed")
    before = finite(**dict(tensors_in(t.inputs, "inputs")), targets=t.labels)
    return before if before.level is Level.FAIL else after


def _runs(t: Trial) -> Finding:
    """BCE032: as in a training step."""
    model = t.copy()
    try:
        loss: object = t.value(model)
        if isinstance(loss, torch.Tensor):
            if loss.requires_grad:
                t.gradients(model, loss)
            return passed("BCE032")
        text, fix = f"the loss is a {type(loss).__name__}, no tensor", "return the loss itself, not loss.item()"
    except Exception as error:
        text, fix = f"{type(error).__name__}: {error}", _advice(t)
    return Finding(
        "BCE032", Level.FAIL, text, fix, {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)}
    )


def _advice(t: Trial) -> str:
    if t.outputs.shape != t.targets.shape and t.outputs.numel() == t.targets.numel():
        return "targets = targets.reshape(outputs.shape)"
    if not t.targets.is_floating_point():
        return "targets = targets.float()"
    return "call it as loss_func(outputs, targets), with tensors of one shape and dtype"
