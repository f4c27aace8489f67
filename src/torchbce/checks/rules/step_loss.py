"""BCE036: does the user's own training step train on the loss that was given?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed, tip, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.trial import Trial
from torchbce.checks.probing.watched import Pass, Watched, Window, watched

EXACT, ROUGH = 1e-3, 0.03  # relative; of float32, and of 16 bits
DRAWS = 4  # of random numbers, in each of which shuffled targets are as many ones as before
FEWEST = 4  # targets that are elsewhere
MANY = 30.0  # times as large, or as small
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
NEEDS = "needs step and the optimizer"
FIXES = {
    "sign": "loss.backward()  # not (-loss).backward()",
    "flipped": "loss = loss_func(model(x), y)  # not 1 - y",
    "sigmoid": "loss = loss_func(model(x), y)  # the sigmoid is in the loss",
    "tanh": "loss = loss_func(model(x), y)  # without tanh",
    "relu": "loss = loss_func(model(x), y)  # without relu, as logits may be negative",
    "all pairs": "loss = loss_func(outputs, targets.reshape(outputs.shape))  # the shapes must be alike",
    "shuffled": "order = torch.randperm(len(x)); x, y = x[order], y[order]  # the same order for both",
}
TEXTS = {
    "sign": "step raises the loss that was given: its gradient at the outputs is the opposite of that of the loss",
    "flipped": "step trains on targets that are flipped: its gradient is that of the loss given with 1 - targets",
    "sigmoid": "step puts a sigmoid between the model and the loss: its gradient is that of the loss given, of "
    "sigmoid(outputs)",
    "tanh": "step puts tanh between the model and the loss: its gradient is that of the loss given, of tanh(outputs)",
    "relu": "step puts relu between the model and the loss: its gradient is that of the loss given, of relu(outputs)",
    "all pairs": "step compares every output with every target, as [N] and [N, 1] broadcast to [N, N]: each item's "
    "gradient is that of the mean target",
}


@dataclass(frozen=True)
class Verdict:
    """The kind of one pass's gradient: "given" or a mistake, or "" for another one.

    scale: how many times as large as that of the given loss.
    moved: how many targets are not those of the batch; 0 where that is not known.
    """

    kind: str
    scale: float = 1.0
    moved: int = 0


@rule("BCE036", "step-loss", "step trains on the loss that was given", target="model", explains=("BCE018",))
def step_loss(t: Trial) -> Outcome:
    """BCE036: the gradient that comes back to the model's outputs, beside that of the given loss at these outputs."""
    seen = watched_step(t)
    if isinstance(seen, str) or t.user.optimizer is None:
        return not_applicable(str(seen))
    first = seen.windows[0]
    if not seen.passes and not seen.blind:
        return not_applicable("step does not call the model that it is given; write step(model, batch, optimizer)")
    if not first.passes:
        return _without_gradient(seen)
    verdicts = [judged(t, ran) for ran in first.passes]
    kinds = {verdict.kind for verdict in verdicts}
    if kinds == {"shuffled"} and _is_shuffled(t):
        moved, items = verdicts[0].moved, first.passes[0].outputs.numel()
        text = f"step does not compare outputs with their own targets: {moved} of {items} targets are another item's"
        return fail(text, FIXES["shuffled"], {"moved": moved})
    maximizes = all(group.get("maximize") for group in t.user.optimizer.param_groups)
    if first.turned and kinds == {"given"} and not maximizes:
        text = "the gradients are turned between loss.backward() and optimizer.step(): the loss that was given rises"
        return fail(text, "loss.backward()\noptimizer.step()  # without p.grad = -p.grad")
    if "sign" in kinds and maximizes:
        return passed("step gives the optimizer, which maximizes, the negative of the loss")
    if len(kinds) == 1 and (kind := kinds.pop()) in TEXTS:
        level = warn if kind in ("tanh", "relu") else fail  # which may be meant
        return level(TEXTS[kind], FIXES[kind], {"scale": verdicts[0].scale})
    return _size(t, first, verdicts)


def watched_step(t: Trial) -> Watched | str:
    """Return what the user's step does until the optimizer moves, or why that cannot be seen."""
    if t.user.step is None or t.user.optimizer is None:
        return NEEDS
    seen = watched(t)
    return seen if seen.windows else "step did not call optimizer.step()"


def _without_gradient(seen: Watched) -> Outcome:
    gradient = seen.windows[0].gradient
    if seen.windows[0].lost or any(ran.gradients for ran in seen.passes) or (gradient is not None and gradient.any()):
        return not_applicable("no gradient of the model's outputs is there when the optimizer steps")
    if not seen.passes:
        text = "step runs the model without gradients, and then optimizer.step(): nothing is trained"
        return fail(text, "look for torch.no_grad(), inference_mode() or requires_grad_(False) around model(x)")
    return fail(
        "step calls optimizer.step(), and no gradient comes back to the model's outputs: the loss is cut off from them",
        "loss = loss_func(model(x), y); loss.backward()  # without .item(), .detach(), .data or torch.tensor(loss)",
    )


