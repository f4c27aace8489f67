"""
A loss of your own, fused
=========================

Write the lines for one item. torchbce derives the derivative, and the loss runs in one pass with every option of
the others. Here: BCE whose confident mistakes stop pulling, for labels that are sometimes wrong.
"""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import torchbce

# %%
# Generalized cross-entropy (`Zhang and Sabuncu 2018 <https://arxiv.org/abs/1805.07836>`_): ``(1 - given ** q) /
# q``. For q near 0 it is BCE, for q = 1 the absolute error.


@torchbce.fused_loss
def generalized(x, y, q=0.7):
    given = torch.sigmoid(y * x - (1 - y) * x)  # the probability given to a target of 0 or 1
    return (1 - given**q) / q


# %%
# Is the derived derivative right? ``verify`` compares it with autograd and with finite differences.

print(torchbce.verify(generalized))

# %%
# Does it keep probabilities right? ``check_loss`` finds out from the gradients.

print(torchbce.check_loss(generalized)["BCE007"])

# %%
# Trained with a tenth of the labels flipped, and judged by the true ones:

torch.manual_seed(0)
X = torch.randn(4_000, 2)
truth = (X.sum(1, keepdim=True) > 0).float()
flipped = torch.rand(4_000, 1) < 0.1
Y = torch.where(flipped, 1 - truth, truth)
for name, loss_func in {"BCE": torchbce.BCEWithLogitsLoss(), "generalized": generalized.module(q=0.7)}.items():
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss_func(net(X), Y).backward()
        optimizer.step()
    with torch.no_grad():
        z = net(X)
    right = 100 * ((z > 0) == (truth > 0)).float().mean()
    by_truth = F.binary_cross_entropy_with_logits(z, truth)
    print(f"{name:<12} {right:.1f} % right, mean BCE by the true labels {by_truth:.3f}")

# %%
# The losses over the logit, and their slopes, which the fused pass gives with the value.

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for q, style in ((0.01, "-"), (0.5, "--"), (1.0, ":")):
    x = torch.linspace(-6, 6, 241, requires_grad=True)
    loss = generalized(x, torch.ones(241), q=q, reduction="none")
    loss.sum().backward()
    axes[0].plot(x.detach(), loss.detach(), style, label=f"q = {q:g}")
    axes[1].plot(x.detach(), x.grad, style, label=f"q = {q:g}")
axes[0].set(xlabel="logit", ylabel="loss of a target of 1, nats")
axes[1].set(xlabel="logit", ylabel="slope")
axes[0].legend()
plt.show()
