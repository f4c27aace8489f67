"""BCE039: thirty steps with the user's own optimizer, on a copy, beside thirty steps with a plain one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.copies import copied, seed
from torchbce.checks.probing.parts import take_rows
from torchbce.checks.probing.trial import DROPOUTS, Trial
from torchbce.checks.probing.watched import watched
from torchbce.checks.rules.step_loss import judged
from torchbce.explanation.statistics.entropy import cross_entropy

STEPS = 30
ITEMS = 64
LN2 = math.log(2)
RISEN = 1.1  # times the loss at the start, or of a constant answer
JUMP, GROWN = 10.0, 50.0  # both together, as a healthy network may jump, and a new layer may grow
STILL = 3e-9  # of a weight's size, in a step: three hundred million steps to move by it
HEAVY = 1.0  # a weight decay that is looked at
VANISHED = 0.05
PLAIN = 1e-3  # the learning rate of Adam


@dataclass(frozen=True)
class Run:
    """The losses of some steps of a copy, and how far its weights moved.

    Attributes:
        losses: before each step, as far as they are finite.
        moved: how far a step moves the weights, of their size.
        grown: how many times as large the weights are afterwards.
    """

    losses: list[float]
    moved: float
    grown: float

    @property
    def lowest(self) -> float:
        """Return the lowest of the last ten losses, as a loss may jump."""
        return min(self.losses[-10:])


@rule("BCE039", "optimizer-settings", "the optimizer lowers the loss", target="model")
def optimizer_settings(t: Trial) -> Outcome:
    """BCE039: what is said rests on the losses of copies and on how far weights move, not on the settings' values."""
    optimizer = t.user.optimizer
    if optimizer is None:
        return not_applicable("needs the optimizer")
    groups = optimizer.param_groups
    held = {id(p) for group in groups for p in group["params"]}
    if not any(p.requires_grad and id(p) in held for p in t.user.model.parameters()):
        return not_applicable("the optimizer has no parameter of the model that is trained")
    if any(not isinstance(group.get("lr"), float | int | Tensor) for group in groups):
        return not_applicable("the optimizer has no learning rate")
    if any(group.get("maximize") for group in groups) and (outcome := _maximizes(t)) is not None:
        return outcome
    if isinstance(optimizer, torch.optim.LBFGS):
        return not_applicable("LBFGS chooses its own steps, and cannot be copied")
    if all(float(group["lr"]) == 0 for group in groups):
        return not_applicable("the learning rate is 0 now")
    run, plain = _run(t, lambda model, model_copy: model_copy), _run(t, lambda model, model_copy: _plain(model))
    if len(plain.losses) < STEPS or plain.losses[0] - plain.lowest < 0.01 * max(1.0, plain.losses[0]):
        return passed("a plain optimizer hardly lowers the loss either")
    outcome = _diverged(t, run, plain) or _stands(groups, run) or _decayed(t, groups)
    return outcome or passed(f"{run.losses[0]:.4f} to {run.losses[-1]:.4f} in {STEPS} steps")


def _maximizes(t: Trial) -> Outcome | None:
    """Find maximize=True, unless step gives it the negative of the loss."""
    if not all(group.get("maximize") for group in t.user.optimizer.param_groups):  # type: ignore[union-attr]
        return None
    if t.loss is None or t.loss.family != "bce" or t.loss.scale < 0:
        return None
    if t.user.step is not None:
        windows = watched(t).windows
        kinds = {judged(t, ran).kind for ran in windows[0].passes} if windows else set()
        if kinds != {"given"}:
            return None
    return fail("the optimizer has maximize=True: its steps raise the loss", "maximize=False")


def _diverged(t: Trial, run: Run, plain: Run) -> Outcome | None:
    """The loss does not come down again, or it jumps and weights become many times as large as they were."""
    start = max(run.losses[0], LN2)
    higher = len(run.losses) < STEPS or run.lowest > RISEN * start
    exploded = max(run.losses) > JUMP * start and run.grown > GROWN
    if not higher and not exploded:
        return None
    if exploded:
        end = f"jumps to {max(run.losses):.4g}, and weights become {run.grown:,.3g} times as large as they were"
    else:
        end = f"comes to {run.lowest:.4g}" if len(run.losses) == STEPS else "comes to what is no number"
    return warn(
        f"in {STEPS} steps of the optimizer, on a copy, the loss of this batch is {run.losses[0]:.4f} and {end}; "
        f"Adam with a learning rate of {PLAIN:g} brings it to {plain.lowest:.4f}",
        f"a smaller learning rate than {_rates(t.user.optimizer)}, such as 0.001 for Adam and 0.01 for SGD",
        {"start": run.losses[0], "end": run.losses[-1], "highest": max(run.losses), "Adam": plain.lowest},
    )


