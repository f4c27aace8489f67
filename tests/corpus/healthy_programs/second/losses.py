"""Losses of one's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import blobs, mlp, rows
from torchbce import Report

from .seen import healthy

bce_logits = F.binary_cross_entropy_with_logits


@healthy(
    "distillation: BCE with the sigmoid of a teacher's logits, and with the labels",
    "https://github.com/fschmid56/EfficientAT/issues/18",
)
def teacher_and_labels() -> Report:
    x, y = rows()
    torch.manual_seed(0)
    taught = torch.cat([y, 4 * y - 2 + torch.randn_like(y)], 1)
    return torchbce.check(
        mlp(),
        (x, taught),
        lambda o, t: 0.3 * bce_logits(o, t[:, :1]) + 0.7 * bce_logits(o, torch.sigmoid(t[:, 1:])),
    )


@healthy(
    "the relativistic loss of pairs, softplus of the difference, in which the targets are not used",
    "https://github.com/brownvc/R3GAN/issues/10",
)
def softplus_of_pairs() -> Report:
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, real, made):
            return {"real": self.net(real), "made": self.net(made)}

    x, y = rows(128)
    torch.manual_seed(1)
    batch = (x[y[:, 0] == 1], x[y[:, 0] == 0]), torch.ones(64, 1)
    return torchbce.check(Two(), batch, lambda out, t: F.softplus(-(out["real"] - out["made"])).mean())


@healthy(
    "pairwise logistic loss: the first column is the liked item, the others are not",
    "https://github.com/reczoo/RecBox/blob/main/matchbox/pytorch/losses/pairwise_logistic_loss.py",
)
def first_against_others() -> Report:
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, x):
            return self.net(x).squeeze(-1)

    def loss(y_pred, y_true):
        return -torch.log(torch.sigmoid(y_pred[:, 0].unsqueeze(-1) - y_pred[:, 1:])).mean()

    torch.manual_seed(2)
    x = torch.randn(32, 5, 8)
    x[:, 0, 0] += 2
    y = torch.zeros(32, 5)
    y[:, 0] = 1
    return torchbce.check(Scores(), (x, y), loss)


@healthy(
    "scores of true and false triples are concatenated, and so are ones and zeros",
    "https://github.com/dfdazac/modgraph/blob/master/loss.py",
)
def concatenated_scores() -> Report:
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, yes, no):
            return self.net(yes).squeeze(1), self.net(no).squeeze(1)

    def loss(out, t):
        yes, no = out
        return bce_logits(torch.cat([yes, no]), torch.cat([torch.ones_like(yes), torch.zeros_like(no)]))

    x, y = rows(128)
    torch.manual_seed(3)
    return torchbce.check(Two(), ((x[y[:, 0] == 1], x[y[:, 0] == 0]), torch.ones(64)), loss)


@healthy("Huber loss of probabilities", "https://github.com/Photon-AI-Research/NeuralSolvers/issues/20")
def huber_of_probabilities() -> Report:
    torch.manual_seed(4)
    return torchbce.check(mlp(), rows(), lambda o, t: F.smooth_l1_loss(torch.sigmoid(o).reshape(-1), t.reshape(-1)))


@healthy(
    "a temperature divides the logits in the loss", "https://github.com/torch-uncertainty/torch-uncertainty/issues/165"
)
def temperature_in_the_loss() -> Report:
    torch.manual_seed(5)
    return torchbce.check(mlp(), rows(), lambda o, t: bce_logits(o / 2.0, t) * 4.0)


@healthy("BCE in bits", "https://github.com/cerbrec/graphbook/pull/142")
def in_bits() -> Report:
    torch.manual_seed(6)
    return torchbce.check(mlp(), rows(), lambda o, t: bce_logits(o, t) / torch.tensor(2.0).log())


@healthy(
    "generalized cross-entropy, (1 - p^q) / q, robust to wrong labels",
    "https://github.com/sumyeongahn/PGD/blob/master/trainer/module/loss.py",
)
def generalized_cross_entropy() -> Report:
    def loss(o, t, q=0.7):
        p = torch.sigmoid(o)
        return ((1 - (t * p + (1 - t) * (1 - p)).clamp(min=1e-7) ** q) / q).mean()

    torch.manual_seed(7)
    return torchbce.check(mlp(), rows(), loss)


@healthy("the worst tenth of the pixels of each picture", "https://github.com/open-mmlab/mmsegmentation/issues/1304")
def worst_pixels() -> Report:
    def loss(o, t):
        each = bce_logits(o, t, reduction="none").flatten(1)
        return each.topk(each.shape[1] // 10, dim=1).values.mean()

    torch.manual_seed(8)
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1))
    return torchbce.check(model, blobs(), loss)


@healthy("a void border with the value 0.5 has weight 0", "https://github.com/open-mmlab/mmsegmentation/issues/1266")
def void_of_one_half() -> Report:
    def loss(o, t):
        weight = (t != 0.5).float()
        return bce_logits(o, t, weight=weight, reduction="sum") / weight.sum()

    torch.manual_seed(9)
    x, y = blobs()
    y[:, :, :1] = 0.5
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1))
    return torchbce.check(model, (x, y), loss)


@healthy("dice with squares below, from two channels by softmax", "https://github.com/Project-MONAI/MONAI/pull/205")
def dice_of_two_channels() -> Report:
    def loss(o, t, eps=1e-5):
        hot = torch.cat([1 - t, t], 1)
        p = o.softmax(1)
        return (1 - (2 * (p * hot).sum((2, 3)) + eps) / (p.square().sum((2, 3)) + hot.sum((2, 3)) + eps)).mean()

    torch.manual_seed(10)
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 2, 3, padding=1))
    return torchbce.check(model, blobs(), loss)


@healthy(
    "targets and item weights in one tensor, of which the loss takes both; weights go up to 30",
    "https://github.com/serdna1/ODIR-5K-multi-label-classification/issues/1",
)
def weights_beside_targets() -> Report:
    x, y = rows()
    torch.manual_seed(11)
    packed = torch.stack([y[:, 0], 1 + 29 * torch.rand(64)], 1)
    return torchbce.check(
        mlp(),
        (x, packed),
        lambda o, t: bce_logits(o[:, 0], t[:, 0], weight=t[:, 1], reduction="sum") / t[:, 1].sum(),
    )


@healthy(
    "ordinal levels 0 to 3 become three cumulative targets in the loss",
    "https://github.com/Raschka-research-group/coral-pytorch/blob/main/docs/api_modules/coral_pytorch.losses/coral_loss.md",
)
def ordinal_levels() -> Report:
    x, _ = rows()
    torch.manual_seed(12)
    level = (x[:, 0] * 1.2 + 1.5).clamp(0, 3).round().long()
    return torchbce.check(
        mlp(outputs=3), (x, level), lambda o, t: bce_logits(o, (t[:, None] > torch.arange(3)).float())
    )


@healthy(
    "survival: intervals survived and the interval of death, one target per interval",
    "https://github.com/havakv/pycox/blob/master/pycox/models/discrete_time.py",
)
def survival() -> Report:
    def loss(o, t):
        last, died = t[:, 0].long(), t[:, 1]
        intervals = torch.arange(o.shape[1])
        event = ((intervals == last[:, None]) & (died[:, None] == 1)).float()
        each = bce_logits(o, event, reduction="none")
        return (each * (intervals <= last[:, None])).sum(1).mean()

    x, y = rows()
    torch.manual_seed(13)
    t = torch.stack([torch.randint(6, (64,)).float(), y[:, 0]], 1)
    return torchbce.check(mlp(outputs=6), (x, t), loss)
