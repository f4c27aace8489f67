"""What the CPU kernels' own memory and threads bring in whole training steps: each is switched off in turn.

Run: python benchmarks/memory.py            (about two minutes; 2 GB of memory)
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from unittest import mock

import machine
import torch
from torch import nn

import torchbce
from torchbce.engine.numba_cpu import buffers, threads

ROUNDS, STEPS = 5, 6
MODELS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor, torch.Tensor]]] = {
    "perceptron 64-256-1, 4,096 rows": lambda: (
        nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 1)),
        torch.randn(4096, 64),
        (torch.rand(4096, 1) > 0.5).float(),
    ),
    "1,000 labels, 16,384 rows": lambda: labels(16_384, 64),
    "1,000 labels, 80,000 rows": lambda: labels(80_000, 16),
}


def labels(rows: int, columns: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    return nn.Linear(columns, 1000), torch.randn(rows, columns), (torch.rand(rows, 1000) > 0.5).float()


def without(what: str) -> mock._patch:
    """A context in which one of them is off."""
    if what == "kept blocks":
        return mock.patch.object(buffers, "MOST", 0)
    if what == "huge pages":
        return mock.patch.object(buffers, "_madvise", return_value=None)
    if what == "torch's threads":
        return mock.patch.object(threads, "_openmp", return_value=None)
    return mock.patch.object(buffers, "PAGE", buffers.PAGE)  # nothing


def step(net: nn.Module, x: torch.Tensor, y: torch.Tensor, loss_func: nn.Module) -> Callable[[], None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def run() -> None:
        optimizer.zero_grad()
        loss_func(net(x), y).backward()
        optimizer.step()

    return run


def main() -> None:
    modes = ["nothing", "kept blocks", "huge pages", "torch's threads"]
    lines = [f"| step, ms | {' | '.join(['all', *(f'without {m}' for m in modes[1:])])} |", "|---" * 5 + "|"]
    for name, make in MODELS.items():
        torch.manual_seed(0)
        run = step(*make(), torchbce.BCEWithLogitsLoss())
        times: dict[str, list[float]] = {mode: [] for mode in modes}
        for _ in range(ROUNDS):
            for mode in modes:
                with without(mode):
                    run()
                    start = time.perf_counter()
                    for _ in range(STEPS):
                        run()
                    times[mode].append((time.perf_counter() - start) / STEPS * 1e3)
        lines.append(f"| {name} | {' | '.join(f'{statistics.median(times[mode]):.3g}' for mode in modes)} |")
        print(lines[-1], file=sys.stderr)
    text = f"# Memory and threads\n\n{machine.describe()}; `benchmarks/memory.py`\n\n" + "\n".join(lines) + "\n"
    machine.keep("memory", text)


if __name__ == "__main__":
    main()
