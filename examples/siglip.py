"""Two towers that learn which picture belongs to which text, by the sigmoid loss of all pairs of a batch.

Pictures and texts are made up: both are noisy views of the same hidden numbers. The towers are trained twice from the
same start, with torchbce's loss, which never stores the logits, and with open_clip's formula, which does.

Run: python examples/siglip.py [BATCH]
"""

import sys

import torch
from torch import nn
from torch.nn.functional import logsigmoid, normalize

import torchbce

BATCH = int(sys.argv[1]) if len(sys.argv) > 1 else 512
HIDDEN, STEPS = 16, 60


class Towers(nn.Module):
    """An encoder for each side, the scale of the logits and their bias; SigLIP's start."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
        self.text = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 32))
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, image, text):
        return normalize(self.image(image), dim=1), normalize(self.text(text), dim=1), self.log_scale.exp(), self.bias


def open_clip(x, y, scale, bias):
    """The formula on stored logits."""
    labels = 2 * torch.eye(len(x)) - 1
    return -logsigmoid(labels * (scale * x @ y.T + bias)).sum() / len(x)


def train(loss_func):
    torch.manual_seed(0)
    see, read = torch.randn(HIDDEN, 64), torch.randn(HIDDEN, 40)

    def batch():
        hidden = torch.randn(BATCH, HIDDEN)
        return hidden @ see + torch.randn(BATCH, 64), hidden @ read + torch.randn(BATCH, 40)

    towers = Towers()
    optimizer = torch.optim.Adam(towers.parameters(), lr=3e-3)
    losses = []
    for _ in range(STEPS):
        loss = loss_func(*towers(*batch()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        x, y, *_ = towers(*batch())
    return losses, ((x @ y.T).argmax(1) == torch.arange(BATCH)).float().mean()


ours, found = train(torchbce.pairwise_sigmoid_loss)
theirs, _ = train(open_clip)
for step in [*range(0, STEPS, 10), STEPS - 1]:
    print(f"step {step:3d}  torchbce {ours[step]:.5f}  open_clip's formula {theirs[step]:.5f}")
apart = max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))
print(f"The losses differ by {apart:.0e} of themselves at most.")
print(f"Of {BATCH} new pictures {found:.1%} find their own text.")
