"""The article's program: train a binary classifier with torch's BCELoss, with torchbce's, and with its own my_bce().

All three print the same, because they are the same function. The data are iris versicolor (0) against virginica (1),
which ship with scikit-learn.

Run: python examples/article.py                (all three)
     python examples/article.py my_bce         (one of torch, torchbce, my_bce)
"""

import sys

import torch as T
from sklearn.datasets import load_iris

import torchbce


class IrisDataset(T.utils.data.Dataset):
    """Items are dicts of predictors [4] and target [1]."""

    def __init__(self):
        iris = load_iris()
        rows = iris.target != 0
        x = T.tensor(iris.data[rows], dtype=T.float32)
        self.x = (x - x.mean(0)) / x.std(0)
        self.y = T.tensor(iris.target[rows] == 2, dtype=T.float32).reshape(-1, 1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"predictors": self.x[i], "target": self.y[i]}


class Net(T.nn.Module):
    """4-(8-8)-1 with a sigmoid at the end, so that the output is a probability."""

    def __init__(self):
        super().__init__()
        self.hid1, self.hid2, self.oupt = T.nn.Linear(4, 8), T.nn.Linear(8, 8), T.nn.Linear(8, 1)

    def forward(self, x):
        z = T.tanh(self.hid1(x))
        z = T.tanh(self.hid2(z))
        return T.sigmoid(self.oupt(z))


def my_bce(model, batch):
    """The article's own, from scratch: the mean of -log(output) or -log(1 - output)."""
    sum = 0.0
    inpts = batch["predictors"]
    targets = batch["target"]
    oupts = model(inpts)
    for i in range(len(inpts)):
        oupt = oupts[i]
        if targets[i] >= 0.5:  # avoiding == 1.0
            sum += T.log(oupt)
        else:
            sum += T.log(1 - oupt)

    return -sum / len(inpts)


def train(loss_name, epochs=50, lrn_rate=0.1):
    """The article's loop; returns what it prints."""
    T.manual_seed(1)
    net = Net()
    train_ldr = T.utils.data.DataLoader(IrisDataset(), batch_size=10, shuffle=True)
    loss_func = {"torch": T.nn.BCELoss(), "torchbce": torchbce.BCELoss(), "my_bce": None}[loss_name]
    optimizer = T.optim.SGD(net.parameters(), lr=lrn_rate)

    lines = []
    for epoch in range(epochs):
        epoch_loss = 0.0
        meter = torchbce.EpochBCE()
        for batch in train_ldr:
            X = batch["predictors"]  # [10,4]
            Y = batch["target"]  # [10,1], 0 or 1

            optimizer.zero_grad()
            loss_obj = loss_func(net(X), Y) if loss_func else my_bce(net, batch)
            epoch_loss += loss_obj.item()  # the sum of batch means, as in the article
            meter.update(loss_obj.squeeze(), Y)  # the mean over items
            loss_obj.backward()
            optimizer.step()
        if epoch % 10 == 0 or epoch == epochs - 1:
            lines.append(f"epoch {epoch:3d}  sum of batch means {epoch_loss:7.4f}   {meter}")
    return lines


if __name__ == "__main__":
    printed = {name: train(name) for name in sys.argv[1:] or ["torch", "torchbce", "my_bce"]}
    for name, lines in printed.items():
        print(f"\nloss: {name}", *lines, sep="\n")
    if len(printed) > 1:
        same = len(set(map(tuple, printed.values()))) == 1
        print(f"\nall {len(printed)} print the same: {same}")

    print("\nThe article's three items:\n")
    print(torchbce.explain([0.60, 0.20, 0.70], [1, 0, 1], from_logits=False))
    print("\n(The article's mean, 0.3633, divides the rounded total 1.09; the mean itself is 0.3635.)")
