"""What a training step does, watched on copies that cannot move: passes, gradients, clipping, scaling, in order."""

from __future__ import annotations

import contextlib
import copy
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.probing.copies import copied, seed
from torchbce.checks.probing.parts import tensors_in
from torchbce.checks.probing.surroundings import surroundings_kept
from torchbce.checks.probing.trial import Trial, first_batch

CALLS = 3
MOST_CALLS = 16  # of a step that accumulates gradients
CLIPPING = {"clip_grad_norm_", "clip_grad_value_"}
TURNED = -0.9  # the cosine
SCALING = {"scale", "unscale_", "step"}


@dataclass
class Pass:
    """One call of the model.

    Attributes:
        call: which call of step it belongs to.
        tensor, outputs: the outputs, and a copy of their values, as the tensor may be changed in place.
        rows: which items of the batch it sees, in which order; None where its inputs are others.
        gradients: those that came back to the outputs, one by one.
        learnt: whether parameters got a gradient from it.
    """

    call: int
    inputs: Any
    returned: Any
    tensor: Tensor
    outputs: Tensor
    training: bool
    rows: Tensor | None
    gradients: list[Tensor] = field(default_factory=list)
    learnt: bool = False


@dataclass
class Window:
    """What happens until the optimizer takes a step.

    Attributes:
        passes: those whose gradients the optimizer finds.
        lost: those whose gradients were cleared before.
        repeats: how many times as large a gradient is after a second backward pass of the same outputs; 0 for one.
        clipped: whether gradients were clipped "before" the last backward pass only, "after" it, or "".
        clips: how often they were clipped with a backward pass in between.
        turned: whether the optimizer finds the opposite of what the backward passes left.
        scaled: by how much a GradScaler has multiplied the loss, where it has.
        gradient: what the optimizer finds, in one row.
    """

    passes: list[Pass] = field(default_factory=list)
    lost: list[Pass] = field(default_factory=list)
    repeats: float = 0.0
    clipped: str = ""
    clips: int = 0
    turned: bool = False
    clipped_scaled: bool = False
    scaled: float = 0.0
    unscaled: bool = False
    gradient: Tensor | None = None


@dataclass
class Watched:
    """What a few calls of the user's step do.

    Attributes:
        windows: one for each step of the optimizer.
        passes: all that could have had a gradient.
        blind: passes that could have none.
    """

    windows: list[Window]
    passes: list[Pass]
    blind: int


class _Seen(Exception):
    """Raised when what a closure does was seen, and its optimizer need not go on."""


def watched(t: Trial, calls: int = CALLS, *, batch: Any = None, start: int = 0) -> Watched:
    """Call the user's step with copies, a learning rate of 0 and training mode, until the optimizer has moved twice.

    batch: other data than the user's. start: another one draws other random numbers.
    """
    step, optimizer = t.user.step, t.user.optimizer
    assert step is not None
    assert optimizer is not None
    data = first_batch(t.user.batch) if batch is None else batch
    with surroundings_kept(step, t.user.model, optimizer):
        model_copy, optimizer_copy = copied((t.user.model, optimizer))
        if not model_copy.training:
            model_copy.train()
        for group in optimizer_copy.param_groups:
            group["lr"] = 0 * group["lr"]
        watch = _Watch(t, model_copy, optimizer_copy)
        with watch.going_on():
            for call in range(MOST_CALLS):
                watch.call = call
                seed(start + call)
                try:
                    step(model_copy, copy.deepcopy(data), optimizer_copy)
                except _Seen:
                    break
                if call + 1 >= calls and (calls < CALLS or len(watch.windows) >= 2):
                    break
    return Watched(watch.windows, watch.passes, watch.blind)


