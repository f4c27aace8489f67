"""BCE018: does the user's own training step give the optimizer the gradient of its batch, and nothing else?"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.checks.catalogue.finding import Outcome, fail, not_applicable, passed
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.copies import copied, seed
from torchbce.checks.probing.surroundings import surroundings_kept
from torchbce.checks.probing.trial import Step, Trial, first_batch
from torchbce.common.batch import with_targets

MOST_CALLS = 16  # of a step that accumulates gradients, and takes its time before the optimizer moves


class _OwnOptimizer(Exception):
    """The step moved the user's optimizer instead of the one that it was given."""


@rule("BCE018", "gradient-order", "each optimizer step gets the gradient of its own batch", target="model")
def fresh_gradients(t: Trial) -> Outcome:
    """BCE018: on copies that cannot move, as the learning rate is 0, the same batch gives the same gradient again."""
    model, batch, step, optimizer = t.user.model, t.user.batch, t.user.step, t.user.optimizer
    if step is None or optimizer is None:
        return not_applicable("needs step and the optimizer")
    try:
        with _untouched(model, optimizer), surroundings_kept(step):
            seen, counts_all = _gradients(model, first_batch(batch), step, optimizer)
    except _OwnOptimizer:
        return not_applicable("step moves an optimizer of its own; write step(model, batch, optimizer)")
    return _judged(seen, counts_all)


@contextlib.contextmanager
def _untouched(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Leave the user's own model and optimizer as they are, though a step may know them.

    Raises:
        _OwnOptimizer: the step moved that optimizer.
    """
    own = optimizer.register_step_pre_hook(_refuse)
    rates = [group["lr"] for group in optimizer.param_groups]  # a schedule that step calls knows the user's optimizer
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    try:
        yield
    finally:
        own.remove()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient


def _gradients(model: nn.Module, batch: Any, step: Step, optimizer: torch.optim.Optimizer) -> tuple[list[Tensor], bool]:
    """Return all gradients in one row, as the optimizer finds them in its first two steps, or in fewer.

    Also whether earlier batches of several count: whether the next step finds another gradient if they have other
    targets.
    """
    model_copy, optimizer_copy = copied((model, optimizer))
    for group in optimizer_copy.param_groups:
        group["lr"] = 0 * group["lr"]
    seen: list[Tensor] = []

    def look(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(args) > 1 or kwargs.get("closure") is not None:
            raise TypeError("the optimizer computes its gradients itself, by a closure")
        parameters = [p for group in optimizer_copy.param_groups for p in group["params"]]
        rows = [torch.zeros_like(p) if p.grad is None else p.grad.detach().to_dense() for p in parameters]
        seen.append(torch.cat([row.double().flatten() for row in rows]))

    def go(data: Any) -> None:
        seed()  # the same dropout
        step(model_copy, copy.deepcopy(data), optimizer_copy)

    optimizer_copy.register_step_pre_hook(look)
    between = 0
    for _ in range(MOST_CALLS):
        between = between + 1 if len(seen) == 1 else 0
        go(batch)
        if len(seen) >= 2:
            break
    if len(seen) != 2 or between < 2:
        return seen, True
    other = with_targets(batch, lambda y: 1 - y)
    for _ in range(between - 1):
        go(other)
    go(batch)
    return seen[:2], len(seen) != 3 or not torch.equal(seen[2], seen[1])


def passes_of_a_step(t: Trial) -> int:
    """Return how often the user's own step runs the model; 0 where that is not known."""
    if t.user.step is None or t.user.optimizer is None:
        return 0
    model_copy, optimizer_copy = copied((t.user.model, t.user.optimizer))
    ran: list[object] = []
    model_copy.register_forward_hook(lambda *_: ran.append(None))
    try:
        with _untouched(t.user.model, t.user.optimizer), surroundings_kept(t.user.step):
            t.user.step(model_copy, copy.deepcopy(first_batch(t.user.batch)), optimizer_copy)
    except Exception:  # a step that fails, or moves another optimizer, is the business of BCE018
        return 0
    return len(ran)


def _judged(seen: list[Tensor], counts_all: bool) -> Outcome:
    order = "optimizer.zero_grad()\nloss.backward()\noptimizer.step()"
    if len(seen) < 2:
        text = f"optimizer.step() was called {len(seen)} times in {MOST_CALLS} calls of step"
        return fail(f"{text}: weights do not move", order)
    first, second = seen[:2]
    size = first.dot(first).item()
    if size == 0:
        late = ", and comes one batch late" if second.any() else ""
        return fail(f"optimizer.step() finds no gradient{late}: the order is wrong", order)
    ratio = first.dot(second).item() / size
    if abs(ratio - 2) < 1e-3:
        return fail(
            f"the gradient of the same batch is {ratio:.3f} times as large in the second step: the first stays in it",
            order,
            {"ratio": ratio},
        )
    if not counts_all:
        return fail(
            "of the batches between two optimizer steps only the last counts: zero_grad() throws the gradients of "
            "the others away",
            "loss.backward()\nif step % every == 0:\n    optimizer.step()\n    optimizer.zero_grad()",
        )
    return passed()


def _refuse(*_: object) -> None:
    raise _OwnOptimizer
