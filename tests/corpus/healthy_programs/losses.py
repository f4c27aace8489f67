"""Losses: BCE in all its forms, and others that are right too."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce import Report

from .common import blobs, mlp, rows
from .registry import healthy


def many_labels(n: int = 128, labels: int = 20) -> tuple[Tensor, Tensor]:
    """Rows with 20 labels, of which few are true."""
    x, _ = rows(n)
    score = x @ torch.randn(8, labels) / 3 + 0.5 * torch.randn(n, labels)
    return x, (score > torch.linspace(0.3, 1.6, labels)).float()


def segmenter() -> nn.Sequential:
    """Two convolutions that give a logit per pixel."""
    return nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))


def probabilities() -> nn.Sequential:
    """A network that ends with a sigmoid."""
    return mlp().append(nn.Sigmoid())


@healthy("pos_weight of a rare class")
def pos_weight() -> Report:
    batch = rows(256, rate=0.1)
    return torchbce.check(mlp(), batch, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([9.0])))


@healthy("20 labels, with a pos_weight per label")
def multi_label_pos_weight() -> Report:
    x, y = many_labels()
    weight = (len(y) - y.sum(0)) / y.sum(0).clamp(min=1)
    return torchbce.check(mlp(8, 32, 20), (x, y), nn.BCEWithLogitsLoss(pos_weight=weight))


@healthy("20 labels and 20 items: a pos_weight per label has as many values as the batch has items")
def as_many_labels_as_items() -> Report:
    x, y = many_labels(20)
    return torchbce.check(mlp(8, 32, 20), (x, y), nn.BCEWithLogitsLoss(pos_weight=torch.full((20,), 3.0)))


@healthy("a fixed weight per label")
def weight_per_label() -> Report:
    return torchbce.check(mlp(8, 32, 20), many_labels(), nn.BCEWithLogitsLoss(weight=torch.linspace(0.5, 2, 20)))


@healthy("reduction='sum', divided by nothing, with a small learning rate")
def sum_reduction() -> Report:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    return torchbce.check(model, rows(), nn.BCEWithLogitsLoss(reduction="sum"), optimizer)


@healthy("reduction='none', summed over labels and then averaged over items")
def sum_over_labels_mean_over_items() -> Report:
    per_label = nn.BCEWithLogitsLoss(reduction="none")
    return torchbce.check(mlp(8, 32, 20), many_labels(), lambda z, t: per_label(z, t).sum(1).mean())


@healthy("nn.BCELoss after a sigmoid")
def bce_loss() -> Report:
    return torchbce.check(probabilities(), rows(), nn.BCELoss())


@healthy("F.binary_cross_entropy after a sigmoid, with weights that are made of the targets")
def weights_from_targets() -> Report:
    loss_func = lambda p, t: F.binary_cross_entropy(p, t, weight=1 + 4 * t)  # noqa: E731
    return torchbce.check(probabilities(), rows(rate=0.2), loss_func)


@healthy("weights are made of the batch's own base rate")
def balanced_by_the_batch() -> Report:
    def loss_func(z, t):
        rate = t.mean().clamp(0.01, 0.99)
        weight = torch.where(t == 1, 0.5 / rate, 0.5 / (1 - rate))
        return F.binary_cross_entropy_with_logits(z, t, weight=weight)

    return torchbce.check(mlp(), rows(128, rate=0.2), loss_func)


@healthy("probabilities are kept off 0 and 1 by a clamp, and the logarithms are written out")
def written_out_with_clamp() -> Report:
    def loss_func(p, t):
        p = p.clamp(1e-7, 1 - 1e-7)
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    return torchbce.check(probabilities(), rows(), loss_func)


@healthy("label smoothing by 0.1")
def label_smoothing() -> Report:
    loss_func = lambda z, t: F.binary_cross_entropy_with_logits(z, t * 0.9 + 0.05)  # noqa: E731
    return torchbce.check(mlp(), rows(), loss_func)


@healthy("focal loss from logits, as torchvision has it")
def focal_torchvision() -> Report:
    def loss_func(z, t, alpha=0.25, gamma=2.0):
        p = z.sigmoid()
        ce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
        p_t = p * t + (1 - p) * (1 - t)
        return ((alpha * t + (1 - alpha) * (1 - t)) * (1 - p_t) ** gamma * ce).mean()

    return torchbce.check(mlp(), rows(128, rate=0.2), loss_func)


@healthy("focal loss by exp(-ce), divided by the number of positives")
def focal_per_positive() -> Report:
    def loss_func(z, t):
        ce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
        return ((1 - torch.exp(-ce)) ** 2 * ce).sum() / t.sum().clamp(min=1)

    return torchbce.check(mlp(), rows(128, rate=0.2), loss_func)


def dice(z: Tensor, t: Tensor) -> Tensor:
    """Soft dice per picture."""
    p = z.sigmoid().flatten(1)
    t = t.flatten(1)
    return 1 - ((2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


@healthy("dice over each picture plus BCE")
def dice_and_bce() -> Report:
    loss_func = lambda z, t: F.binary_cross_entropy_with_logits(z, t) + dice(z, t)  # noqa: E731
    return torchbce.check(segmenter(), blobs(), loss_func)


@healthy("dice over the whole batch plus BCE: pixels of all pictures share a denominator")
def batch_dice_and_bce() -> Report:
    def loss_func(z, t):
        p = z.sigmoid()
        overlap = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        return 0.5 * F.binary_cross_entropy_with_logits(z, t) + 0.5 * overlap

    return torchbce.check(segmenter(), blobs(), loss_func)


@healthy("the loss adds an L2 penalty of the weights")
def penalty() -> Report:
    model = mlp()

    def loss_func(z, t):
        return F.binary_cross_entropy_with_logits(z, t) + 1e-3 * sum(p.square().sum() for p in model.parameters())

    return torchbce.check(model, rows(), loss_func, torch.optim.SGD(model.parameters(), lr=0.1))


@healthy("the loss penalizes confident outputs by their entropy")
def confidence_penalty() -> Report:
    def loss_func(z, t):
        p = z.sigmoid()
        return F.binary_cross_entropy_with_logits(z, t) - 0.05 * F.binary_cross_entropy_with_logits(z, p)

    return torchbce.check(mlp(), rows(), loss_func)


class WithAuxiliaryHead(nn.Module):
    """A main head, and one on an earlier layer in training only."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 16)
        self.early, self.head = nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, x):
        """A pair in training, one tensor in evaluation."""
        low = torch.relu(self.first(x))
        out = self.head(torch.relu(self.second(low)))
        return (out, self.early(low)) if self.training else out


