"""
The article's program: three losses that are the same
=====================================================

An article, *How PyTorch Computes BCE Loss*, writes the loss anew to understand it. Here a network is trained three
times: with torch's loss, with torchbce's, and with the article's own lines.
"""

import matplotlib.pyplot as plt
import torch as T
from sklearn.datasets import load_iris

import torchbce
from torchbce.explanation.plots import ItemLossDisplay

# %%
# The data are iris versicolor (0) against virginica (1): 100 items with four predictors.

iris = load_iris()
rows = iris.target != 0
X = T.tensor(iris.data[rows], dtype=T.float32)
X = (X - X.mean(0)) / X.std(0)
Y = T.tensor(iris.target[rows] == 2, dtype=T.float32).reshape(-1, 1)

# %%
# The article's function: minus the logarithm of the probability that was given to what happened, as a mean.


def my_bce(oupts, targets):
    total = 0.0
    for oupt, target in zip(oupts, targets, strict=True):
        total += T.log(oupt) if target >= 0.5 else T.log(1 - oupt)
    return -total / len(oupts)


# %%
# The loop. ``EpochBCE`` keeps the mean over the items of an epoch.


def train(loss_func, epochs=20):
    T.manual_seed(1)
    net = T.nn.Sequential(T.nn.Linear(4, 8), T.nn.Tanh(), T.nn.Linear(8, 1), T.nn.Sigmoid())
    train_ldr = T.utils.data.DataLoader(T.utils.data.TensorDataset(X, Y), batch_size=10, shuffle=True)
    optimizer = T.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(epochs):
        meter = torchbce.EpochBCE()
        for x, y in train_ldr:
            optimizer.zero_grad()
            loss_obj = loss_func(net(x), y)
            meter.update(loss_obj.squeeze(), y)
            loss_obj.backward()
            optimizer.step()
        losses.append(meter.compute())
    return losses


losses = {
    "torch.nn.BCELoss": train(T.nn.BCELoss()),
    "torchbce.BCELoss": train(torchbce.BCELoss()),
    "my_bce": train(my_bce),
}
for name, of_epochs in losses.items():
    print(f"{name:<18} {of_epochs[0]:.4f} ... {of_epochs[-1]:.4f}")

# %%
# The three curves lie on each other.

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for (name, of_epochs), style in zip(losses.items(), ("-", "--", ":"), strict=True):
    axes[0].plot(range(1, 21), of_epochs, style, linewidth=3, label=name)
axes[0].axhline(0.6931, color="grey", linewidth=1, label="always the base rate")
axes[0].set(xlabel="epoch", ylabel="mean BCE, nats per item")
axes[0].legend()

outputs, targets = [0.60, 0.20, 0.70], [1, 0, 1]  # the article's three items
ItemLossDisplay.from_predictions(outputs, targets, from_logits=False, ax=axes[1])
plt.show()

# %%
# And its table of three items, where the mean comes from:

print(torchbce.explain(outputs, targets, from_logits=False).table)
