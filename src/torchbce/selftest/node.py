"""Compiling the C++ node, and what a small call takes with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torchbce.engine.cpp_node import build
from torchbce.selftest.speed import Case, compare

ITEMS = 10


class Built(NamedTuple):
    """The path of the node, and the microseconds of a mean of ten logits with its gradient."""

    file: Path
    ours: float
    torch: float


def build_node() -> Built:
    """Compile the node for this machine's torch and Python, if that has not been done.

    Raises:
        BuildError: it cannot be compiled.
    """
    file = build.build()
    times = compare(Case("logits", backward=True), ITEMS)
    ours, torch = (times[name] * ITEMS / 1000 for name in ("torchbce", "torch"))
    return Built(file, ours, torch)
