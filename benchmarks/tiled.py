"""Losses from features beside the same losses of stored logits: time and memory of forward and backward.

Every figure is of a process of its own; ways alternate. Memory is the largest resident size of a step beyond what there
was before it: gradients, logits, and what is made of them. Inputs are float32.

Run: python benchmarks/tiled.py            (a quarter of an hour; 12 GB of memory)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import torch
import torch.nn.functional as F
from torch import Tensor

import torchbce
from torchbce.functional import binary_cross_entropy_with_logits

ROUNDS, STEPS, POSITIVES = 3, 3, 5
Step = Callable[[], Tensor]

LINEAR = {"rows": 1024, "features": 256}
CASES = {
    "131,072 labels, 1,024 rows of 256": ("linear", {**LINEAR, "labels": 131_072}, "torch"),
    "1,000,000 labels, 1,024 rows of 256": ("linear", {**LINEAR, "labels": 1_000_000}, "tiles"),
    "16,384 x 16,384 pairs of 512": ("pairs", {"rows": 16_384, "features": 512}, "torch"),
}
WAYS = {
    "linear": {
        "torch": "torch: linear, dense target, binary_cross_entropy_with_logits",
        "losses": "the same with torchbce's loss",
        "tiles": "linear_binary_cross_entropy",
        "bfloat16": "the same, input and weight in bfloat16",
        "step": "the same in float32, with the step of SGD (sgd_lr), in place of a gradient",
    },
    "pairs": {
        "torch": "open_clip's formula",
        "chunks": "open_clip's formula in chunks of 1,024 rows",
        "tiles": "pairwise_sigmoid_loss",
    },
}
TOO_LARGE = {("1,000,000 labels, 1,024 rows of 256", "torch"), ("1,000,000 labels, 1,024 rows of 256", "losses")}


def linear(way: str, rows: int, features: int, labels: int) -> tuple[list[Tensor], Step]:
    dtype = torch.bfloat16 if way == "bfloat16" else torch.float32
    x = torch.randn(rows, features).to(dtype).requires_grad_()
    weight = (torch.randn(labels, features) / features**0.5).to(dtype).requires_grad_()
    row = torch.arange(rows).repeat_interleave(POSITIVES)
    column = torch.randint(0, labels, (POSITIVES * rows,))

    def stored(loss: Callable[..., Tensor]) -> Step:
        def step() -> Tensor:
            target = torch.zeros(rows, labels)
            target[row, column] = 1
            return loss(F.linear(x, weight), target)

        return step

    ways: dict[str, Step] = {
        "torch": stored(F.binary_cross_entropy_with_logits),
        "losses": stored(binary_cross_entropy_with_logits),
        "tiles": lambda: torchbce.linear_binary_cross_entropy(x, weight, (row, column)),
        "step": lambda: torchbce.linear_binary_cross_entropy(x, weight, (row, column), sgd_lr=0.1),
    }
    return [x, weight], ways["tiles" if way == "bfloat16" else way]


def pairs(way: str, rows: int, features: int) -> tuple[list[Tensor], Step]:
    x, y = (F.normalize(torch.randn(rows, features), dim=1).requires_grad_() for _ in range(2))
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)

    def stored() -> Tensor:
        labels = 2 * torch.eye(rows) - 1
        return -F.logsigmoid(labels * (scale * x @ y.T + bias)).sum() / rows

    def chunks() -> Tensor:
        total = torch.zeros(())
        for start in range(0, rows, 1024):
            logits = scale * x[start : start + 1024] @ y.T + bias
            right = logits[torch.arange(len(logits)), start + torch.arange(len(logits))]
            total = total + F.softplus(logits).sum() - right.sum()
        return total / rows

    ways: dict[str, Step] = {
        "torch": stored,
        "chunks": chunks,
        "tiles": lambda: torchbce.pairwise_sigmoid_loss(x, y, scale, bias),
    }
    return [x, y, scale, bias], ways[way]


def resident(name: str) -> float:
    """MiB; VmRSS is now, VmHWM the most since it was reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


def child(case: str, way: str) -> None:
    """The seconds of a step, its memory, and its loss."""
    kind, sizes, _ = CASES[case]
    make = {"linear": linear, "pairs": pairs}[kind]
    torch.manual_seed(0)
    make(way, **{**sizes, "rows": 64, **({"labels": 128} if "labels" in sizes else {})})[1]().backward()  # compiles
    given, step = make(way, **sizes)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    seconds = []
    for _ in range(STEPS):
        for tensor in given:
            tensor.grad = None
        start = time.perf_counter()
        loss = step()
        loss.backward()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(seconds), "memory": resident("VmHWM") - before, "loss": loss.item()}))


def run(case: str, way: str) -> dict[str, float]:
    argv = [sys.executable, __file__, "--child", case, way]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(case, way, found, file=sys.stderr, flush=True)
    return found


def main() -> None:
    text = ["# Losses from features", "", machine.describe(), ""]
    for case, (kind, sizes, against) in CASES.items():
        ways = {way: said for way, said in WAYS[kind].items() if (case, way) not in TOO_LARGE}
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                found[way].append(run(case, way))
        seconds = {way: statistics.median(one["seconds"] for one in found[way]) for way in ways}
        lines = [
            [
                said,
                f"{seconds[way]:.2f} s",
                f"{seconds[way] / seconds[against]:.2f}",
                f"{max(one['memory'] for one in found[way]):,.0f} MiB",
                f"{found[way][0]['loss']:.6g}",
            ]
            for way, said in ways.items()
        ]
        columns = sizes.get("labels", sizes["rows"])
        logits = sizes["rows"] * columns * 4 / 2**20
        gradients = (sizes["rows"] + columns) * sizes["features"] * 4 / 2**20
        text += [
            f"## {case}",
            "",
            f"The logits alone are {logits:,.0f} MiB, the gradients in float32 {gradients:,.0f} MiB.",
            "",
            machine.table(["forward and backward", "time", f"/ {against}", "memory", "loss"], lines),
            "",
        ]
    machine.keep("tiled", "\n".join(text).rstrip())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(*sys.argv[2:])
    else:
        main()