def _size(t: Trial, window: Window, verdicts: list[Verdict]) -> Outcome:
    """Check the size of the gradient of all passes together, where the direction is right or unknown."""
    if {verdict.kind for verdict in verdicts} != {"given"}:
        return passed("step trains on another loss, or on other items, than were given")
    scale = sum(verdict.scale for verdict in verdicts) / (window.scaled or 1.0)
    parts = len(verdicts)
    if parts > 1 and t.loss is not None and t.loss.reduction == "mean" and abs(scale / parts - 1) < EXACT:
        return tip(
            f"the gradients of {parts} parts of the batch add up: together they are {scale:.4g} times as large as that "
            "of the loss given",
            f"(loss / {parts}).backward()",
            {"scale": scale},
        )
    if scale > MANY or scale < 1 / MANY:
        return tip(
            f"the gradient of step is {scale:.4g} times as large as that of the loss given",
            "a loss that is a mean already needs no division by the number of items",
            {"scale": scale},
        )
    return passed(f"{scale:.4g} times the gradient of the loss given")


def judged(t: Trial, ran: Pass) -> Verdict:
    """Compare the gradient of a pass with that of the given loss at its outputs."""
    y = _targets_of(t, ran)
    if y is None:
        return Verdict("")
    tolerance = EXACT if ran.tensor.dtype in (torch.float32, torch.float64) else ROUGH
    gradient = ran.gradients[0].double()
    given = _gradient(t, ran, y)
    if given is None:
        return Verdict("")
    for kind, expected in _candidates(t, ran, y, given):
        if expected is not None and (scale := _times(gradient, expected, tolerance)) > 0:
            return Verdict(kind, scale)
    return _other_targets(t, ran, y, gradient, tolerance)


def _targets_of(t: Trial, ran: Pass) -> Tensor | None:
    """Return the targets that belong to a pass: by its rows, or all in their order where its inputs are changed."""
    if ran.rows is not None:
        return t.targets[ran.rows]
    if t.targets.ndim and ran.outputs.ndim and ran.outputs.shape == t.outputs.shape:
        return t.targets
    return None


def _candidates(t: Trial, ran: Pass, y: Tensor, given: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    """Yield the gradients that step may have, the right one first."""
    yield "given", given
    yield "sign", -given
    labels = torch.unique(y).tolist()
    if labels == [0, 1]:
        yield "flipped", _gradient(t, ran, 1 - y)
    if t.loss is None or not t.loss.is_cross_entropy:
        return
    for kind, change in CHANGES.items():
        yield kind, _gradient(t, ran, y, change)
    plain = t.loss.family == "bce" and t.loss.takes == "logits"
    if plain and labels == [0, 1] and y.numel() == ran.outputs.numel():
        yield "all pairs", torch.sigmoid(ran.outputs.double()) - y.double().mean()


def _other_targets(t: Trial, ran: Pass, y: Tensor, gradient: Tensor, tolerance: float) -> Verdict:
    """Check the targets that the signs of the gradients show, where they are not the batch's."""
    if ran.rows is None or torch.unique(y).tolist() != [0, 1] or y.numel() != gradient.numel():
        return Verdict("")
    shown = (gradient < 0).to(y.dtype).reshape(y.shape)
    moved = int((shown != y).sum())
    if moved < FEWEST or shown.sum() != y.sum():
        return Verdict("")
    expected = _gradient(t, ran, shown)
    if expected is None or not _times(gradient, expected, tolerance) > 0:
        return Verdict("")
    return Verdict("shuffled", moved=moved)


def _is_shuffled(t: Trial) -> bool:
    """Return whether other random numbers shuffle too: targets that are noisy on purpose vary in number."""
    for draw in range(1, DRAWS + 1):
        windows = watched(t, 1, start=100 * draw).windows
        if windows and {judged(t, ran).kind for ran in windows[0].passes} != {"shuffled"}:
            return False
    return True


def _gradient(t: Trial, ran: Pass, y: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Tensor | None:
    """Return the gradient of the given loss at the outputs of a pass; None where it refuses them."""
    outputs = ran.outputs.clone()
    if outputs.dtype in (torch.float16, torch.bfloat16):
        outputs = outputs.float()
    outputs.requires_grad_()
    there = dataclasses.replace(t, returned=ran.returned, outputs=ran.tensor)
    try:
        loss = there.loss_of(outputs if change is None else change(outputs), y.clone())
        (gradient,) = torch.autograd.grad(loss, outputs, allow_unused=True)
    except Exception:  # whatever a user's loss raises for outputs that it does not know
        return None
    return None if gradient is None or not gradient.isfinite().all() else gradient.double()


def _times(gradient: Tensor, expected: Tensor, tolerance: float) -> float:
    """Return how many times the expected gradient this one is; 0 for another one, below 0 for its opposite."""
    if gradient.numel() != expected.numel():
        return 0.0
    g, e = gradient.flatten(), expected.flatten()
    size = float(e @ e)
    if size == 0:
        return 0.0
    scale = float(g @ e) / size
    return scale if float((g - scale * e).abs().max()) <= tolerance * float(g.abs().max()) else 0.0