class _Watch:
    def __init__(self, t: Trial, model_copy: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.t, self.model_copy, self.optimizer = t, model_copy, optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.ours = {id(p) for p in model_copy.parameters()}
        self.position = [tensor is t.outputs for _, tensor in tensors_in(t.returned)].index(True)
        self.windows: list[Window] = []
        self.passes: list[Pass] = []
        self.blind = self.call = self.judged = 0
        self.now = Window()
        self.last: Pass | None = None
        self.first_gradient: dict[int, Tensor] = {}
        self.left: dict[int, Tensor] = {}

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        self.model_copy.register_forward_hook(self.forward, with_kwargs=True)
        for parameter in self.parameters:
            if parameter.requires_grad and parameter.is_leaf:
                parameter.register_post_accumulate_grad_hook(self.accumulated)
        self.optimizer.register_step_pre_hook(self.stepping)
        others = sys.getprofile()
        sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.setprofile(others)

    def forward(self, module: nn.Module, args: Any, kwargs: Any, returned: Any) -> None:
        tensors = [tensor for _, tensor in tensors_in(returned)]
        if self.position >= len(tensors):
            return
        outputs = tensors[self.position]
        if not outputs.requires_grad:
            self.blind += 1
            return
        inputs = kwargs or args
        rows = _rows_of(inputs, self.t.inputs, len(self.t.targets) if self.t.targets.ndim else 0)
        ran = Pass(self.call, inputs, returned, outputs, outputs.detach().clone(), module.training, rows)
        outputs.register_hook(lambda gradient: self.arrived(ran, gradient))  # type: ignore[no-untyped-call]
        self.passes.append(ran)

    def arrived(self, ran: Pass, gradient: Tensor) -> None:
        """A gradient is at the outputs, and not yet at the parameters."""
        ran.gradients.append(gradient.detach().clone())
        self.last = ran
        if self.now.passes and all(p.grad is None or not bool(p.grad.to_dense().any()) for p in self.parameters):
            self.now.lost += self.now.passes  # cleared since
            self.now.passes = []
            self.now.repeats = 0.0
            self.first_gradient = {}

    def accumulated(self, parameter: Tensor) -> None:
        if self.now.clipped == "after":
            self.now.clipped = "before"
        if self.last is None or parameter.grad is None:
            return
        self.last.learnt = True
        if not any(p is self.last for p in self.now.passes):
            self.now.passes.append(self.last)
        gradient = parameter.grad.detach().to_dense()
        self.left[id(parameter)] = gradient.clone()
        first = self.first_gradient.setdefault(id(parameter), gradient.clone())
        if len(self.last.gradients) == 2:
            size = float((first * first).sum())
            self.now.repeats = float((first * gradient).sum()) / size if size > 0 else 0.0

    def stepping(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is not None:
            with torch.enable_grad():
                closure()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in self.parameters]
        self.now.gradient = torch.cat([gradient.detach().double().flatten() for gradient in gradients])
        left = [self.left.get(id(p), torch.zeros_like(g)) for p, g in zip(self.parameters, gradients, strict=True)]
        before = torch.cat([gradient.double().flatten() for gradient in left])
        self.now.turned = float(before @ self.now.gradient) < TURNED * float(before.norm() * self.now.gradient.norm())
        if not self.now.passes and bool(self.now.gradient.any()):  # by autograd.grad, and put into .grad
            self.now.passes = [ran for ran in self.passes[self.judged :] if ran.gradients]
        self.judged = len(self.passes)
        self.windows.append(self.now)
        self.now, self.first_gradient, self.left, self.last = Window(), {}, {}, None
        if closure is not None:
            raise _Seen

    def profile(self, frame: types.FrameType, event: str, _: object) -> None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if name in CLIPPING and event == "return" and file.endswith("clip_grad.py"):
            if not self.clips(frame.f_locals):
                return
            self.now.clips += self.now.clipped != "after" and bool(self.now.passes)
            self.now.clipped = "after"  # of what was before
            self.now.clipped_scaled |= self.now.scaled > 0 and not self.now.unscaled
        elif name in SCALING and file.endswith("grad_scaler.py") and frame.f_locals["self"].is_enabled():
            if name == "scale" and event == "return":  # its first call makes the scale
                self.now.scaled = float(frame.f_locals["self"]._scale)
            elif name != "scale" and event == "call":
                self.now.unscaled = True

    def clips(self, seen: Mapping[str, Any]) -> bool:
        """Return whether these are gradients of the model's, from what a function that clips has in its hands."""
        gradients = {id(gradient) for gradient in seen.get("grads") or ()}
        if gradients:
            return any(id(p.grad) in gradients for p in self.parameters if p.grad is not None)
        parameters = seen.get("parameters")  # none of which has a gradient
        if isinstance(parameters, Tensor):
            return id(parameters) in self.ours
        return not isinstance(parameters, list | tuple) or any(id(p) in self.ours for p in parameters)


def _rows_of(inputs: Any, batch: Any, items: int) -> Tensor | None:
    """Return which items of a batch these inputs are; None where they are others, or equal items leave it open."""
    ours = [part for _, part in tensors_in(batch) if part.ndim and len(part) == items]
    theirs = [part for _, part in tensors_in(inputs) if part.ndim]
    count = len(theirs[0]) if theirs else 0
    theirs = [part for part in theirs if len(part) == count]
    if (
        not ours
        or len(ours) != len(theirs)
        or any(a.shape[1:] != b.shape[1:] for a, b in zip(ours, theirs, strict=True))
    ):
        return None
    if count == items and all(torch.equal(a.detach(), b.detach()) for a, b in zip(ours, theirs, strict=True)):
        return torch.arange(items)
    places: dict[bytes, int] = {}
    for number, row in enumerate(_bytes(ours)):
        if row in places:
            return None
        places[row] = number
    rows = [places.get(row) for row in _bytes(theirs)]
    return None if None in rows or not rows else torch.tensor(rows)


def _bytes(parts: list[Tensor]) -> list[bytes]:
    """Return the bytes of each item."""
    rows = [part.detach().cpu().double().reshape(len(part), -1).numpy() for part in parts]
    return [b"".join(row[i].tobytes() for row in rows) for i in range(len(rows[0]))]
