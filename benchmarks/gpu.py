"""Losses on a GPU beside torch's and torch.compile's, and losses from features beside those of stored logits.

Forward and backward. Each time is that of many steps in a row, waited for once at the end, so that small sizes show
what the host takes; ways alternate, medians. "bytes" moves what a step has to move: it reads two tensors, writes one.

Run on a machine with a CUDA device: python benchmarks/gpu.py            (three minutes)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import machine
import torch
import torch.nn.functional as F
from torch import Tensor

import torchbce
from torchbce import functional

ROUNDS, CLASSES = 7, 16
SIZES = (2**10, 2**16, 2**20, 2**24, 2**28)
Step = Callable[[], object]


def focal(x: Tensor, y: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """As torchvision writes it."""
    p = torch.sigmoid(x)
    ce = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    return ((alpha * y + (1 - alpha) * (1 - y)) * ce * (1 - p_t) ** gamma).mean()


Loss = Callable[..., Tensor]
LOGITS: tuple[Loss, Loss] = F.binary_cross_entropy_with_logits, functional.binary_cross_entropy_with_logits
PROBABILITIES: tuple[Loss, Loss] = F.binary_cross_entropy, functional.binary_cross_entropy
# Theirs, ours, the dtype, and whether there is a pos_weight by class.
LOSSES: dict[str, tuple[tuple[Loss, Loss], torch.dtype, bool]] = {
    "logits, float32": (LOGITS, torch.float32, False),
    "logits, bfloat16": (LOGITS, torch.bfloat16, False),
    "logits with pos_weight by class": (LOGITS, torch.float32, True),
    "probabilities, float32": (PROBABILITIES, torch.float32, False),
    "focal loss": ((focal, torchbce.focal_loss_with_logits), torch.float32, False),
}


def seconds(step: Step, count: int) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def medians(ways: dict[str, Step]) -> dict[str, float]:
    counts = {}
    for name, step in ways.items():
        for _ in range(3):
            step()
        counts[name] = max(1, int(0.01 / seconds(step, 3)))
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, step in ways.items():
            found[name].append(seconds(step, counts[name]))
    return {name: statistics.median(times) for name, times in found.items()}


def both(loss: Loss, x: Tensor, y: Tensor, options: dict[str, Any]) -> Step:
    def step() -> None:
        x.grad = None
        loss(x, y, **options).backward()  # type: ignore[no-untyped-call]

    return step


def losses() -> list[str]:
    text = []
    for name, ((theirs, ours), dtype, weighted) in LOSSES.items():
        rows = []
        for n in SIZES:
            torch.manual_seed(0)
            torch._dynamo.reset()
            raw = torch.randn(n // CLASSES, CLASSES, device="cuda")
            x = (raw.sigmoid() if theirs is F.binary_cross_entropy else raw).to(dtype).requires_grad_()
            y, out = (torch.rand_like(raw) < 0.3).to(dtype), torch.empty_like(x, requires_grad=False)
            options = {"pos_weight": torch.linspace(0.5, 2, CLASSES, device="cuda")} if weighted else {}
            read = x.detach()
            ways = {
                "torch": both(theirs, x, y, options),
                "compile": both(torch.compile(theirs, dynamic=False), x, y, options),
                "torchbce": both(ours, x, y, options),
                "bytes": lambda read=read, y=y, out=out: torch.add(read, y, out=out),
            }
            found = medians(ways)
            rows.append(
                [
                    f"{n:,}",
                    *(f"{found[way] * 1e6:,.1f}" for way in ways),
                    f"{found['torch'] / found['torchbce']:.2f}",
                    f"{found['compile'] / found['torchbce']:.2f}",
                ]
            )
        head = ["items", "torch", "torch.compile", "torchbce", "bytes", "torch / torchbce", "compile / torchbce"]
        text += [f"## {name[0].upper()}{name[1:]}: microseconds of a step", "", machine.table(head, rows), ""]
    return text


def measured(step: Step) -> tuple[float, float]:
    """Seconds, and GiB beyond what there was."""
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    return statistics.median(seconds(step, 1) for _ in range(5)), peak / 2**30


def under_autocast(leaves: list[Tensor], loss: Callable[[], Tensor]) -> Step:
    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        with torch.autocast("cuda", dtype=torch.bfloat16):
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]

    return step


def linear(rows: int, features: int, labels: int, positives: int = 5) -> dict[str, Step]:
    torch.manual_seed(0)
    x = torch.randn(rows, features, device="cuda", requires_grad=True)
    weight = (torch.randn(labels, features, device="cuda") / features**0.5).requires_grad_()
    row = torch.arange(rows, device="cuda").repeat_interleave(positives)
    column = torch.randint(0, labels, (positives * rows,), device="cuda")

    def dense(x: Tensor, weight: Tensor) -> Tensor:
        target = torch.zeros(rows, labels, device="cuda", dtype=torch.bfloat16)
        target[row, column] = 1
        return F.binary_cross_entropy_with_logits(F.linear(x, weight), target)

    compiled = torch.compile(dense, dynamic=False)

    step = partial(under_autocast, [x, weight])
    return {
        "torch: linear, dense target, loss": step(lambda: dense(x, weight)),
        "the same under torch.compile": step(lambda: compiled(x, weight)),
        "linear_binary_cross_entropy": step(lambda: torchbce.linear_binary_cross_entropy(x, weight, (row, column))),
    }


def pairs(rows: int, features: int) -> dict[str, Step]:
    torch.manual_seed(0)
    x, y = (F.normalize(torch.randn(rows, features, device="cuda"), dim=1).requires_grad_() for _ in range(2))
    scale, bias = (torch.tensor(v, device="cuda", requires_grad=True) for v in (10.0, -10.0))

    def formula(x: Tensor, y: Tensor) -> Tensor:
        logits = scale * x @ y.T + bias
        labels = 2 * torch.eye(rows, device="cuda", dtype=logits.dtype) - 1
        return -F.logsigmoid(labels * logits).sum() / rows

    compiled = torch.compile(formula, dynamic=False)

    step = partial(under_autocast, [x, y, scale, bias])
    return {
        "open_clip's formula": step(lambda: formula(x, y)),
        "the same under torch.compile": step(lambda: compiled(x, y)),
        "pairwise_sigmoid_loss": step(lambda: torchbce.pairwise_sigmoid_loss(x, y, scale, bias)),
    }


def from_features() -> list[str]:
    text = []
    for name, make in (
        ("131,072 labels, 8,192 rows of 512, bfloat16 by autocast", lambda: linear(8192, 512, 131_072)),
        ("1,000,000 labels, 4,096 rows of 512, bfloat16 by autocast", lambda: linear(4096, 512, 1_000_000)),
        ("32,768 x 32,768 pairs of 768, bfloat16 by autocast", lambda: pairs(32_768, 768)),
    ):
        rows = []
        for way, step in make().items():
            taken, memory = measured(step)
            rows.append([way, f"{taken * 1e3:,.1f} ms", f"{memory:,.2f} GiB"])
            torch.cuda.empty_cache()
        text += [f"## {name}", "", machine.table(["forward and backward", "time", "memory"], rows), ""]
    return text


def main() -> None:
    text = ["# On a GPU", "", f"{torch.cuda.get_device_name()}; {machine.describe('triton')}", ""]
    machine.keep("gpu", "\n".join([*text, *losses(), *from_features()]).rstrip())


if __name__ == "__main__":
    main()
