"""BCE018: does the user's own training step give the optimizer the gradient of its batch, and nothing else?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchbce.lens.check.findings import Finding, Level, not_applicable, passed
from torchbce.lens.check.trial import first_batch, seed

Step = Callable[[nn.Module, Any, torch.optim.Optimizer], object]
MOST_CALLS = 16  # of a step that accumulates gradients, and takes its time before the optimizer moves


class _OwnOptimizer(Exception):
    """The step moved the user's optimizer instead of the one that it was given."""


def fresh_gradients(
    model: nn.Module, batch: Any, step: Step | None, optimizer: torch.optim.Optimizer | None
) -> Finding:
    """BCE018: on copies that cannot move, as the learning rate is 0, the same batch gives the same gradient again."""
    if step is None or optimizer is None:
        return not_applicable("BCE018", "needs step and the optimizer")
    own = optimizer.register_step_pre_hook(_refuse)
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    try:
        first, second = _two_gradients(model, batch, step, optimizer)
    except _OwnOptimizer:
        return not_applicable("BCE018", "step moves an optimizer of its own; write step(model, batch, optimizer)")
    finally:
        own.remove()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
    return _judged(first, second)


def _two_gradients(
    model: nn.Module, batch: Any, step: Step, optimizer: torch.optim.Optimizer
) -> tuple[Tensor | None, Tensor | None]:
    """All gradients in one row, as the optimizer finds them in its first two steps; None where it takes no step."""
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    for group in twin_optimizer.param_groups:
        group["lr"] = 0 * group["lr"]
    seen: list[Tensor] = []

    def look(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if len(args) > 1 or kwargs.get("closure") is not None:
            raise TypeError("the optimizer computes its gradients itself, by a closure")
        parameters = [p for group in twin_optimizer.param_groups for p in group["params"]]
        rows = [(torch.zeros_like(p) if p.grad is None else p.grad).detach().double().flatten() for p in parameters]
        seen.append(torch.cat(rows))

    twin_optimizer.register_step_pre_hook(look)
    batch = first_batch(batch)
    for _ in range(MOST_CALLS):
        seed()  # the same dropout
        step(twin, copy.deepcopy(batch), twin_optimizer)
        if len(seen) >= 2:
            return seen[0], seen[1]
    return (seen[0] if seen else None), None


def _judged(first: Tensor | None, second: Tensor | None) -> Finding:
    order = "optimizer.zero_grad()\nloss.backward()\noptimizer.step()"
    if first is None or second is None:
        text = f"optimizer.step() was called {0 if first is None else 1} times in {MOST_CALLS} calls of step"
        return Finding("BCE018", Level.FAIL, f"{text}: weights do not move", order)
    size = first.dot(first).item()
    if size == 0:
        late = ", and comes one batch late" if second.any() else ""
        return Finding("BCE018", Level.FAIL, f"optimizer.step() finds no gradient{late}: the order is wrong", order)
    ratio = first.dot(second).item() / size
    if abs(ratio - 2) < 1e-3:
        return Finding(
            "BCE018",
            Level.FAIL,
            f"the gradient of the same batch is {ratio:.3f} times as large in the second step: the first stays in it",
            order,
            {"ratio": ratio},
        )
    return passed("BCE018")


def _refuse(*_: object) -> None:
    raise _OwnOptimizer
