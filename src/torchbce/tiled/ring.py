"""Compute the loss of all pairs of rows across processes: the rows of y go round, and their gradients with them.

Each process works on its own rows of x and, one after the other, on the rows of y of all. While it does, the rows go
on to the next process. Gradients by the rows of y follow them and grow on the way, until they are at home.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.tiled import passes
from torchbce.tiled.passes import Wanted
from torchbce.tiled.problem import Head, Problem, problem_of, result_dtype
from torchbce.tiled.products import factor_dtype, full_precision, working_dtype
from torchbce.tiled.targets import check_positions, pair_of


def pairs(positives: object, x: Tensor, y: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Return the positions of the positives; `first` is the number of this process's first row of y among all."""
    given = pair_of(positives)
    if given is not None:
        return given
    if positives != "diagonal":
        said = repr(positives) if isinstance(positives, str) else type(positives).__name__
        raise ValueError(f"positives is {said}; it is 'diagonal' or a pair (rows, columns) of Tensors")
    if x.size(0) != y.size(0):
        raise ValueError(
            f"positives='diagonal' needs as many rows of x as of y, got {x.size(0)} and {y.size(0)}; pass "
            "positives=(rows, columns)"
        )
    rows = torch.arange(x.size(0), device=x.device)
    return rows, rows + first


def loss(x: Tensor, y: Tensor, bias: Tensor, positives: object, reduction: str, side: int | None, group: Any) -> Tensor:
    """Return this process's part of the loss of all pairs."""
    problems = _Problems(x, y, positives, reduction, side, group)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, y, bias)):
        return _Ring.apply(x, y, bias, problems)  # type: ignore[no-any-return, no-untyped-call]
    return _go_round(x, y, bias, problems, Wanted(False, False, False))[0]


class _Problems:
    """The problems of this process's rows of x with each process's rows of y."""

    def __init__(self, x: Tensor, y: Tensor, positives: object, reduction: str, side: int | None, group: Any) -> None:
        self.group, self.rank, self.world = group, distributed.get_rank(group), distributed.get_world_size(group)
        if self.rank < 0:
            raise ValueError("this process is not in the group")
        self.reduction, self.side, self.factors = reduction, side, factor_dtype(x)
        self.result_dtype = result_dtype(x, torch.uint8)
        self.positives = self._agreed(x, y, positives)

    def _agreed(self, x: Tensor, y: Tensor, positives: object) -> tuple[Tensor, Tensor]:
        """Return the positives; an error in one process is raised in all, as the others would wait for it."""
        wrong, last = None, -1
        try:
            last = check_positions(*pairs(positives, x, y, 0), x)
        except (TypeError, ValueError, RuntimeError) as error:
            wrong = error
        mine = torch.tensor([x.size(0), y.size(0), last, wrong is None], device=x.device)
        every = [torch.empty_like(mine) for _ in range(self.world)]
        distributed.all_gather(every, mine, group=self.group)
        self.rows_of_x, self.rows_of_y, lasts, right = zip(*(counts.tolist() for counts in every), strict=True)
        if wrong is not None:
            raise wrong
        if not all(right):
            raise RuntimeError(f"process {right.index(0)} was given positives that do not fit; it says what is wrong")
        columns = sum(self.rows_of_y)
        if max(lasts) >= columns:
            raise ValueError(
                f"process {lasts.index(max(lasts))} has a positive in column {max(lasts)}; columns go from 0 to "
                f"{columns - 1}, over the rows of y of all processes"
            )
        return pairs(positives, x, y, sum(self.rows_of_y[: self.rank]))

    @property
    def scale(self) -> float:
        """Factor that makes the mean over the processes the mean over all rows."""
        return self.world / max(1, sum(self.rows_of_x)) if self.reduction == "mean" else 1.0

    def of(self, head: Head, owner: int) -> Problem:
        """Return the problem of the pairs with the rows of one process."""
        first = sum(self.rows_of_y[:owner])
        rows, columns = self.positives
        here = (columns >= first) & (columns < first + self.rows_of_y[owner])
        target = rows[here], columns[here] - first
        made = problem_of(head, target, binary_cross_entropy_with_logits, "sum", "numel", {}, self.side)
        return made._replace(factors=self.factors)


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, bias: Tensor, problems: _Problems) -> Tensor:
        ctx.dtypes = x.dtype, y.dtype, bias.dtype
        value, *ctx.gradients = _go_round(x, y, bias, problems, Wanted(*ctx.needs_input_grad[:3]))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # Wide until here: narrow gradients would be lost before they are multiplied.
        given = zip(ctx.gradients, ctx.dtypes, strict=True)
        return *(None if gradient is None else (gradient * grad_output).to(dtype) for gradient, dtype in given), None


def _go_round(
    x: Tensor, y: Tensor, bias: Tensor, problems: _Problems, wanted: Wanted
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return this process's part of the loss, and the gradients of all parts' sum by its own x, y and bias."""
    wide = working_dtype(x.dtype)
    x, bias = x.detach().to(wide), bias.detach().to(wide)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    of_x = torch.zeros_like(x) if wanted.input else None
    of_bias = torch.zeros((), dtype=wide, device=x.device) if wanted.bias else None
    rows, of_rows = y.detach().contiguous(), torch.zeros(y.size(), dtype=wide, device=y.device)
    for step in range(problems.world):
        owner = (problems.rank - step) % problems.world
        size = problems.rows_of_y[(owner - 1) % problems.world]
        coming = _pass_on(rows, size, problems) if step < problems.world - 1 else None
        head = Head(x, rows.to(wide), bias.expand(rows.size(0)))
        with torch.no_grad(), full_precision(x):
            value, gradients = passes.total_and_gradients(head, problems.of(head, owner), problems.scale, wanted)
        total += value
        if of_x is not None and gradients.input is not None:
            of_x += gradients.input
        if of_bias is not None and gradients.bias is not None:
            of_bias += gradients.bias.sum()
        if gradients.weight is not None:
            of_rows = _pass_on(of_rows.add_(gradients.weight), size, problems)()
        if coming is not None:
            rows = coming()
    value = (total * problems.scale).to(problems.result_dtype)
    return value, of_x, of_rows if wanted.weight else None, of_bias


def _pass_on(tensor: Tensor, size: int, problems: _Problems) -> Callable[[], Tensor]:
    """Send to the next process and receive `size` rows from the one before; the returned function waits for them."""
    right, left = ((problems.rank + way) % problems.world for way in (1, -1))
    received = tensor.new_empty(size, tensor.size(1))
    group = problems.group
    calls = distributed.batch_isend_irecv(
        [
            distributed.P2POp(distributed.isend, tensor, distributed.get_global_rank(group, right), group),
            distributed.P2POp(distributed.irecv, received, distributed.get_global_rank(group, left), group),
        ]
    )

    def wait() -> Tensor:
        for call in calls:
            call.wait()
        return received

    return wait
