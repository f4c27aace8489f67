"""
Many labels without stored logits
=================================

An item may have a few of very many labels. :class:`torchbce.LinearBCELoss` takes the place of the last layer and of the
loss: it takes features and the numbers of each item's labels, and no matrix of items by labels is ever made. The script
``examples/extreme_labels.py`` does the same with 100,000 labels.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import torch

import torchbce

torch.manual_seed(0)
LABELS, PER_ITEM, FEATURES = 2000, 3, 32

# %%
# Data that are made up: each label is a direction, an item's features are the sum of its labels' directions and noise.
# As with words, few labels are frequent and most are rare. A label that is drawn twice for an item counts once.

directions = torch.randn(LABELS, FEATURES) / FEATURES**0.5
often = torch.arange(1, LABELS + 1) ** -0.7


def batch(count):
    numbers = torch.multinomial(often, count * PER_ITEM, replacement=True).reshape(count, PER_ITEM)
    return directions[numbers].sum(1) + 0.1 * torch.randn(count, FEATURES), numbers


# %%
# The bias begins with the base rate: otherwise many steps are lost on learning that labels are rare.
# ``normalize="batch"`` adds up the losses of an item's labels: a mean over thousands of labels has tiny gradients.

head = torchbce.LinearBCELoss(FEATURES, LABELS, normalize="batch")
torch.nn.init.zeros_(head.weight)
torch.nn.init.constant_(head.bias, float(torch.logit(torch.tensor(PER_ITEM / LABELS))))
optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
losses, seen = [], torch.zeros(LABELS)
for _ in range(150):
    x, numbers = batch(256)
    seen += torch.bincount(numbers.flatten(), minlength=LABELS)
    loss = head(x, numbers)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

# %%
# ``predict_topk`` finds the labels with the largest logits, tile by tile too. Frequent labels are found, rare ones are
# not yet: 150 batches are a short training.

x, numbers = batch(2000)
best = head.predict_topk(x, k=PER_ITEM)[1]
found = (numbers[:, :, None] == best[:, None]).any(2)
times = seen[numbers]
edges = [0, 20, 40, 80, 160, float("inf")]
shares = [found[(times >= low) & (times < high)].float().mean().item() for low, high in pairwise(edges)]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(losses)
left.set(xlabel="step", ylabel="BCE of an item, all labels (nats)", title="Loss")
right.bar(["< 20", "20 to 39", "40 to 79", "80 to 159", "160 +"], shares)
right.set(xlabel="times that the label was seen", ylabel="share found in the top 3", ylim=(0, 1), title="By frequency")
plt.show()