@healthy("an auxiliary head in training only: the outputs' type depends on the mode")
def auxiliary_head() -> Report:
    def loss_func(out, t):
        if isinstance(out, tuple):
            return sum(w * F.binary_cross_entropy_with_logits(z, t) for w, z in zip((1.0, 0.4), out, strict=True))
        return F.binary_cross_entropy_with_logits(out, t)

    model = WithAuxiliaryHead()
    return torchbce.check(model, rows(), loss_func, torch.optim.Adam(model.parameters()))


@healthy("a pairwise logistic loss ranks each positive above each negative")
def pairwise_logistic() -> Report:
    def loss_func(z, t):
        return F.softplus(z[t == 0][None, :] - z[t == 1][:, None]).mean()

    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1, bias=False))  # a last bias would cancel
    optimizer = torch.optim.Adam(model.parameters())
    return torchbce.check(model, rows(48), loss_func, optimizer)


@healthy("a contrastive loss on the distance of two embeddings")
def contrastive() -> Report:
    class Distance(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(8, 16, 4).append(nn.Tanh())  # a last bias would cancel in the difference

        def forward(self, pair):
            return (self.net(pair[:, 0]) - self.net(pair[:, 1])).norm(dim=1)

    x, y = rows(96)
    y = y[:48, 0]
    pair = torch.stack([x[:48], torch.where(y[:, None] == 1, x[:48] + 0.3 * torch.randn(48, 8), x[48:])], 1)
    loss_func = lambda d, t: (t * d**2 + (1 - t) * F.relu(1 - d) ** 2).mean()  # noqa: E731
    return torchbce.check(Distance(), (pair, y), loss_func)


@healthy("hinge loss on targets 0 and 1")
def hinge() -> Report:
    return torchbce.check(mlp(), rows(), lambda z, t: F.relu(1 - (2 * t - 1) * z).mean())


@healthy("nn.SoftMarginLoss on targets -1 and 1")
def soft_margin() -> Report:
    x, y = rows()
    return torchbce.check(mlp(), (x, 2 * y - 1), nn.SoftMarginLoss())


@healthy("the Brier score after a sigmoid")
def brier() -> Report:
    return torchbce.check(probabilities(), rows(), nn.MSELoss())


@healthy("two outputs, class numbers and nn.CrossEntropyLoss")
def cross_entropy_of_two() -> Report:
    x, y = rows()
    return torchbce.check(mlp(8, 16, 2), (x, y[:, 0].long()), nn.CrossEntropyLoss())


@healthy("two outputs after a log-softmax, and nn.NLLLoss with class weights")
def nll_of_two() -> Report:
    x, y = rows(rate=0.25)
    model = mlp(8, 16, 2).append(nn.LogSoftmax(dim=1))
    return torchbce.check(model, (x, y[:, 0].long()), nn.NLLLoss(weight=torch.tensor([1.0, 3.0])))


@healthy("knowledge distillation: soft targets of a teacher, at temperature 2")
def distillation() -> Report:
    x, _ = rows(96)
    with torch.no_grad():
        targets = (3 * mlp()(x) / 2).sigmoid()
    loss_func = lambda z, t: 4 * F.binary_cross_entropy_with_logits(z / 2, t)  # noqa: E731
    return torchbce.check(mlp(), (x, targets), loss_func)


@healthy("mixup: inputs are mixed, and so are targets")
def mixup() -> Report:
    x, y = rows(96)
    share = torch.distributions.Beta(0.4, 0.4).sample((96, 1))
    order = torch.randperm(96)
    batch = share * x + (1 - share) * x[order], share * y + (1 - share) * y[order]
    return torchbce.check(mlp(), batch, nn.BCEWithLogitsLoss())


@healthy("a variational layer: the loss adds a divergence that the model keeps")
def variational() -> Report:
    class Variational(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.log_var, self.head = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 1)

        def forward(self, x):
            mean, log_var = self.mean(x), self.log_var(x)
            z = mean + torch.randn_like(mean) * (0.5 * log_var).exp() if self.training else mean
            return self.head(z), mean, log_var

    def loss_func(out, t):
        z, mean, log_var = out
        divergence = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean()
        return F.binary_cross_entropy_with_logits(z, t) + 1e-3 * divergence

    model = Variational()
    return torchbce.check(model, rows(), loss_func, torch.optim.Adam(model.parameters()))
