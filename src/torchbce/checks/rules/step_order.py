"""BCE037, BCE038: does the user's own training step do each thing once, in its order, and in training mode?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.trial import Trial, first_batch
from torchbce.checks.probing.watched import Watched, Window, watched
from torchbce.checks.rules.step_loss import NEEDS, watched_step
from torchbce.common.batch import with_targets

ORDER = "loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()"
SCALED = "scaler.scale(loss).backward()\nscaler.unscale_(optimizer)\n{}scaler.step(optimizer)\nscaler.update()"
CLIP = "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"


@rule("BCE037", "step-order", "step does each thing once, and clips and unscales in time", target="model")
def step_order(t: Trial) -> Outcome:
    """BCE037: clipping and scaling as they are called, and what the gradients become."""
    seen = watched_step(t)
    if isinstance(seen, str):
        return not_applicable(seen)
    return _scaling(seen) or _clipping(seen) or _twice(seen.windows[0]) or _lost(t, seen.windows[0]) or passed()


def _scaling(seen: Watched) -> Outcome | None:
    for window in seen.windows:
        if window.scaled and not window.unscaled:
            return fail(
                f"the optimizer gets gradients that a GradScaler has multiplied by {window.scaled:,.6g}, as "
                "optimizer.step() is called and not scaler.step(optimizer)",
                SCALED.format(""),
                {"scale": window.scaled},
            )
        if window.clipped_scaled:
            return fail(
                f"gradients are clipped while a GradScaler has multiplied them by {window.scaled:,.6g}: the limit is "
                "so many times too low",
                SCALED.format(CLIP),
                {"scale": window.scaled},
            )
    return None


def _clipping(seen: Watched) -> Outcome | None:
    clipped = [window.clipped for window in seen.windows]
    if seen.windows[0].clips > 1 and len(seen.windows[0].passes) > 1:
        return warn(
            f"gradients that are being accumulated are clipped {seen.windows[0].clips} times before one "
            "optimizer.step(): those of the earlier parts are clipped again and again, and count less",
            "for x, y in parts:\n    (loss_func(model(x), y) / len(parts)).backward()\n" + CLIP + "optimizer.step()",
            {"clips": seen.windows[0].clips},
        )
    if "before" not in clipped or "after" in clipped:
        return None
    where = "before loss.backward()" if clipped[0] == "before" else "after optimizer.step()"
    return fail(f"gradients are clipped {where}: the optimizer gets them as they were, of any size", ORDER)


def _twice(window: Window) -> Outcome | None:
    """Find the same gradient at the outputs of one pass twice, and twice as much of it in the parameters."""
    if len(window.passes) != 1 or len(gradients := window.passes[0].gradients) != 2:
        return None
    first, second = gradients
    if not torch.allclose(first, second, rtol=1e-5) or abs(window.repeats - 2) > 1e-3:
        return None
    return fail(
        "backward() runs twice on the same loss: the gradient is twice as large",
        "loss.backward()  # once, and without retain_graph=True",
        {"ratio": window.repeats},
    )


def _lost(t: Trial, window: Window) -> Outcome | None:
    """Find parts of one batch of which the optimizer sees the last ones only: the others' targets change nothing."""
    counted = {row for ran in window.passes if ran.rows is not None for row in ran.rows.tolist()}
    lost = {row for ran in window.lost if ran.rows is not None for row in ran.rows.tolist()}
    if not counted or not lost or counted & lost or any(ran.rows is None for ran in window.passes + window.lost):
        return None
    rows = torch.tensor(sorted(lost))
    again = watched(t, 1, batch=_other_targets(first_batch(t.user.batch), rows))
    if window.gradient is None or not again.windows or again.windows[0].gradient is None:
        return None
    if not torch.equal(again.windows[0].gradient, window.gradient):
        return None
    return fail(
        f"of the parts of a batch only the last counts: zero_grad() throws the gradients of {len(lost)} of "
        f"{len(lost | counted)} items away before optimizer.step()",
        "optimizer.zero_grad()\nfor x, y in parts:\n    (loss_func(model(x), y) / len(parts)).backward()\n"
        "optimizer.step()",
        {"lost": len(lost), "items": len(lost | counted)},
    )


def _other_targets(batch: Any, rows: Tensor) -> Any:
    """Return the batch with the targets of these rows flipped."""

    def flipped(y: Tensor) -> Tensor:
        return y.clone().index_copy_(0, rows, 1 - y[rows])

    return with_targets(batch, flipped)


@rule("BCE038", "step-mode", "step trains in training mode", target="model")
def step_mode(t: Trial) -> Outcome:
    """BCE038: the mode of the passes whose gradients the optimizer gets; the first call begins in training mode."""
    if t.user.step is None or t.user.optimizer is None:
        return not_applicable(NEEDS)
    layers = {type(module).__name__ for module in t.user.model.modules() if _differs(module)}
    if not layers:
        return not_applicable("no layer is another one in evaluation")
    seen = watched(t)
    passes = [ran for window in seen.windows for ran in window.passes]
    still = [ran for ran in passes if not ran.training]
    if not passes:
        return not_applicable("no gradient of the model's outputs is there when the optimizer steps")
    if not still:
        return passed()
    names = ", ".join(sorted(layers))
    if any(ran.training and ran.call < still[0].call for ran in passes):
        return fail(
            f"step leaves the model in evaluation mode: from call {still[0].call + 1} on it trains without "
            f"what {names} does in training",
            "model.train()  # after each evaluation",
            {"call": still[0].call + 1},
        )
    return warn(
        f"step trains in evaluation mode: {names} does not do what it does in training",
        "model.train()  # before the loop over batches; model.eval() for evaluation only",
    )


def _differs(module: nn.Module) -> bool:
    """Return whether a layer is another one in evaluation, and not switched off."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats and module.training
