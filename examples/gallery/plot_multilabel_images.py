"""
Many labels of pixels: a weight per class
=========================================

A network for images with several labels per pixel gives logits of the layout (N, C, H, W). ``class_dim=1`` says
where the classes are, so that ``pos_weight`` and ``weight`` stay vectors of C numbers; pixels without an answer are
left out.
"""

import matplotlib.pyplot as plt
import torch

import torchbce

torch.manual_seed(0)
N, C, SIZE = 6, 3, 36
names = ["disc", "stripe", "spot"]

# %%
# Images with a large disc, a stripe and small spots, and noise over all. A pixel can have several labels or none. A
# frame of pixels has no answer: its targets are -1.

rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
targets = torch.zeros(N, C, SIZE, SIZE)
for n in range(N):
    centre = torch.randint(14, SIZE - 14, (2,))
    targets[n, 0] = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 150).float()
    start = int(torch.randint(4, SIZE - 10, ()))
    targets[n, 1, :, start : start + 5] = 1
    for place in torch.randint(4, SIZE - 4, (4, 2)):
        targets[n, 2, place[0] - 1 : place[0] + 2, place[1] - 1 : place[1] + 2] = 1
images = targets.sum(1, keepdim=True) + 0.3 * torch.randn(N, 1, SIZE, SIZE)
answered = targets.clone()
answered[:, :, :2] = answered[:, :, -2:] = -1

# %%
# How rare each class is, and the logit of its share: with ``prior_bias`` in the last layer, training starts at the
# base rate.

share = targets.mean((0, 2, 3))
for name, one in zip(names, share.tolist(), strict=True):
    print(f"{name:<7} {100 * one:5.2f} % of the pixels")

net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 7, padding=3),
    torch.nn.ReLU(),
    torch.nn.Conv2d(8, 8, 5, padding=2),
    torch.nn.ReLU(),
    torch.nn.Conv2d(8, C, 1),
)
with torch.no_grad():
    net[-1].weight.zero_()
    net[-1].bias.copy_(torchbce.prior_bias(targets.permute(0, 2, 3, 1).reshape(-1, C)))

# %%
# The loss: a weight per class along dimension 1, -1 left out, and the mean over what counts.

loss_func = torchbce.BCEWithLogitsLoss(
    pos_weight=torch.tensor([1.0, 1.0, 4.0]), class_dim=1, ignore_index=-1, normalize="valid"
)
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
losses = []
for _ in range(80):
    optimizer.zero_grad()
    loss = loss_func(net(images), answered)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"{losses[0]:.4f} at the start, {losses[-1]:.4f} at the end")

# %%
# The same by hand: expand the weights, mask the frame, divide by what is left. It is the same number, in several
# passes.

with torch.no_grad():
    logits = net(images)
    valid = answered != -1
    weight = torch.tensor([1.0, 1.0, 4.0])[:, None, None]
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, answered.clamp(min=0), pos_weight=weight, reduction="none"
    )
    by_hand = (each * valid).sum() / valid.sum()
    print(f"torchbce {loss_func(logits, answered).item():.6f}, by hand {by_hand.item():.6f}")

# %%
# What it has learnt, and what each class costs:

found = torchbce.explain(
    logits.permute(0, 2, 3, 1).reshape(-1, C),
    targets.permute(0, 2, 3, 1).reshape(-1, C),
    from_logits=True,
    labels=names,
)
for name, one in found.labels.items():
    print(f"{name:<7} {one.mean:.4f} nats per pixel, {100 * one.d2:.0f} % below its base rate")

figure, axes = plt.subplots(1, 1 + C, figsize=(12, 3.2), layout="constrained")
axes[0].imshow(images[0, 0].numpy(), cmap="gray")
axes[0].set_title("image")
for c, name in enumerate(names):
    axes[1 + c].imshow(torch.sigmoid(logits[0, c]).numpy(), vmin=0, vmax=1)
    axes[1 + c].contour(targets[0, c].numpy(), [0.5], colors="white", linewidths=1)
    axes[1 + c].set_title(f"{name}: probability, truth outlined")
for ax in axes:
    ax.axis("off")
plt.show()
