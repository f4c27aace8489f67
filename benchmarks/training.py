"""Seconds per epoch of the article's program and of a large table, beside the article's own loop and its peers.

Same network, rows, epochs, batch size and learning rate, in one run, taking turns; the medians are printed with the
final BCE over all rows beside each, computed by torch in float64, so that no one wins by not training.
torchbce.fit evaluates tensors in memory again after every epoch; nobody else does.

Run: python benchmarks/training.py            (about six minutes)
"""

from __future__ import annotations

import logging
import statistics
import time
import warnings
from collections.abc import Callable

import lightning
import machine
import numpy as np
import skorch
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import torchbce

warnings.simplefilter("ignore", ConvergenceWarning)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def network(n: int) -> nn.Sequential:
    """n-8-8-1 with tanh and a sigmoid, the article's shape."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(n, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid())


class Items(Dataset):
    """The article's dataset: one dict per item."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"predictors": self.x[i], "target": self.y[i]}


class Lit(lightning.LightningModule):
    """The same step for Lightning."""

    def __init__(self, net: nn.Module, lr: float) -> None:
        super().__init__()
        self.net, self.lr, self.loss = net, lr, nn.BCELoss()

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return self.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def contestants(x: torch.Tensor, y: torch.Tensor, batch: int, lr: float, epochs: int) -> dict[str, Callable]:
    """Each trains once from the start and returns a function from rows to probabilities."""

    def article() -> Callable:
        net = network(x.shape[1])
        loader = DataLoader(Items(x, y), batch_size=batch, shuffle=True)
        loss_func, optimizer = nn.BCELoss(), torch.optim.SGD(net.parameters(), lr=lr)
        for _ in range(epochs):
            epoch_loss = 0.0
            for b in loader:
                optimizer.zero_grad()
                loss = loss_func(net(b["predictors"]), b["target"])
                epoch_loss += loss.item()
                loss.backward()
                optimizer.step()
        return net

    def by_hand() -> Callable:
        net = network(x.shape[1])
        loss_func, optimizer = nn.BCELoss(), torch.optim.SGD(net.parameters(), lr=lr)
        for _ in range(epochs):
            for i in torch.randperm(len(x)).split(batch):
                optimizer.zero_grad()
                loss_func(net(x[i]), y[i]).backward()
                optimizer.step()
        return net

    def ours(data: object) -> Callable:
        net = network(x.shape[1])
        sgd = torch.optim.SGD(net.parameters(), lr=lr)
        torchbce.fit(net, data, torchbce.BCELoss(), optimizer=sgd, epochs=epochs, batch_size=batch, on_epoch=None)
        return net

    def with_skorch() -> Callable:
        model = skorch.NeuralNetBinaryClassifier(
            network(x.shape[1]),
            criterion=nn.BCELoss,
            optimizer=torch.optim.SGD,
            lr=lr,
            max_epochs=epochs,
            batch_size=batch,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        # skorch squeezes (N, 1) outputs itself and wants flat targets
        return model.fit(x, y.squeeze(1)).module_

    def with_lightning() -> Callable:
        net = network(x.shape[1])
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Lit(net, lr), DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True))
        return net

    def with_sklearn() -> Callable:
        model = MLPClassifier(
            (8, 8),
            activation="tanh",
            solver="sgd",
            alpha=0,
            batch_size=batch,
            learning_rate_init=lr,
            momentum=0,
            max_iter=epochs,
            n_iter_no_change=epochs,
            tol=0,
            random_state=1,
        ).fit(x.numpy(), y.squeeze(1).numpy())
        return lambda rows: torch.from_numpy(model.predict_proba(rows.numpy())[:, 1:])

    return {
        "the article's loop": article,
        "torchbce.fit, its DataLoader": lambda: ours(DataLoader(Items(x, y), batch_size=batch, shuffle=True)),
        "torchbce.fit, tensors": lambda: ours((x, y)),
        "tensors by hand, torch's BCELoss": by_hand,
        "skorch": with_skorch,
        "Lightning": with_lightning,
        "scikit-learn MLPClassifier": with_sklearn,
    }


def race(title: str, rows: int, columns: int, batch: int, lr: float, epochs: int, rounds: int) -> str:
    """All contestants in turn, `rounds` times."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns), dtype=np.float32)
    logit = 2 * x[:, 0] - 1.5 * x[:, 1] * x[:, 2] + x[:, 3]
    y = (rng.random(rows) < 1 / (1 + np.exp(-1.5 * logit))).astype(np.float32)
    tensors = torch.from_numpy(x), torch.from_numpy(y).unsqueeze(1)
    seconds: dict[str, list[float]] = {}
    final: dict[str, float] = {}
    for _ in range(rounds):
        for name, train in contestants(*tensors, batch, lr, epochs).items():
            start = time.perf_counter()
            predict = train()
            seconds.setdefault(name, []).append((time.perf_counter() - start) / epochs)
            with torch.no_grad():
                probabilities = predict(tensors[0]).double().reshape(-1, 1)
            final[name] = nn.functional.binary_cross_entropy(probabilities, tensors[1].double()).item()
            print(f"  {title}: {name} {seconds[name][-1]:.4f} s per epoch", flush=True)
    steps = -(-rows // batch)
    base = statistics.median(seconds["the article's loop"])
    lines = [
        [
            name,
            f"{1e3 * t:,.1f}",
            f"{1e6 * t / steps:,.0f}",
            f"{rows / t / 1e6:.2f}",
            f"{base / t:.2f}",
            f"{final[name]:.4f}",
        ]
        for name, times in seconds.items()
        for t in [statistics.median(times)]
    ]
    head = ["", "ms per epoch", "µs per step", "M rows/s", "times the article's speed", "final BCE"]
    return f"### {title}\n\nMedian of {rounds} turns, {epochs} epochs each.\n\n{machine.table(head, lines)}"


if __name__ == "__main__":
    where = machine.describe("torchbce", "skorch", "lightning", "scikit-learn")
    small = race("1,097 x 4, batch 10, 4-8-8-1, SGD 0.1", 1_097, 4, 10, 0.1, epochs=40, rounds=5)
    large = race("1,000,000 x 30, batch 1,024, 30-8-8-1, SGD 0.5", 1_000_000, 30, 1_024, 0.5, epochs=2, rounds=3)
    text = f"# Training speed\n\n`python benchmarks/training.py`: {where}\n\n{small}\n\n{large}"
    machine.keep("training", text)
