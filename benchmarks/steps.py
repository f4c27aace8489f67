"""A whole training step, not the loss alone: the same model with torch's loss and with ours, alternating.

"with node" and "without" are torchbce with and without its C++ node. Medians of rounds in which all take turns.

Run: python benchmarks/steps.py            (about a minute)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import grid
import machine
import torch
from torch import Tensor, nn

import torchbce

SECONDS = 6.0
FEATURES, CLASSES = 30, 1_000
Loss = Callable[[Tensor, Tensor], Tensor]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


class Segmenter(nn.Module):
    """Down, up, and a way past: the shape of a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.first(x).relu()
        return self.last(torch.cat([wide, self.up(self.down(wide).relu()).relu()], 1))


def cases() -> Iterator[tuple[str, nn.Module, Tensor, Tensor, dict[str, Tensor]]]:
    for batch in (32, 256, 4_096):
        y = (torch.rand(batch, 1) < 0.3).float()
        yield f"MLP of 3 layers, batch {batch:,}", mlp(), torch.randn(batch, FEATURES), y, {}
        yield (
            f"the same, pos_weight, batch {batch:,}",
            mlp(),
            torch.randn(batch, FEATURES),
            y,
            {"pos_weight": torch.tensor([2.0])},
        )
    y = (torch.rand(8, 1, 256, 256) < 0.1).float()
    yield "segmentation, logits (8, 1, 256, 256)", Segmenter(), torch.randn(8, 3, 256, 256), y, {}
    y = (torch.rand(256, CLASSES) < 0.01).float()
    head = nn.Linear(512, CLASSES)
    yield f"multi-label, logits (256, {CLASSES:,})", head, torch.randn(256, 512), y, {}
    yield "the same, pos_weight (C,)", head, torch.randn(256, 512), y, {"pos_weight": torch.rand(CLASSES) + 0.5}


def step(model: nn.Module, loss: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def run() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return run


def without_node(run: Callable[[], None]) -> Callable[[], None]:
    def plain() -> None:
        with grid.no_node():
            run()

    return plain


def main() -> None:
    torch.manual_seed(0)
    rows = []
    for name, model, x, y, options in cases():
        theirs = step(model, nn.BCEWithLogitsLoss(**options), x, y)
        ours = step(model, torchbce.BCEWithLogitsLoss(**options), x, y)
        runs = {"torch": theirs, "with node": ours, "without": without_node(ours)}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run()
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            for which, run in runs.items():
                start = time.perf_counter()
                run()
                times[which].append(time.perf_counter() - start)
        found = {which: statistics.median(values) for which, values in times.items()}
        ratios = [f"{found[which] / found['torch']:.3f}" for which in ("with node", "without")]
        rows.append([name, f"{found['torch'] * 1e3:.3f}", *ratios])
        print(*rows[-1], flush=True)
    head = ["training step", "torch's loss, ms", "torchbce / torch", "without the node"]
    text = [
        f"# Training steps\n\n{machine.describe()}; `benchmarks/steps.py`\n",
        "Forward, loss, backward and SGD's step; the time with torchbce's loss as a share of that with torch's.\n",
        machine.table(head, rows),
    ]
    machine.keep("steps", "\n".join(text))


if __name__ == "__main__":
    main()
