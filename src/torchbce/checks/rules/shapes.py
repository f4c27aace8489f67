"""Which output the loss compares with which target: BCE003 and BCE009."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import also_checks, rule
from torchbce.checks.probing.trial import Trial
from torchbce.checks.rules import loss_function

UNKNOWN_LOSS = "the loss fails on plain outputs"
PROBES = 9  # targets that are flipped
STRANGER = 1e-3  # an own target that moves the gradient less than this, beside what it moves elsewhere, is none


@also_checks("BCE003", target="model")
def cross_talk(t: Trial) -> Outcome:
    """BCE003 on the batch's own shapes; else as the loss alone shows it."""
    if t.loss is not None and t.loss.is_paired:
        return passed()
    try:
        outcome = compares_one(t) or compares_all(t) or compares_others(t)
    except Exception:  # shapes that differ and that the loss refuses
        outcome = None
    if outcome is not None:
        return outcome
    return not_applicable(UNKNOWN_LOSS) if t.loss is None else loss_function.cross_talk(t.loss)


def compares_one(t: Trial) -> Outcome | None:
    """Find BCE003 of a model that returns one row for the whole batch, which broadcasts against all of them."""
    rows = len(t.targets) if t.targets.ndim else 0
    if t.outputs.ndim != t.targets.ndim or rows < 2 or len(t.outputs) != 1:
        return None
    if t.outputs.shape[1:] != t.targets.shape[1:]:
        return None
    places = 0, t.targets.numel() - t.targets[0].numel()  # the same place of the first item and of the last
    if not all((moved := _moved_by(t, item)) is not None and moved.flatten()[0] > 0 for item in places):
        return None
    return fail(
        f"outputs have the shape {list(t.outputs.shape)} and targets {list(t.targets.shape)}, which broadcast: one row "
        f"of outputs is compared with the targets of all {rows} items",
        "one row for each item: look at view() and reshape() in the model, as x.flatten(1)",
        {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)},
    )


def compares_all(t: Trial) -> Outcome | None:
    """Find BCE003 on the batch itself: outputs and targets of different shapes, which the loss lets broadcast."""
    if t.outputs.shape == t.targets.shape or t.outputs.numel() != t.targets.numel() or t.targets.numel() < 2:
        return None
    moved = _moved_by(t, 0)
    if moved is None or not (_alike(moved) or _reaches_all(t, moved)):
        return None
    shapes = f"{list(t.outputs.shape)} and targets {list(t.targets.shape)}"
    return fail(
        f"outputs have the shape {shapes}, which broadcast: the loss compares every output with every target",
        _reshaped(t),
        {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)},
    )


def _alike(moved: Tensor) -> bool:
    own, others = moved.flatten()[0].item(), moved.flatten()[1:]
    return own != 0 and abs(others.min().item() / own - 1) <= 0.01 and abs(others.max().item() / own - 1) <= 0.01


def _reaches_all(t: Trial, moved: Tensor) -> bool:
    """Return whether a target moves the gradients of all items, and its own alone once it has the shape of the outputs.

    Outputs (N, 1, H, W) and targets (N, H, W) become (N, N, H, W).
    """
    try:
        if (t.outputs.detach() + t.targets.detach()).numel() <= t.outputs.numel():
            return False
        reshaped = dataclasses.replace(t, targets=t.targets.reshape(t.outputs.shape))
        alone = _moved_by(reshaped, 0)
    except Exception:  # shapes that do not broadcast, or that the loss refuses
        return False
    if alone is None or len(moved) < 2 or len(moved) != len(alone):
        return False
    everywhere, own = (found.reshape(len(found), -1).amax(1) for found in (moved, alone))
    return bool((everywhere > STRANGER * everywhere.max()).all()) and bool((own[1:] == 0).all()) and bool(own[0] > 0)


def compares_others(t: Trial) -> Outcome | None:
    """Find BCE003 where an item's own target hardly moves its gradient, and that of another item does."""
    if (
        t.outputs.numel() != t.targets.numel()
        or t.outputs.ndim == 0
        or len(t.outputs) != len(t.targets)
        or len(t.outputs) < 4
    ):
        return None
    size = t.targets.numel() // len(t.targets)
    rows, places, steps = [], [], set()
    generator = torch.Generator().manual_seed(0)
    for item in torch.randint(t.targets.numel(), (PROBES,), generator=generator).tolist():
        moved = _moved_by(t, item)
        if moved is None:
            return None
        if not moved.max() > 0:  # a target that has no say
            continue
        moved = moved.reshape(len(t.outputs), -1)
        most, largest = int(moved.argmax()), STRANGER * moved.max().item()
        if moved[item // size].max().item() < largest:
            rows.append((item // size + 1, most // size + 1))
        places.append(moved.flatten()[item].item() < largest)
        steps.add(most - item)
    if len(places) < 3:
        return None
    if len(rows) > len(places) / 2:
        own, other = rows[0]
        return _misplaced(t, f"item {own} is compared with the target of item {other}, and not with its own")
    # Within an item a constant step may be meant: the next word of a sequence.
    if sum(places) > len(places) / 2 and len(steps) > 2:
        return _misplaced(t, "within an item, outputs are compared with the targets of other places")
    return None


@rule("BCE009", "pos-weight-shape", "pos_weight is one weight per class", target="model", explains=("BCE013",))
def pos_weight_shape(t: Trial) -> Outcome:
    """BCE009: torch takes pos_weight as classes, also where it was meant as items."""
    weight = getattr(t.loss_func, "pos_weight", None)
    if not isinstance(weight, Tensor):
        return not_applicable("the loss has no pos_weight")
    per_item = weight.shape == t.outputs.shape[:1] if t.outputs.ndim == 1 else weight.ndim == t.outputs.ndim
    if per_item and weight.shape[0] == len(t.outputs) > 1:
        return warn(
            f"pos_weight has {weight.numel()} values, as many as the batch has items: the last dimension is the class",
            "weight=... for one weight per item; a single pos_weight for one class",
        )
    return passed()


def _moved_by(t: Trial, item: int) -> Tensor | None:
    """Return how far each output's gradient moves if one target, by its number, is flipped; None without gradients."""
    gradients = []
    first = t.targets.reshape(-1)[item]
    for value in (first, 1 - first):
        targets = t.targets.clone(memory_format=torch.contiguous_format)
        targets.view(-1)[item] = value
        outputs = t.outputs.detach().clone().requires_grad_()
        gradient = torch.autograd.grad(t.loss_of(outputs, targets), outputs, allow_unused=True)[0]
        if gradient is None or not gradient.isfinite().all():
            return None
        gradients.append(gradient.double())
    return (gradients[1] - gradients[0]).abs()


def _misplaced(t: Trial, text: str) -> Outcome:
    return fail(
        f"flipping a target does not move the gradient of its own output, but that of another: {text}",
        "look for a shift such as outputs[:-1] beside targets[1:], and for view() or reshape() where transpose() or "
        "permute() was meant",
        {"outputs": list(t.outputs.shape), "targets": list(t.targets.shape)},
    )


def _reshaped(t: Trial) -> str:
    """The change of shape that brings both together, on the side where it belongs."""
    if t.outputs.ndim == t.targets.ndim + 1 and t.outputs.shape[-1] == 1:
        return "loss = loss_func(outputs, targets.unsqueeze(-1))"
    if t.targets.ndim == t.outputs.ndim + 1 and t.targets.shape[-1] == 1:
        return "loss = loss_func(outputs, targets.squeeze(-1))"
    return "loss = loss_func(outputs, targets.reshape(outputs.shape))"
