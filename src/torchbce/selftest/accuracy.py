"""Our results and torch's against exact values, in units of the last place.

The exact values are in `gold.csv`: both losses and their derivatives at the extremes, to 40 digits, computed by mpmath
from the definitions. `tests/selftest/test_selftest.py` computes every one of them again.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from torchbce import functional
from torchbce.engine import select

LIMITS = {torch.float32: 3, torch.float64: 6, torch.float16: 1, torch.bfloat16: 1}


@dataclass(frozen=True)
class Accuracy:
    """The worst errors of one loss, dtype and engine over the gold table; inf: not finite where it should be."""

    loss: str
    dtype: torch.dtype
    engine: str
    value: float
    gradient: float
    value_of_torch: float
    gradient_of_torch: float

    @property
    def passed(self) -> bool:
        return self.value <= LIMITS[self.dtype]


def engines() -> list[select.Name]:
    """The engines that this machine has; every one is verified."""
    return [name for name in ("reference", "cpu", "gpu") if select.available(name)]


def errors(progress: Callable[[str], None] = lambda text: None) -> Iterator[Accuracy]:
    """Measure each loss in each dtype by each engine of this machine, beside torch's."""
    for engine in engines():
        for loss in functional.__all__:
            for dtype in LIMITS:
                progress(f"{loss} in {str(dtype).removeprefix('torch.')} by {engine}")
                yield _measure(loss, dtype, engine)


def _measure(loss: str, dtype: torch.dtype, engine: select.Name) -> Accuracy:
    device = "cuda" if engine == "gpu" else "cpu"
    x, y, values, gradients = _gold(loss, dtype)
    with select.forced(engine):
        ours = _run(getattr(functional, loss), x.to(device), y.to(device))
    theirs = _run(getattr(torch.nn.functional, loss), x.to(device), y.to(device))
    return Accuracy(
        loss,
        dtype,
        engine,
        *(_worst(computed, exact) for computed, exact in zip(ours, (values, gradients), strict=True)),
        *(_worst(computed, exact) for computed, exact in zip(theirs, (values, gradients), strict=True)),
    )


def _run(function: Callable[..., Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    items = function(leaf, y, reduction="none")
    torch.autograd.backward(items.sum())
    assert leaf.grad is not None
    return items.detach().cpu(), leaf.grad.cpu()


@cache
def _gold(loss: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, list[Fraction], list[Fraction]]:
    name = str(dtype).removeprefix("torch.")
    text = files("torchbce.selftest").joinpath("gold.csv").read_text()
    rows = [row for row in csv.DictReader(text.splitlines()) if row["loss"] == loss and row["dtype"] == name]
    x, y = (torch.tensor([float.fromhex(row[key]) for row in rows], dtype=dtype) for key in ("input", "target"))
    return x, y, [Fraction(row["value"]) for row in rows], [Fraction(row["slope"]) for row in rows]


def _worst(values: Tensor, exact: list[Fraction]) -> float:
    return max(ulps(value, truth, values.dtype) for value, truth in zip(values.tolist(), exact, strict=True))


def ulps(value: float, exact: Fraction, dtype: torch.dtype) -> float:
    """The distance in units of the last place of `dtype` at the exact value."""
    info = torch.finfo(dtype)
    if not math.isfinite(value):
        return 0.0 if abs(exact) > info.max and (value > 0) == (exact > 0) else math.inf
    smallest = Fraction(info.smallest_normal)
    size = max(abs(exact), smallest)
    exponent = math.floor(math.log2(size.numerator) - math.log2(size.denominator))
    exponent += (Fraction(2) ** (exponent + 1) <= size) - (Fraction(2) ** exponent > size)  # log2 rounds
    units = abs(Fraction(value) - exact) / (Fraction(info.eps) * Fraction(2) ** exponent)
    return float(min(units, Fraction(10**300)))
