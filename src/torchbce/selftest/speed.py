"""Time per item of our losses beside torch's, in one run, taking turns, with what the memory allows beside them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchbce import functional

SIZES = (10, 1_000, 100_000, 10_000_000)
Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One way to call a loss."""

    loss: str  # "probabilities" or "logits"
    targets: str = "hard"  # or "soft"
    dtype: torch.dtype = torch.float32
    backward: bool = False
    reduction: str = "mean"
    weighted: tuple[str, ...] = ()  # "weight", "pos_weight"

    @property
    def name(self) -> str:
        return "binary_cross_entropy" + ("_with_logits" if self.loss == "logits" else "")

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        extra = [self.reduction] * (self.reduction != "mean") + list(self.weighted) + [dtype] * (dtype != "float32")
        what = "forward + backward" if self.backward else "forward"
        return ", ".join([self.loss, self.targets, *extra, what])


CASES = (
    Case("probabilities"),
    Case("probabilities", backward=True),
    Case("probabilities", "soft"),
    Case("probabilities", "soft", backward=True),
    Case("probabilities", weighted=("weight",), backward=True),
    Case("probabilities", reduction="none"),
    Case("logits"),
    Case("logits", backward=True),
    Case("logits", "soft", backward=True),
    Case("logits", weighted=("pos_weight",), backward=True),
    Case("logits", weighted=("weight", "pos_weight"), backward=True),
    Case("logits", dtype=torch.float64, backward=True),
    Case("logits", dtype=torch.bfloat16, backward=True),
)


@dataclass(frozen=True)
class Inputs:
    """The tensors of a case: rows of ten classes where there are so many items."""

    input: Tensor
    target: Tensor
    options: dict[str, Any] = field(default_factory=dict)


def make(case: Case, n: int) -> Inputs:
    torch.manual_seed(0)
    shape = (n // 10, 10)
    x = torch.rand(shape) if case.loss == "probabilities" else torch.randn(shape) * 3
    y = torch.rand(shape)
    y = (y < 0.3).float() if case.targets == "hard" else y
    options = {name: (torch.rand(10) + 0.5).to(case.dtype) for name in case.weighted}
    return Inputs(x.to(case.dtype), y.to(case.dtype), {"reduction": case.reduction, **options})


def torch_call(function: Callable[..., Tensor], case: Case, inputs: Inputs) -> Run:
    """A call with torch's signature, and its backward pass if the case has one."""
    if not case.backward:
        return lambda: function(inputs.input, inputs.target, **inputs.options)
    leaf = inputs.input.clone().requires_grad_()

    def both() -> None:
        leaf.grad = None
        torch.autograd.backward(function(leaf, inputs.target, **inputs.options))

    return both


def ours(case: Case, inputs: Inputs) -> Run:
    return torch_call(getattr(functional, case.name), case, inputs)


def eager(case: Case, inputs: Inputs) -> Run:
    return torch_call(getattr(torch.nn.functional, case.name), case, inputs)


def limit(case: Case, inputs: Inputs) -> Run:
    """Only move the bytes: read input and target, and write one tensor where there is one to write."""
    if case.backward or case.reduction == "none":
        out = torch.empty_like(inputs.input)
        return lambda: torch.add(inputs.input, inputs.target, out=out)
    return lambda: (inputs.input.sum(), inputs.target.sum())


CONTESTANTS: Mapping[str, Callable[[Case, Inputs], Run | None]] = {"torchbce": ours, "torch": eager, "bytes": limit}


def compare(
    case: Case,
    n: int,
    contestants: Mapping[str, Callable[[Case, Inputs], Run | None]] = CONTESTANTS,
    seconds: float = 0.5,
) -> dict[str, float]:
    """Return nanoseconds per item of each contestant that has this case: medians of rounds in which all take turns."""
    inputs = make(case, n)
    made = {name: contestant(case, inputs) for name, contestant in contestants.items()}
    runs = {name: run for name, run in made.items() if run is not None}
    return {name: seconds_of / n * 1e9 for name, seconds_of in medians(runs, seconds).items()}


def medians(runs: Mapping[str, Run], seconds: float, rounds: int = 5) -> dict[str, float]:
    """Return each one's median seconds, over at least so many rounds in which all take turns."""
    repeats = {name: max(1, int(0.002 / _once(run))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    end, done = time.perf_counter() + seconds, 0
    while done < rounds or (time.perf_counter() < end and done < 200):
        done += 1
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: statistics.median(of_run) for name, of_run in times.items()}


def _once(run: Run) -> float:
    """Return the seconds of one call, after one that compiles and allocates."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def bench(sizes: tuple[int, ...] = SIZES, seconds: float = 0.5) -> Iterator[tuple[Case, int, dict[str, float]]]:
    """Yield every case at every size, as it is measured."""
    for case in CASES:
        for n in sizes:
            yield case, n, compare(case, n, seconds=seconds)
