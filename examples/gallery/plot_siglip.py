"""
All pairs of a batch: SigLIP
============================

:class:`torchbce.SigLipLoss` is open_clip's loss with the same constructor, but the logits of all pairs are never
stored. Two encoders learn which picture belongs to which text; here both are made up, noisy views of the
same hidden numbers.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import normalize

import torchbce

torch.manual_seed(0)
see, read = torch.randn(16, 64), torch.randn(16, 40)


def batch(count):
    hidden = torch.randn(count, 16)
    return hidden @ see + torch.randn(count, 64), hidden @ read + torch.randn(count, 40)


# %%
# SigLIP's start: a scale of 10 and a bias of -10, so that at first every pair is taken for a negative one.

image = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
text = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 32))
log_scale, bias = nn.Parameter(torch.tensor(10.0).log()), nn.Parameter(torch.tensor(-10.0))
loss_func = torchbce.SigLipLoss()
optimizer = torch.optim.Adam([*image.parameters(), *text.parameters(), log_scale, bias], lr=3e-3)


def features(count):
    pictures, texts = batch(count)
    return normalize(image(pictures), dim=1), normalize(text(texts), dim=1)


def probabilities():
    with torch.no_grad():
        x, y = features(24)
        return torch.sigmoid(log_scale.exp() * x @ y.T + bias)


before, losses = probabilities(), []
for _ in range(80):
    loss = loss_func(*features(256), log_scale.exp(), bias)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

# %%
# The probability that picture i belongs to text j, before and after: only the diagonal is left.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
left.imshow(before.numpy(), vmin=0, vmax=1)
left.set(title="Before", xlabel="text", ylabel="picture")
middle.imshow(probabilities().numpy(), vmin=0, vmax=1)
middle.set(title="After 80 steps", xlabel="text")
right.plot(losses)
right.set(title="Loss", xlabel="step", ylabel="BCE of a row of pairs (nats)")
plt.show()
