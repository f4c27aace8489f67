"""Activations: twice, missing, or of the wrong kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.report import Report

from .data import classifier, fit, masks, perceptron, pictures, table
from .registry import bug, mended

YOLO = "https://github.com/argusswift/YOLOv4-pytorch/issues/89"
LANES = "https://github.com/Turoad/lanedet/issues/32"
FOCAL_TWICE = "https://github.com/itakurah/focal-loss-pytorch/pull/5"
FACE_ATTACK = "https://github.com/meilfang/LMFD-PAD/pull/1"
EVENTS = "https://github.com/YapengTian/AVE-ECCV18/issues/15"
LAST_RELU = "https://github.com/hunkim/PyTorchZeroToAll/pull/4"
ONE_LABEL = "https://github.com/vllm-project/vllm/pull/18313"
ONE_CLASS = "https://github.com/ultralytics/yolov3/issues/191"
RAY = "https://github.com/ray-project/ray/issues/17117"
RECOMMENDER = "https://github.com/yudi-mars/daisyRec/pull/15"


def _yolo(*last: nn.Module) -> Report:
    torch.manual_seed(0)
    x, y = masks(16, 16)
    objects = F.max_pool2d(y, 4)
    body = nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 16, 3, stride=2, padding=1)
    model = nn.Sequential(*body, nn.LeakyReLU(0.1), nn.Conv2d(16, 1, 1), *last)
    return torchbce.check(model, (x, objects), nn.BCEWithLogitsLoss())


@bug(YOLO, "The head applies a sigmoid to the confidence, and the loss applies one again.", ("BCE004",))
def yolo_confidence_sigmoid_twice() -> Report:
    return _yolo(nn.Sigmoid())


@mended(YOLO, "The head returns logits.")
def yolo_confidence_sigmoid_twice_mended() -> Report:
    return _yolo()


class _ExistHead(nn.Module):
    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.dropout, self.conv = nn.Dropout2d(0.1), nn.Conv2d(3, 8, 1)
        self.fc9, self.fc10 = nn.Linear(8 * 36, 64), nn.Linear(64, 4)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.softmax(self.conv(self.dropout(x)), 1), 2).flatten(1)
        x = self.fc10(F.relu(self.fc9(x)))
        return torch.sigmoid(x) if self.sigmoid else x


def _lanes(sigmoid: bool) -> Report:
    torch.manual_seed(1)
    x, y = pictures(32)
    lanes = torch.cat([y, 1 - y, torch.bernoulli(torch.full((32, 2), 0.5))], 1)
    return torchbce.check(_ExistHead(sigmoid), (x, lanes), nn.BCEWithLogitsLoss())


@bug(LANES, "forward() ends with torch.sigmoid, and the loss is BCEWithLogitsLoss.", ("BCE004",))
def lane_exist_head_sigmoid_twice() -> Report:
    return _lanes(sigmoid=True)


@mended(LANES, "forward() returns logits.")
def lane_exist_head_sigmoid_twice_mended() -> Report:
    return _lanes(sigmoid=False)


def _focal(outputs: Tensor, targets: Tensor, twice: bool) -> Tensor:
    probs = torch.sigmoid(outputs)
    bce = F.binary_cross_entropy_with_logits(probs if twice else outputs, targets, reduction="none")
    p_t = probs * targets + (1 - probs) * (1 - targets)
    alpha_t = 0.25 * targets + 0.75 * (1 - targets)
    return (alpha_t * (1 - p_t) ** 2 * bce).mean()


def _focal_report(twice: bool) -> Report:
    torch.manual_seed(2)
    return torchbce.check(perceptron(), table(), lambda o, t: _focal(o, t, twice))


@bug(FOCAL_TWICE, "The focal loss gives probabilities to a BCE of logits.", ("BCE004", "BCE007", "BCE013"))
def focal_loss_sigmoid_twice() -> Report:
    return _focal_report(twice=True)


@mended(FOCAL_TWICE, "The focal loss gives the logits to it.")
def focal_loss_sigmoid_twice_mended() -> Report:
    return _focal_report(twice=False)


def _attack(*last: nn.Module) -> Report:
    torch.manual_seed(3)
    return torchbce.check(classifier(1, *last), pictures(), lambda o, t: _focal(o, t, twice=False))


@bug(FACE_ATTACK, "The branch ends with a sigmoid, and the weighted focal loss takes logits.", ("BCE004",))
def face_attack_sigmoid_before_focal() -> Report:
    return _attack(nn.Sigmoid())


@mended(FACE_ATTACK, "The branch returns logits.")
def face_attack_sigmoid_before_focal_mended() -> Report:
    return _attack()


def _events(*last: nn.Module) -> Report:
    torch.manual_seed(4)
    x = torch.randn(24, 10, 12)
    events = F.one_hot(x[:, :, :8].argmax(-1), 8).float()
    return torchbce.check(perceptron(12, 8, *last), (x, events), nn.MultiLabelSoftMarginLoss())


@bug(EVENTS, "A softmax stands before MultiLabelSoftMarginLoss, which has a sigmoid.", ("BCE004", "BCE013"))
def audio_events_softmax_before_loss() -> Report:
    return _events(nn.Softmax(-1))


@mended(EVENTS, "The network returns logits.")
def audio_events_softmax_before_loss_mended() -> Report:
    return _events()


def _last(*last: nn.Module) -> Report:
    torch.manual_seed(5)
    return torchbce.check(perceptron(10, 1, *last), table(), nn.BCEWithLogitsLoss())


@bug(LAST_RELU, "A ReLU follows the last layer, so no logit is negative.", ("BCE004", "BCE013", "BCE016"))
def relu_after_the_last_layer() -> Report:
    return _last(nn.ReLU())


@mended(LAST_RELU, "The last layer is linear.")
def relu_after_the_last_layer_mended() -> Report:
    return _last()


def _one_label(softmax: bool) -> Report:
    torch.manual_seed(6)
    x, y = table(1000)
    logits = fit(nn.Linear(10, 1), x[:500], y[:500])(x[500:])
    probs = F.softmax(logits, -1) if softmax else torch.sigmoid(logits)
    return torchbce.check_predictions(probs, y[500:], from_logits=False)


@bug(ONE_LABEL, "Softmax over a single label always gives 1.", ("BCE010", "BCE027"))
def softmax_over_one_label() -> Report:
    return _one_label(softmax=True)


@mended(ONE_LABEL, "One label gets a sigmoid.")
def softmax_over_one_label_mended() -> Report:
    return _one_label(softmax=False)


@bug(ONE_CLASS, "Cross-entropy over the one class that there is: always 0.", ("BCE006",))
def cross_entropy_over_one_class() -> Report:
    torch.manual_seed(7)
    x, _ = pictures()
    return torchbce.check(classifier(), (x, torch.zeros(32, dtype=torch.long)), nn.CrossEntropyLoss())


@bug(RAY, "BCELoss on the outputs of a bare linear layer, for a line's values.", ("BCE005", "BCE001"))
def bce_loss_of_a_linear_layer() -> Report:
    torch.manual_seed(8)
    x = torch.linspace(0, 10, 32)[:, None]
    return torchbce.check(nn.Linear(1, 1), (x, 2 * x + 5), nn.BCELoss())


class _Factors(nn.Module):
    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.users, self.items, self.bias = nn.Embedding(40, 8), nn.Embedding(60, 8), nn.Embedding(60, 1)
        self.sigmoid = sigmoid

    def forward(self, pairs: Tensor) -> Tensor:
        user, item = pairs.unbind(1)
        score = (0.3 * self.users(user) * self.items(item)).sum(-1) + 0.3 * self.bias(item)[:, 0]
        return torch.sigmoid(score) if self.sigmoid else score


def _recommender(sigmoid: bool) -> Report:
    torch.manual_seed(9)
    pairs = torch.stack([torch.randint(0, 40, (64,)), torch.randint(0, 60, (64,))], 1)
    return torchbce.check(_Factors(sigmoid), (pairs, torch.bernoulli(torch.full((64,), 0.4))), nn.BCEWithLogitsLoss())


@bug(RECOMMENDER, "The scores go through a sigmoid before BCEWithLogitsLoss.", ("BCE004",))
def recommender_sigmoid_twice() -> Report:
    return _recommender(sigmoid=True)


@mended(RECOMMENDER, "The scores are logits.")
def recommender_sigmoid_twice_mended() -> Report:
    return _recommender(sigmoid=False)
