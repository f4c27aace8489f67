"""Losses that were written by hand, or called in a wrong way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.report import Report

from .data import classifier, masks, perceptron, pictures, segmenter, series, table
from .registry import bug, mended

LIGHTNING_SAM = "https://github.com/luca-medeiros/lightning-sam/issues/52"
FOCAL_SCALAR = "https://github.com/andrijdavid/FocalLoss/issues/1"
EFFICIENTDET = "https://github.com/zylo117/Yet-Another-EfficientDet-Pytorch/issues/717"
MINUS_INFINITY = "https://github.com/pytorch/pytorch/issues/49844"
FASTBOOK = "https://github.com/fastai/fastbook/pull/349"
SLEDGE = "https://github.com/autonomousvision/sledge/issues/4"
SRGAN = "https://github.com/https-deeplearning-ai/GANs-Public/issues/1"
LOSS_CLASS = "https://github.com/CoinCheung/pytorch-loss/issues/12"
DICE = "https://github.com/qubvel-org/segmentation_models.pytorch/pull/611"
FOCAL_POS_WEIGHT = "https://github.com/andrijdavid/FocalLoss/issues/2"


def _mask_focal(outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
    probs = torch.sigmoid(outputs).clamp(0, 1).reshape(-1)
    bce = F.binary_cross_entropy(probs, targets.reshape(-1), reduction=reduction)
    return (0.8 * (1 - torch.exp(-bce)) ** 2 * bce).mean()


def _segment(reduction: str) -> Report:
    torch.manual_seed(0)
    return torchbce.check(segmenter(), masks(), lambda o, t: _mask_focal(o, t, reduction))


@bug(LIGHTNING_SAM, "The focal loss averages the BCE of all pixels before it takes exp(-BCE).", ("BCE003",))
def mask_focal_loss_of_a_mean() -> Report:
    return _segment("mean")


@mended(LIGHTNING_SAM, "The average is taken last.")
def mask_focal_loss_of_a_mean_mended() -> Report:
    return _segment("none")


class _Focal(nn.Module):
    def __init__(self, gamma: float = 2.0, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__()
        self.gamma, self.reduction, self.pos_weight = gamma, reduction, pos_weight

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        log_p = -F.binary_cross_entropy_with_logits(
            outputs, targets, pos_weight=self.pos_weight, reduction=self.reduction
        )
        return (-((1 - torch.exp(log_p)) ** self.gamma) * log_p).mean()


@bug(FOCAL_SCALAR, "The focal loss's log p is one number for the batch.", ("BCE003",))
def focal_loss_of_one_number() -> Report:
    return torchbce.check_loss(_Focal())


@mended(FOCAL_SCALAR, "reduction='none' gives a log p for each item.")
def focal_loss_of_one_number_mended() -> Report:
    return torchbce.check_loss(_Focal(reduction="none"))


@bug(FOCAL_POS_WEIGHT, "The weight of the ones is inside exp(), so p is not a probability.", ("BCE007",))
def focal_loss_with_weight_inside_exp() -> Report:
    return torchbce.check_loss(_Focal(reduction="none", pos_weight=torch.tensor(4.0)))


def _detector_bce(probs: Tensor, targets: Tensor, low: float | None) -> Tensor:
    log_p, log_q = torch.log(probs), torch.log(1.0 - probs)
    if low is not None:
        log_p, log_q = log_p.clamp(min=low), log_q.clamp(min=low)
    return -(targets * log_p + (1.0 - targets) * log_q).mean()


@bug(EFFICIENTDET, "The BCE of the focal loss takes logs of 0 and 1 without a clamp.", ("BCE002",))
def detector_log_of_zero() -> Report:
    torch.manual_seed(1)
    x, y = pictures()
    model = classifier(1, nn.Sigmoid())
    return torchbce.check(model, (255 * x, y), lambda o, t: _detector_bce(o, t, None))


@mended(EFFICIENTDET, "Logs are clamped at -100, as in torch.")
def detector_log_of_zero_mended() -> Report:
    return torchbce.check_loss(lambda o, t: _detector_bce(o, t, -100.0))


class _Tagger(nn.Module):
    def __init__(self, fill: float) -> None:
        super().__init__()
        self.lstm, self.head, self.fill = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 1), fill

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.lstm(x)[0])[:, :, 0]
        return scores.masked_fill((x == 0).all(-1), self.fill)  # padding


def _tagger(fill: float) -> Report:
    torch.manual_seed(2)
    x, _ = series(32)
    lengths = torch.randint(6, 13, (32, 1))
    x = x * (torch.arange(12) < lengths)[:, :, None]
    return torchbce.check(_Tagger(fill), (x, (x[:, :, 0] > 0).float()), nn.BCEWithLogitsLoss())


@bug(MINUS_INFINITY, "Padding gets logits of minus infinity, and 0 times infinity is NaN.", ("BCE002",))
def padding_of_minus_infinity() -> Report:
    return _tagger(float("-inf"))


@mended(MINUS_INFINITY, "Padding gets a large negative number.")
def padding_of_minus_infinity_mended() -> Report:
    return _tagger(-100.0)


def _fastbook(outputs: Tensor, targets: Tensor) -> Tensor:
    probs = outputs.sigmoid()
    return -torch.where(targets == 1, 1 - probs, probs).log().mean()


def _fastbook_mended(outputs: Tensor, targets: Tensor) -> Tensor:
    probs = outputs.sigmoid()
    return -torch.where(targets == 1, probs, 1 - probs).log().mean()


@bug(FASTBOOK, "The two branches of torch.where are exchanged.", ("BCE007",))
def fastbook_where_exchanged() -> Report:
    return torchbce.check_loss(_fastbook)


@mended(FASTBOOK, "probs where the target is 1.")
def fastbook_where_exchanged_mended() -> Report:
    return torchbce.check_loss(_fastbook_mended)


def _autoencoder(exchanged: bool) -> Report:
    torch.manual_seed(3)
    _, lines = masks(24)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
    bce = F.binary_cross_entropy_with_logits
    return torchbce.check(model, (lines, lines), lambda o, t: bce(t, o) if exchanged else bce(o, t))


@bug(SLEDGE, "Outputs and targets of the BCE are exchanged.", ("BCE032", "BCE007", "BCE001", "BCE013"))
def autoencoder_arguments_exchanged() -> Report:
    return _autoencoder(exchanged=True)


@mended(SLEDGE, "Outputs come first.")
def autoencoder_arguments_exchanged_mended() -> Report:
    return _autoencoder(exchanged=False)


def _adversarial(outputs: Tensor, real: Tensor, turned: bool) -> Tensor:
    ones, zeros = torch.ones_like(outputs), torch.zeros_like(outputs)
    targets = torch.where(real > 0.5, zeros, ones) if turned else torch.where(real > 0.5, ones, zeros)
    return F.binary_cross_entropy_with_logits(outputs, targets)


@bug(SRGAN, "The discriminator's target is 0 for real pictures and 1 for made ones.", ("BCE007",))
def discriminator_targets_turned() -> Report:
    return torchbce.check_loss(lambda o, t: _adversarial(o, t, turned=True))


@mended(SRGAN, "1 for real pictures.")
def discriminator_targets_turned_mended() -> Report:
    return torchbce.check_loss(lambda o, t: _adversarial(o, t, turned=False))


@bug(LOSS_CLASS, "The loss's class is called, not an instance of it: there is nothing to differentiate.", ("BCE032",))
def loss_class_called() -> Report:
    torch.manual_seed(4)
    return torchbce.check(perceptron(), table(), _Focal)


@mended(LOSS_CLASS, "An instance is made first.")
def loss_class_called_mended() -> Report:
    torch.manual_seed(4)
    return torchbce.check(perceptron(), table(), _Focal(reduction="none"))


def _dice(outputs: Tensor, targets: Tensor, threshold: float | None) -> Tensor:
    probs = torch.sigmoid(outputs)
    if threshold is not None:
        probs = (probs > threshold).to(probs.dtype).clone().detach().requires_grad_(True)
    return 1 - (2 * (probs * targets).sum() + 1) / (probs.sum() + targets.sum() + 1)


def _dice_report(threshold: float | None) -> Report:
    torch.manual_seed(5)
    return torchbce.check(segmenter(), masks(), lambda o, t: _dice(o, t, threshold))


@bug(DICE, "The dice loss compares thresholded outputs in a new tensor.", ("BCE016", "BCE006", "BCE032"))
def dice_loss_of_a_threshold() -> Report:
    return _dice_report(0.5)


@mended(DICE, "The dice loss takes probabilities.")
def dice_loss_of_a_threshold_mended() -> Report:
    return _dice_report(None)
