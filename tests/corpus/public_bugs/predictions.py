"""Predictions: on the wrong scale, turned, miscalibrated, or too good."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.report import Report

from .data import fit, perceptron, table, tags
from .registry import bug, mended

SOUND = "https://github.com/dr-costas/dnd-sed/issues/1"
UNIT_LOGITS = "https://github.com/Lightning-AI/torchmetrics/issues/3269"
TURNED = "https://stats.stackexchange.com/questions/266387/can-auc-roc-be-between-0-0-5"
CLASS_WEIGHTS = "https://datascience.stackexchange.com/questions/58631/is-there-a-way-to-re-calibrate-predicted-probabilities-after-using-class-weights"
DIVIDED = "https://discuss.pytorch.org/t/bcewithlogitsloss-pos-weights-how-to-do-re-weighting-on-inference/206415"
DOWN_SAMPLED = "https://stats.stackexchange.com/questions/505034/correcting-for-extremely-downsampled-data-keras-class-weight-is-hurting-my-mod"
MUSIC = "https://github.com/Spijkervet/CLMR/issues/3"
DERIVED = "https://zeupark.github.io/2025/05/26/overfitting-debug-log.html"
FRAMES = "https://github.com/bnsreenu/digitalsreeni-image-annotator/pull/93"
OVERLAP = "https://github.com/MakazhanAlpamys/Soup/issues/680"
SATURATED = "https://github.com/pytorch/pytorch/issues/39435"


def _fitted(seed: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    x, y = table(4000, shift=shift)
    return fit(nn.Linear(10, 1), x[:2000], y[:2000])(x[2000:])[:, 0], y[2000:, 0]


@bug(SOUND, "Logits are used as if they were probabilities.", ("BCE029",))
def logits_as_probabilities() -> Report:
    logits, y = _fitted(0)
    return torchbce.check_predictions(logits, y, from_logits=False)


@mended(SOUND, "A sigmoid comes first.")
def logits_as_probabilities_mended() -> Report:
    logits, y = _fitted(0)
    return torchbce.check_predictions(torch.sigmoid(logits), y, from_logits=False)


@bug(UNIT_LOGITS, "Early logits all lie in [0, 1] and are taken for probabilities.", ("BCE029", "BCE028"))
def logits_within_the_unit_interval() -> Report:
    torch.manual_seed(1)
    logits = (0.5 + 0.15 * torch.randn(3000)).clamp(0.02, 0.98)
    return torchbce.check_predictions(logits, torch.bernoulli(torch.sigmoid(logits)), from_logits=False)


@bug(TURNED, "The labels of the two classes are switched.", ("BCE029",))
def classes_switched() -> Report:
    logits, y = _fitted(2)
    return torchbce.check_predictions(torch.sigmoid(logits), 1 - y, from_logits=False)


@mended(TURNED, "The labels are as in training.")
def classes_switched_mended() -> Report:
    logits, y = _fitted(2)
    return torchbce.check_predictions(torch.sigmoid(logits), y, from_logits=False)


def _weighted(mend: bool) -> Report:
    torch.manual_seed(3)
    x, y = table(8000, shift=-4.0)
    weight = torch.tensor(20.0)
    model = fit(nn.Linear(10, 1), x[:4000], y[:4000], nn.BCEWithLogitsLoss(pos_weight=weight))
    logits = model(x[4000:]) - (weight.log() if mend else 0)
    return torchbce.check_predictions(torch.sigmoid(logits), y[4000:], from_logits=False)


@bug(CLASS_WEIGHTS, "Class weights make rare events look frequent.", ("BCE028",))
def probabilities_after_class_weights() -> Report:
    return _weighted(mend=False)


@mended(CLASS_WEIGHTS, "The log of the weight is taken off the logits.")
def probabilities_after_class_weights_mended() -> Report:
    return _weighted(mend=True)


def _divided(mend: bool) -> Report:
    torch.manual_seed(4)
    x, y = tags(6000, labels=4, shift=-2.0)
    weights = torch.tensor([1.0, 4.0, 8.0, 16.0])
    logits = fit(nn.Linear(10, 4), x[:3000], y[:3000], nn.BCEWithLogitsLoss(pos_weight=weights))(x[3000:])
    logits = logits - weights.log() if mend else logits / weights
    return torchbce.check_predictions(logits, y[3000:], from_logits=True)


@bug(DIVIDED, "Logits are divided by pos_weight to undo it.", ("BCE028",))
def logits_divided_by_pos_weight() -> Report:
    return _divided(mend=False)


@mended(DIVIDED, "The log of pos_weight is subtracted.")
def logits_divided_by_pos_weight_mended() -> Report:
    return _divided(mend=True)


def _sampled(mend: bool) -> Report:
    torch.manual_seed(5)
    x, y = table(20000, shift=-4.0)
    rate = 0.05
    kept = (y[:10000, 0] == 1) | (torch.rand(10000) < rate)
    model = fit(nn.Linear(10, 1), x[:10000][kept], y[:10000][kept])
    logits = model(x[10000:]) + (math.log(rate) if mend else 0)
    return torchbce.check_predictions(torch.sigmoid(logits), y[10000:], from_logits=False)


@bug(DOWN_SAMPLED, "Trained on a twentieth of the negatives, and the probabilities are not corrected.", ("BCE028",))
def probabilities_after_down_sampling() -> Report:
    return _sampled(mend=False)


@mended(DOWN_SAMPLED, "The log of the sampling rate is added to the logits.")
def probabilities_after_down_sampling_mended() -> Report:
    return _sampled(mend=True)


def _music(softmax: bool) -> Report:
    torch.manual_seed(6)
    x, y = tags(3000, labels=12)
    logits = fit(nn.Linear(10, 12), x[:1500], y[:1500])(x[1500:])
    probs = F.softmax(logits, dim=1) if softmax else torch.sigmoid(logits)
    return torchbce.check_predictions(probs, y[1500:], from_logits=False)


@bug(MUSIC, "The evaluation of several tags uses a softmax.", ("BCE028",))
def tags_by_softmax() -> Report:
    return _music(softmax=True)


@mended(MUSIC, "It uses a sigmoid.")
def tags_by_softmax_mended() -> Report:
    return _music(softmax=False)


def _derived(leak: bool) -> Report:
    torch.manual_seed(7)
    x, y = table(3000)
    if leak:
        x[:, 4] = 3 * y[:, 0] - 1.5 + 0.1 * torch.randn(3000)
    model = fit(nn.Linear(10, 1), x[:1500], y[:1500], steps=400, rate=0.1)
    return torchbce.check_predictions(torch.sigmoid(model(x[1500:])), y[1500:], from_logits=False)


@bug(DERIVED, "A column that was computed from the label is among the features.", ("BCE030",))
def feature_derived_from_the_label() -> Report:
    return _derived(leak=True)


@mended(DERIVED, "The column is left out.")
def feature_derived_from_the_label_mended() -> Report:
    return _derived(leak=False)


@bug(FRAMES, "Frames of one video are in both parts, so validation repeats training.", ("BCE030",))
def frames_of_one_video_in_both_parts() -> Report:
    torch.manual_seed(8)
    scenes, labels = torch.randn(40, 60), torch.bernoulli(torch.full((40, 1), 0.5))
    video = torch.arange(40).repeat_interleave(25)
    x, y = scenes[video] + 0.05 * torch.randn(1000, 60), labels[video]
    order = torch.randperm(1000)
    model = fit(perceptron(60), x[order[:700]], y[order[:700]], steps=100, rate=0.01)
    return torchbce.check_predictions(model(x[order[700:]]), y[order[700:]], from_logits=True)


def _overlap(split_first: bool) -> Report:
    torch.manual_seed(9)
    x, y = table(330)

    def interleave(large: Tensor, small: Tensor) -> Tensor:
        repeated = small.repeat(len(large) // len(small) + 1)[: len(large)]  # until it is as long as the large one
        return torch.stack([large, repeated], 1).flatten()

    if split_first:
        train, valid = interleave(torch.arange(270), torch.arange(300, 327)), torch.arange(270, 300)
    else:
        rows = interleave(torch.arange(300), torch.arange(300, 330))
        train, valid = rows[:540], rows[540:]
    return torchbce.check(perceptron(), (x[train], y[train]), nn.BCEWithLogitsLoss(), valid=(x[valid], y[valid]))


@bug(OVERLAP, "Rows are repeated for balance before the validation part is cut off.", ("BCE030",))
def rows_repeated_before_the_split() -> Report:
    return _overlap(split_first=False)


@mended(OVERLAP, "The validation part is cut off first.")
def rows_repeated_before_the_split_mended() -> Report:
    return _overlap(split_first=True)


@bug(SATURATED, "Logits of 10 to 190 for targets of 0.", ("BCE010", "BCE027"))
def saturated_and_wrong() -> Report:
    torch.manual_seed(10)
    logits = torch.where(torch.rand(200) < 0.6, 15 + 20 * torch.rand(200) ** 4 * 9, 6 * torch.randn(200))
    return torchbce.check_predictions(logits, torch.bernoulli(torch.full((200,), 0.1)), from_logits=True)
