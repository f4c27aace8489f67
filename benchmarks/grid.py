"""Every size and option: torchbce's time as a share of the best that torch offers, eager or compiled.

Everybody in turn on the same arrays, medians; ratios below 1 are ours. From a million items on, a second number: ours
as a multiple of moving the bytes alone: reading what the call reads and writing what it has to write, by torch's sums.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import torchbce
from torchbce.engine import select
from torchbce.selftest.speed import Run, medians

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import peers

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
LARGE = 1_000_000
ROUNDS = 7
CLASSES = 10
SMOOTHING = 0.1
OPTIONS = ("plain", "weight", "pos_weight 0-d", "pos_weight (C,)", "smoothing", "focal", "none")
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


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
class Inputs:
    """The tensors of a cell, and how many of their size a call writes."""

    input: Tensor
    target: Tensor
    weight: Tensor | None
    written: int


def inputs_of(cell: Cell, n: int) -> Inputs:
    torch.manual_seed(0)
    shape = (n // CLASSES, CLASSES)
    x = torch.rand(shape) if cell.loss == "probabilities" else torch.randn(shape) * 3
    y, w = (torch.rand(shape) < 0.3).float(), torch.rand(shape) + 0.5
    weight = {"weight": w, "pos_weight 0-d": torch.tensor(2.5), "pos_weight (C,)": w[0].clone()}.get(cell.option)
    x, y, weight = (t if t is None else t.to(cell.dtype) for t in (x, y, weight))
    return Inputs(x, y, weight, int(cell.backward) + (cell.option == "none"))


def ours(cell: Cell) -> Loss:
    function = getattr(torchbce.functional, cell.name)
    focal = torchbce.focal_loss_with_logits if cell.loss == "logits" else torchbce.focal_loss
    return {
        "weight": lambda x, y, w: function(x, y, w),
        "pos_weight 0-d": lambda x, y, w: function(x, y, pos_weight=w),
        "pos_weight (C,)": lambda x, y, w: function(x, y, pos_weight=w),
        "none": lambda x, y, w: function(x, y, reduction="none"),
        "smoothing": lambda x, y, w: function(x, y, label_smoothing=SMOOTHING),
        "focal": lambda x, y, w: focal(x, y, gamma=2.0),
    }.get(cell.option, lambda x, y, w: function(x, y))


def torchs(cell: Cell) -> Loss:
    function = getattr(F, cell.name)
    focal = peers.torchvision_focal if cell.loss == "logits" else _focal
    return {
        "weight": lambda x, y, w: function(x, y, w),
        "pos_weight 0-d": lambda x, y, w: function(x, y, pos_weight=w),
        "pos_weight (C,)": lambda x, y, w: function(x, y, pos_weight=w),
        "none": lambda x, y, w: function(x, y, reduction="none"),
        "smoothing": lambda x, y, w: function(x, y * (1 - SMOOTHING) + SMOOTHING / 2),
        "focal": lambda x, y, w: focal(x, y).mean(),
    }.get(cell.option, lambda x, y, w: function(x, y))


def _focal(p: Tensor, y: Tensor) -> Tensor:
    """Of probabilities, as torchvision's of logits."""
    missed = p * (1 - y) + (1 - p) * y
    return missed**2 * F.binary_cross_entropy(p, y, reduction="none")


def _step(function: Loss, cell: Cell, found: Inputs) -> Run:
    x, y, w = found.input, found.target, found.weight
    if not cell.backward:
        return lambda: function(x, y, w)
    leaf, ones = x.clone().requires_grad_(), torch.ones_like(x) if cell.option == "none" else None

    def both() -> None:
        leaf.grad = None
        function(leaf, y, w).backward(ones)

    return both


def _bytes(found: Inputs) -> Run:
    """Adding two tensors into a third that is there, and summing those that are only read."""
    outs = [torch.empty_like(found.input) for _ in range(found.written)]
    weights = [found.weight] if found.weight is not None and found.weight.shape == found.input.shape else []
    read = weights if outs else [found.input, found.target, *weights]

    def move() -> None:
        for out in outs:
            torch.add(found.input, found.target, out=out)
        for tensor in read:
            tensor.sum()

    return move


@contextlib.contextmanager
def no_node() -> Iterator[None]:
    """torchbce as where nobody has compiled its C++ node."""
    before, select._node = select._node, lambda: None
    try:
        yield
    finally:
        select._node = before


def rows(
    sizes: tuple[int, ...] = SIZES,
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16),
    with_compile: bool = True,
    seconds: float = 0.3,
) -> Iterator[list[str]]:
    """A row for each cell: the ratios by size. torch.compile makes one function for all but the largest size."""
    for cell in cells():
        if cell.dtype not in dtypes:
            continue
        row, compiled = [str(cell)], None
        for n in sizes:
            found = inputs_of(cell, n)
            made = {"torchbce": _step(ours(cell), cell, found), "torch": _step(torchs(cell), cell, found)}
            if with_compile:
                if compiled is None or n == SIZES[-1]:
                    torch._dynamo.reset()
                    compiled = torch.compile(torchs(cell), dynamic=n != SIZES[-1])
                made["compile"] = _step(compiled, cell, found)
            if n >= LARGE:
                made["bytes"] = _bytes(found)
            times = medians(made, seconds, ROUNDS)
            best = min(times[name] for name in ("torch", "compile") if name in times)
            ratio = f"{times['torchbce'] / best:.2f}"
            row.append(f"{ratio} ({times['torchbce'] / times['bytes']:.1f})" if "bytes" in times else ratio)
        yield row
