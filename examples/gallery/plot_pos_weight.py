"""
Rare events: pos_weight without lost calibration
================================================

``pos_weight=k`` multiplies what positives cost. The model then learns logits that are too large by log k: its
ranking may stay, its probabilities do not. Take log k off again, or start at the base rate and need no weight.
"""

import math

import matplotlib.pyplot as plt
import torch

import torchbce
from torchbce.explanation.plots import ReliabilityDisplay

# %%
# 20,000 items, of which about 3 % are positive, half for training and half to judge by.

torch.manual_seed(0)
X = torch.randn(20_000, 4)
true_logit = X @ torch.tensor([[1.2], [-0.8], [0.5], [0.0]]) - 4.4
Y = (torch.rand(20_000, 1) < torch.sigmoid(true_logit)).float()
train, test = slice(0, 10_000), slice(10_000, None)
print(f"{100 * Y.mean():.1f} % are positive")

# %%
# Three ways: plain BCE from a bias of 0; with the weight that balances the classes; and plain BCE that starts at
# the base rate.


def fitted(loss_func, bias=None):
    torch.manual_seed(1)
    net = torch.nn.Linear(4, 1)
    if bias is not None:
        torch.nn.init.constant_(net.bias, float(bias))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    torchbce.fit(
        net, (X[train], Y[train]), loss_func, optimizer=optimizer, epochs=5, batch_size=200, seed=0, on_epoch=None
    )
    with torch.no_grad():
        return net(X[test])


k = float(torchbce.pos_weight_from(Y[train]))
logits = {
    "plain": fitted(torchbce.BCEWithLogitsLoss()),
    f"pos_weight {k:.1f}": fitted(torchbce.BCEWithLogitsLoss(pos_weight=k)),
    "plain, bias at the base rate": fitted(torchbce.BCEWithLogitsLoss(), torchbce.prior_bias(Y[train])),
}
logits["pos_weight, log k taken off"] = logits[f"pos_weight {k:.1f}"] - math.log(k)

# %%
# The mean BCE on the test items. The ranking (AUC) is about the same for all; what differs is calibration.

found = {name: torchbce.explain(z, Y[test], from_logits=True) for name, z in logits.items()}
for name, one in found.items():
    print(f"{name:<29} {one.mean:.4f} nats, {100 * one.d2:6.1f} % below the base rate, AUC {one.auc:.3f}")

# %%
# ``check_predictions`` names it, with the shift:

print(torchbce.check_predictions(logits[f"pos_weight {k:.1f}"], Y[test], from_logits=True)["BCE028"])

# %%
# Reliability. Outside of the band, probabilities are wrong.

figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for ax, name in zip(
    axes, [f"pos_weight {k:.1f}", "pos_weight, log k taken off", "plain, bias at the base rate"], strict=True
):
    ReliabilityDisplay.from_explanation(found[name]).plot(ax)
    ax.set_title(name)
plt.show()
