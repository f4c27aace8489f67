"""Losses that differ from BCE on purpose."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import mlp, rows
from torchbce import Report

from .seen import healthy

bce_logits = F.binary_cross_entropy_with_logits


def _tags() -> tuple[Tensor, Tensor]:
    x, y = rows()
    return x, torch.cat([y, (x[:, :5] > 0.8).float()], 1)


@healthy(
    "focal loss of probabilities by exp(-BCE)",
    "https://github.com/wilhelm-lab/SWAPS/blob/main/peak_detection_2d/loss/conf_loss.py",
)
def focal_of_probabilities() -> Report:
    class Focal(nn.Module):
        def __init__(self, gamma=2.0, alpha=0.25):
            super().__init__()
            self.gamma, self.alpha = gamma, alpha

        def forward(self, p, t):
            each = F.binary_cross_entropy(p, t, reduction="none")
            return torch.mean(self.alpha * (1 - torch.exp(-each)) ** self.gamma * each)

    torch.manual_seed(0)
    return torchbce.check(nn.Sequential(mlp(), nn.Sigmoid()), rows(), Focal())


@healthy(
    "focal loss with reduction='none', which the lambda averages",
    "https://github.com/joeyy5588/LACMA/blob/main/alfred/nn/focal_loss.py",
)
def focal_averaged_outside() -> Report:
    def focal(o, t, gamma=2, alpha=0.25):
        each = bce_logits(o, t, reduction="none")
        return alpha * (1 - torch.exp(-each)) ** gamma * each

    torch.manual_seed(1)
    return torchbce.check(mlp(outputs=6), _tags(), lambda o, t: focal(o, t).sum(1).mean())


@healthy(
    "torchvision's focal loss: alpha and gamma, the sum over all divided by the positives",
    "https://github.com/pytorch/vision/issues/8519",
)
def focal_of_torchvision() -> Report:
    def loss(o, t, alpha=0.25, gamma=2.0):
        p = torch.sigmoid(o)
        ce = bce_logits(o, t, reduction="none")
        p_t = p * t + (1 - p) * (1 - t)
        return ((alpha * t + (1 - alpha) * (1 - t)) * ce * (1 - p_t) ** gamma).sum() / t.sum().clamp(min=1)

    torch.manual_seed(2)
    return torchbce.check(mlp(), rows(rate=0.2), loss)


@healthy(
    "asymmetric loss: negatives are shifted by 0.05, the focal weight is taken without a gradient",
    "https://github.com/xuanlinli17/large_vlm_distillation_ood/blob/master/misc_losses.py",
)
def asymmetric() -> Report:
    class Asymmetric(nn.Module):
        def forward(self, x, y, gamma_neg=4, gamma_pos=1, clip=0.05, eps=1e-8):
            yes = torch.sigmoid(x)
            no = (1 - yes + clip).clamp(max=1)
            loss = y * torch.log(yes.clamp(min=eps)) + (1 - y) * torch.log(no.clamp(min=eps))
            with torch.no_grad():
                pt = yes * y + no * (1 - y)
                weight = torch.pow(1 - pt, gamma_pos * y + gamma_neg * (1 - y))
            return -(loss * weight).sum(dim=-1).mean()

    torch.manual_seed(3)
    return torchbce.check(mlp(outputs=6), _tags(), Asymmetric())


@healthy(
    "a weight for ones and one for zeros, made of the batch, on probabilities",
    "https://github.com/pytorch/pytorch/issues/5660",
)
def balanced_by_the_batch() -> Report:
    def loss(p, t):
        ones = t.mean().clamp(0.01, 0.99)
        weight = torch.where(t == 1, 0.5 / ones, 0.5 / (1 - ones))
        return F.binary_cross_entropy(p, t, weight=weight)

    torch.manual_seed(4)
    return torchbce.check(nn.Sequential(mlp(), nn.Sigmoid()), rows(rate=0.15), loss)


@healthy(
    "clamp, log and a mean, written as a stable formula of logits",
    "https://github.com/pytorch/pytorch/pull/1792",
)
def stable_formula() -> Report:
    def loss(x, t):
        return (x.clamp(min=0) - x * t + (1 + (-x.abs()).exp()).log()).mean()

    torch.manual_seed(5)
    return torchbce.check(mlp(), rows(), loss)


@healthy(
    "logs are kept above -100, as in BCELoss, on probabilities",
    "https://github.com/pytorch/pytorch/pull/31365",
)
def logs_kept_above() -> Report:
    def loss(p, t):
        return -(t * torch.log(p).clamp(min=-100) + (1 - t) * torch.log(1 - p).clamp(min=-100)).mean()

    torch.manual_seed(6)
    return torchbce.check(nn.Sequential(mlp(), nn.Sigmoid()), rows(), loss)


@healthy(
    "nn.MultiLabelSoftMarginLoss",
    "https://github.com/pytorch/pytorch/issues/9301",
)
def soft_margin_of_labels() -> Report:
    torch.manual_seed(7)
    return torchbce.check(mlp(outputs=6), _tags(), nn.MultiLabelSoftMarginLoss())


@healthy(
    "LogSigmoid of the output and of its opposite",
    "https://github.com/POSTECH-CVLab/PyTorch-StudioGAN/issues/67",
)
def two_log_sigmoids() -> Report:
    log_sigmoid = nn.LogSigmoid()
    torch.manual_seed(8)
    return torchbce.check(mlp(), rows(), lambda o, t: -(t * log_sigmoid(o) + (1 - t) * log_sigmoid(-o)).mean())


@healthy(
    "an autoencoder's BCE of pixels plus the divergence, both summed",
    "https://github.com/pytorch/examples/blob/main/vae/main.py",
)
def variational_autoencoder() -> Report:
    class Vae(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(36, 24), nn.Linear(24, 4), nn.Linear(24, 4)
            self.fc3, self.fc4 = nn.Linear(4, 24), nn.Linear(24, 36)

        def forward(self, x):
            h = F.relu(self.fc1(x.view(-1, 36)))
            mu, logvar = self.fc21(h), self.fc22(h)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar

    def loss(out, x):
        recon, mu, logvar = out
        pixels = F.binary_cross_entropy(recon, x.view(-1, 36), reduction="sum")
        return pixels - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())

    torch.manual_seed(9)
    x = (torch.rand(48, 1, 6, 6) < torch.rand(48, 1, 1, 1)).float()
    return torchbce.check(Vae(), (x, x), loss)


@healthy(
    "the likelihood of a click is modelled by a complementary log-log, written out",
    "https://github.com/pytorch/pytorch/issues/103316",
)
def complementary_log_log() -> Report:
    def loss(o, t):
        p = (1 - torch.exp(-torch.exp(o.clamp(-10, 3)))).clamp(1e-6, 1 - 1e-6)
        return F.binary_cross_entropy(p, t)

    torch.manual_seed(10)
    return torchbce.check(mlp(), rows(), loss)


@healthy(
    "label distribution: the divergence from soft targets of several raters, two columns",
    "https://pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html",
)
def divergence_from_raters() -> Report:
    x, y = rows()
    p = 0.2 + 0.6 * y
    torch.manual_seed(11)
    criterion = nn.KLDivLoss(reduction="batchmean")
    return torchbce.check(nn.Sequential(mlp(outputs=2), nn.LogSoftmax(1)), (x, torch.cat([1 - p, p], 1)), criterion)


@healthy(
    "the loss adds the weights' absolute values, by a closure over the model",
    "https://github.com/bohyunshin/recommender/blob/master/recommender/loss/custom.py",
)
def lasso() -> Report:
    torch.manual_seed(12)
    model = mlp()
    return torchbce.check(
        model, rows(), lambda o, t: bce_logits(o, t) + 1e-3 * sum(p.abs().sum() for p in model.parameters())
    )


@healthy(
    "a squared hinge on targets that the loss turns into signs",
    "https://github.com/wan-Ying-Z/AMDE-master/blob/main/losses.py",
)
def squared_hinge() -> Report:
    torch.manual_seed(13)
    return torchbce.check(mlp(), rows(), lambda o, t: F.relu(1 - o * (2 * t - 1)).square().mean())


@healthy(
    "two annotators disagree: the mean of two BCE terms with targets [N, 2] and one output",
    "https://github.com/HazyResearch/metal/issues/70",
)
def two_annotators() -> Report:
    x, y = rows()
    torch.manual_seed(14)
    both = torch.cat([y, torch.where(torch.rand_like(y) < 0.2, 1 - y, y)], 1)
    return torchbce.check(
        mlp(), (x, both), lambda o, t: 0.5 * (bce_logits(o[:, 0], t[:, 0]) + bce_logits(o[:, 0], t[:, 1]))
    )