def _stands(groups: list[dict[str, Any]], run: Run) -> Outcome | None:
    """Find weights that do not move, where no schedule will come to a larger rate."""
    if run.moved > STILL or any(_later(group) > float(group["lr"]) for group in groups):
        return None
    return warn(
        f"in {STEPS} steps of the optimizer, on a copy, weights move by {run.moved:.2g} of their size in each, and the "
        f"loss of this batch goes from {run.losses[0]:.6f} to {run.losses[-1]:.6f}: nothing is learnt",
        f"a larger learning rate than {max(float(group['lr']) for group in groups):g}, such as 0.001",
        {"start": run.losses[0], "end": run.losses[-1], "moved": run.moved},
    )


def _decayed(t: Trial, groups: list[dict[str, Any]]) -> Outcome | None:
    """A weight decay that does not let weights grow, at a rate at which thirty steps show where that ends."""
    heaviest = max(float(group.get("weight_decay") or 0) for group in groups)
    if heaviest < HEAVY:
        return None

    def with_decay(share: float) -> Run:
        def change(_: nn.Module, model_copy: torch.optim.Optimizer) -> torch.optim.Optimizer:
            for group in model_copy.param_groups:
                group["lr"] = 0.3 / heaviest + 0 * group["lr"]
                group["weight_decay"] = share * float(group.get("weight_decay") or 0)
            return model_copy

        return _run(t, change)

    slow, free = with_decay(1.0), with_decay(0.0)
    if len(slow.losses) < STEPS or len(free.losses) < STEPS:
        return None
    start = min(slow.losses[0], _constant(t))
    learns_less = free.lowest < 0.7 * start and start - slow.lowest < 0.3 * (start - free.lowest)
    vanished = slow.grown < VANISHED < free.grown and slow.lowest > 0.95 * start
    if not learns_less and not vanished:
        return None
    return warn(
        f"weight_decay={heaviest:g} keeps the weights too small to learn: in {STEPS} large steps, on a copy, the loss "
        f"of this batch goes from {slow.losses[0]:.4f} to {slow.lowest:.4f} with it, and to {free.lowest:.4f} without",
        "weight_decay=0.01, or less",
        {"with": slow.lowest, "without": free.lowest},
    )


def _run(t: Trial, change: Callable[[nn.Module, torch.optim.Optimizer], torch.optim.Optimizer]) -> Run:
    """Run thirty steps of a copy without dropout, on the batch's first items; fewer where the loss is no number."""
    model, optimizer = copied((t.user.model, t.user.optimizer))
    assert optimizer is not None
    if not model.training:
        model.train()
    for module in model.modules():
        if isinstance(module, DROPOUTS):
            module.eval()
    optimizer = change(model, optimizer)
    rows = torch.arange(min(ITEMS, len(t.targets))) if t.can_be_cut and t.targets.ndim else None
    inputs, targets = (t.inputs, t.targets) if rows is None else (take_rows(t.inputs, rows), t.targets[rows])
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    before = [p.detach().clone() for p in parameters]
    losses: list[float] = []
    seed()
    for _ in range(STEPS):
        loss = t.value(model, inputs, targets)
        if not loss.isfinite():
            break
        losses.append(loss.item())
        t.gradients(model, loss)
        optimizer.step()
    size = max(_norm(before), 1e-30)
    away = _norm([p.detach() - b for p, b in zip(parameters, before, strict=True)])
    return Run(losses, away / size / STEPS, _norm(parameters) / size)


def _norm(tensors: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))


def _plain(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=PLAIN)


def _constant(t: Trial) -> float:
    """Return what always answering the base rate costs, where the targets are 0 and 1; otherwise infinity."""
    if not bool(((t.labels == 0) | (t.labels == 1)).all()):
        return math.inf
    share = t.labels.double().mean().item()
    return cross_entropy(share, share)


def _later(group: dict[str, Any]) -> float:
    """The rate that a schedule may come to."""
    return max(float(group.get("initial_lr") or 0), float(group.get("max_lr") or 0))


def _rates(optimizer: torch.optim.Optimizer | None) -> str:
    assert optimizer is not None
    return ", ".join(f"{rate:g}" for rate in sorted({float(group["lr"]) for group in optimizer.param_groups}))
