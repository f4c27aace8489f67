"""Which of 100,000 labels does an item have? A classifier whose logits are never stored.

Real collections of labels (products, articles, tags) have two things in common: a few labels are frequent and most are
rare, and labels that are alike occur with items that are alike. The data here is made so. Each label is a direction in
a space of 48 dimensions, and directions come in families; an item has 3 labels of one family, its features are what
their directions add up to, and noise.

Run: python examples/extreme_labels.py [LABELS] [--dense]    (a minute; --dense stores the logits)
"""

import argparse
import math
import resource
import time

import torch
from torch import nn

import torchbce

FEATURES, PER_ITEM, FAMILY, BATCH, TEST = 48, 3, 50, 256, 2000

parser = argparse.ArgumentParser()
parser.add_argument("labels", nargs="?", type=int, default=100_000)
parser.add_argument("--dense", action="store_true", help="store the logits and a matrix of targets")
parser.add_argument("--steps", type=int, default=150)
chosen = parser.parse_args()


class Items:
    """Batches of features and of their labels' numbers."""

    def __init__(self, labels: int) -> None:
        self.families = labels // FAMILY
        centres = torch.randn(self.families, 1, FEATURES)
        self.directions = (centres + torch.randn(self.families, FAMILY, FEATURES)) / FEATURES**0.5
        self.often = torch.arange(1, self.families + 1) ** -0.8  # the first families are frequent, as words are

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        family = torch.multinomial(self.often, count, replacement=True)
        member = torch.rand(count, FAMILY).argsort(1)[:, :PER_ITEM]
        features = self.directions[family[:, None], member].sum(1)
        return features + 0.1 * torch.randn_like(features), family[:, None] * FAMILY + member


torch.manual_seed(0)
items = Items(chosen.labels)
labels = items.families * FAMILY
head = torchbce.LinearBCELoss(FEATURES, labels, normalize="batch")  # the losses of an item's labels are added up
nn.init.zeros_(head.weight)
nn.init.constant_(head.bias, -math.log(labels / PER_ITEM))  # begins with the base rate, so that no step is lost on it
optimizer = torch.optim.Adam(head.parameters(), lr=0.1)


def dense_loss(x: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """What it takes with torch: logits and targets of (items, labels)."""
    target = torch.zeros(len(x), labels).scatter_(1, numbers, 1.0)
    logits = nn.functional.linear(x, head.weight, head.bias)
    return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(x)


print(
    f"{labels:,} labels, {head.weight.numel() + head.bias.numel():,} parameters; BCE is the sum over an item's labels"
)
start = time.perf_counter()
for step in range(chosen.steps):
    optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / chosen.steps)
    x, numbers = items.batch(BATCH)
    loss = dense_loss(x, numbers) if chosen.dense else head(x, numbers)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % (chosen.steps // 5) == 0 or step == chosen.steps - 1:
        print(f"step {step:4d}  BCE = {loss.item():.4f}")

x, numbers = items.batch(TEST)
_, best = head.predict_topk(x, k=5)
right = (best[:, :, None] == numbers[:, None]).any(2).float()
print(f"precision@1 = {right[:, 0].mean():.3f}, @3 = {right[:, :3].mean():.3f}, @5 = {right.mean():.3f} (at most 0.6)")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{time.perf_counter() - start:.0f} s, at most {peak:.2f} GiB of memory")
