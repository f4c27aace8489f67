"""Every size and option: torchbce's time as a share of the best that torch offers, eager or compiled.

Everybody in turn on the same arrays, medians; ratios below 1 are ours. From a million items on, a second number: ours
as a multiple of moving the bytes alone: reading what the call reads and writing what it has to write, by torch's sums.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import torchbce

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import peers

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
LARGE = 1_000_000
CLASSES = 10
SMOOTHING = 0.1
OPTIONS = ("plain", "weight", "pos_weight 0-d", "pos_weight (C,)", "smoothing", "focal", "none")
Run = Callable[[], object]


@dataclass(frozen=True)
class Cell:
    """One call: of probabilities or logits, with an option, of a dtype, with or without a backward pass."""

    loss: str
    option: str
    dtype: torch.dtype
    backward: bool

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.loss}, {self.option}, {dtype}, {'forward + backward' if self.backward else 'forward'}"

    @property
    def name(self) -> str:
        return "binary_cross_entropy" + ("_with_logits" if self.loss == "logits" else "")


def cells() -> Iterator[Cell]:
    for loss in ("probabilities", "logits"):
        for option in OPTIONS:
            if loss == "logits" or not option.startswith("pos_weight"):  # torch's takes none of probabilities
                for dtype in (torch.float32, torch.bfloat16):
                    yield Cell(loss, option, dtype, False)
                    yield Cell(loss, option, dtype, True)


@dataclass(frozen=True)
class Contest:
    """The functions of ours and of torch, on the tensors of a cell, and the bytes that the call moves."""

    ours: Callable[[Tensor], Tensor]
    torchs: Callable[[Tensor], Tensor]
    input: Tensor
    streams: list[Tensor]
    written: int


def contest(cell: Cell, n: int) -> Contest:
    torch.manual_seed(0)
    shape = (n // CLASSES, CLASSES)
    x = torch.rand(shape) if cell.loss == "probabilities" else torch.randn(shape) * 3
    x, y = x.to(cell.dtype), (torch.rand(shape) < 0.3).to(cell.dtype)
    w = (torch.rand(shape) + 0.5).to(cell.dtype)
    options: dict[str, Any] = {
        "weight": {"weight": w},
        "pos_weight 0-d": {"pos_weight": torch.tensor(2.5, dtype=cell.dtype)},
        "pos_weight (C,)": {"pos_weight": w[0].clone()},
        "none": {"reduction": "none"},
    }.get(cell.option, {})
    ours = partial(getattr(torchbce.functional, cell.name), target=y, **options)
    torchs = partial(getattr(F, cell.name), target=y, **options)
    if cell.option == "smoothing":
        ours = partial(ours, label_smoothing=SMOOTHING)
        plain = getattr(F, cell.name)
        torchs = lambda x: plain(x, y * (1 - SMOOTHING) + SMOOTHING / 2)  # noqa: E731
    if cell.option == "focal":
        own = torchbce.focal_loss_with_logits if cell.loss == "logits" else torchbce.focal_loss
        ours = partial(own, target=y, gamma=2.0)
        torchs = (lambda x: peers.torchvision_focal(x, y).mean()) if cell.loss == "logits" else partial(_focal, y)
    streams = [x, y, w] if cell.option == "weight" else [x, y]
    return Contest(ours, torchs, x, streams, int(cell.backward) + (cell.option == "none"))


def _focal(y: Tensor, p: Tensor) -> Tensor:
    """Of probabilities, as in torchvision's of logits."""
    missed = p * (1 - y) + (1 - p) * y
    return (missed**2 * F.binary_cross_entropy(p, y, reduction="none")).mean()


def runs(cell: Cell, n: int, with_compile: bool) -> dict[str, Run]:
    found = contest(cell, n)
    functions = {"torchbce": found.ours, "torch": found.torchs}
    if with_compile:
        torch._dynamo.reset()
        functions["compile"] = torch.compile(found.torchs, dynamic=False)
    made = {name: _step(function, found.input, cell) for name, function in functions.items()}
    if n >= LARGE:
        made["bytes"] = _bytes(found)
    return made


def _step(function: Callable[[Tensor], Tensor], x: Tensor, cell: Cell) -> Run:
    if not cell.backward:
        return lambda: function(x)
    leaf, ones = x.clone().requires_grad_(), torch.ones_like(x) if cell.option == "none" else None

    def both() -> None:
        leaf.grad = None
        function(leaf).backward(ones)

    return both


def _bytes(found: Contest) -> Run:
    """Adding two tensors into a third that is there, and summing those that are only read."""
    outs = [torch.empty_like(found.input) for _ in range(found.written)]
    first, second, *rest = found.streams

    def move() -> None:
        if outs:
            torch.add(first, second, out=outs[0])
        for tensor in [first, second, *rest] if not outs else rest:
            tensor.sum()
        for out in outs[1:]:
            torch.add(first, second, out=out)

    return move


def medians(made: dict[str, Run], seconds: float) -> dict[str, float]:
    """Seconds of each, all in turn."""
    repeats = {}
    for name, run in made.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, int(0.002 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in made}
    end = time.perf_counter() + seconds
    while len(times["torchbce"]) < 7 or (time.perf_counter() < end and len(times["torchbce"]) < 200):
        for name, run in made.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: statistics.median(found) for name, found in times.items()}


def rows(sizes: tuple[int, ...] = SIZES, with_compile: bool = True, seconds: float = 0.4) -> Iterator[list[str]]:
    """A row for each cell: the ratios by size."""
    for cell in cells():
        row = [str(cell)]
        for n in sizes:
            found = medians(runs(cell, n, with_compile), seconds)
            ratio = f"{found['torchbce'] / min(found['torch'], found.get('compile', found['torch'])):.2f}"
            row.append(f"{ratio} ({found['torchbce'] / found['bytes']:.1f})" if "bytes" in found else ratio)
        yield row
