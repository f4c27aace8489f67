"""The losses of the family and the options of BCE beside their peers, eager and compiled; forward + backward.

The same arrays in one run, everybody in turn; the best of three. `kept` is what lies in memory between forward and
backward besides input and target, in tensors of N; "bytes" reads both and writes one.

Run: python benchmarks/family.py            (about five minutes)
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
warnings.simplefilter("ignore")

import machine
import torch
import torch.nn.functional as F
from torch import Tensor

import peers
import torchbce

CLASSES = 80
N = 10_000_000 // CLASSES * CLASSES
ROUNDS = 3
COUNTS = torch.linspace(100, 100_000, CLASSES).round()
Loss = Callable[[Tensor, Tensor], Tensor]


def own(x: Tensor, y: Tensor, gamma: float = 0.0) -> Tensor:
    """What a user may write."""
    p = torch.sigmoid(x)
    return (y * (1 - p) + (1 - y) * p) ** gamma * (y * F.softplus(-x) + (1 - y) * F.softplus(x))


def ignoring(x: Tensor, y: Tensor) -> Tensor:
    kept = y >= 0
    items = F.binary_cross_entropy_with_logits(x, y.clamp(min=0) * 0.9 + 0.05, reduction="none")
    return (items * kept).sum() / kept.sum()


def mean(function: Loss) -> Loss:
    return lambda x, y: function(x, y).mean()


def cases() -> dict[str, tuple[Loss, str, Loss]]:
    """Ours, the peer's name, and the peer."""
    asymmetric = peers.timm_module("asymmetric_loss").AsymmetricLossMultiLabel
    poly = peers.timm_module("poly_loss").PolyBinaryCrossEntropy
    balanced = peers.timm_module("distribution_balanced_loss").DistributionBalancedLoss
    bce = torchbce.functional.binary_cross_entropy_with_logits
    return {
        "BCE": (bce, "torch", F.binary_cross_entropy_with_logits),
        "BCE, smoothing": (
            partial(bce, label_smoothing=0.1),
            "torch, as in Keras",
            lambda x, y: F.binary_cross_entropy_with_logits(x, peers.keras_smoothed(y, 0.1)),
        ),
        "BCE, smoothing, ignored": (
            partial(bce, label_smoothing=0.1, ignore_index=-1, normalize="valid"),
            "torch, composed",
            ignoring,
        ),
        "focal": (
            partial(torchbce.focal_loss_with_logits, gamma=2.0, alpha=0.25),
            "torchvision",
            mean(partial(peers.torchvision_focal, alpha=0.25)),
        ),
        "quality focal": (torchbce.quality_focal_loss_with_logits, "published", mean(peers.quality_focal)),
        "Poly-1": (torchbce.poly1_loss_with_logits, "timm", poly()),
        "asymmetric": (torchbce.asymmetric_loss_with_logits, "timm", asymmetric(reduction="mean")),
        "asymmetric, detached": (
            partial(torchbce.asymmetric_loss_with_logits, detach_focus=True),
            "timm",
            asymmetric(reduction="mean", disable_torch_grad_focal_loss=True),
        ),
        "class-balanced, focal": (
            partial(torchbce.class_balanced_loss_with_logits, positives=100, negatives=9000, gamma=1.0),
            "published",
            mean(partial(peers.class_balanced, positives=100, negatives=9000, gamma=1.0)),
        ),
        "logit-adjusted": (
            partial(torchbce.logit_adjusted_loss_with_logits, prior=0.1),
            "published",
            mean(partial(peers.logit_adjusted, prior=torch.tensor(0.1))),
        ),
        "distribution-balanced": (
            partial(torchbce.distribution_balanced_loss_with_logits, class_counts=COUNTS, num_samples=1_000_000),
            "timm",
            balanced(COUNTS, 1_000_000),
        ),
        "fused_loss": (partial(torchbce.fused_loss(own), gamma=2.0), "the same, eager", mean(partial(own, gamma=2.0))),
    }


def step(loss: Loss, x: Tensor, y: Tensor) -> None:
    x.grad = None
    loss(x, y).backward()


def kept(loss: Loss, x: Tensor, y: Tensor) -> float:
    """Tensors of N that wait for backward."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in (x.data_ptr(), y.data_ptr()):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss(x, y)
    own_slopes = getattr(value.grad_fn, "slopes", None)  # ours waits outside of the hooks
    size = sum(found.values()) + (0 if own_slopes is None else own_slopes.nbytes)
    return size / (4 * N)


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def moved(x: Tensor, y: Tensor) -> float:
    out = torch.empty_like(x)
    return min(seconds(lambda: torch.add(x.detach(), y, out=out)) for _ in range(ROUNDS)) / N * 1e9


def main() -> None:
    torch.manual_seed(0)
    x = (3 * torch.randn(N // CLASSES, CLASSES)).requires_grad_()
    y = (torch.rand(N // CLASSES, CLASSES) > 0.9).float()
    rows = []
    for name, (ours, peer, theirs) in cases().items():
        torch._dynamo.reset()
        compiled = torch.compile(theirs, dynamic=False)
        contestants = [partial(step, loss, x, y) for loss in (ours, theirs, compiled)]
        for run in contestants:
            run()
        times = [[seconds(run) for run in contestants] for _ in range(ROUNDS)]
        us, eager, by_compile = (min(column) / N * 1e9 for column in zip(*times, strict=True))
        memory = f"{kept(ours, x, y):.2f}", f"{kept(theirs, x, y):.1f}"
        figures = f"{us:.2f}", f"{eager:.1f}", f"{eager / us:.1f}x", f"{by_compile:.2f}", f"{by_compile / us:.1f}x"
        rows.append([name, peer, *figures, *memory])
        print(*rows[-1], flush=True)
    head = ["loss", "peer", "torchbce", "eager", "", "torch.compile", "", "kept", "kept by the peer"]
    text = [
        f"# The other losses\n\n{machine.describe('timm')}; `benchmarks/family.py`\n",
        f"Nanoseconds per item, forward + backward, float32, {N:,} logits of {CLASSES} classes. Moving the bytes, "
        f"which is reading input and target and writing the gradient: {moved(x, y):.2f}.\n",
        machine.table(head, rows),
    ]
    machine.keep("family", "\n".join(text))


if __name__ == "__main__":
    main()
