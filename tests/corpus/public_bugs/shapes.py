"""Shapes, broadcasting, and dimensions that are taken for each other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.report import Report

from .data import fit, masks, perceptron, segmenter, series, table, tags
from .registry import bug, mended

SINGLETON = "https://github.com/pytorch/pytorch/issues/1939"
KORNIA = "https://github.com/kornia/kornia/issues/1308"
SPEECHBRAIN = "https://github.com/speechbrain/speechbrain/issues/519"
REMINDER = "https://github.com/hieuvmphan/REMINDER/issues/6"
RANDLA = "https://github.com/liuxuexun/RandLA-Net-Pytorch-New/issues/20"
INTENT = "https://github.com/ray075hl/Bi-Model-Intent-And-Slot/pull/2"
SENTENCE_VAE = "https://github.com/timbmg/Sentence-VAE/issues/15"
CAT_FISH = "https://github.com/falloutdurham/beginners-pytorch-deep-learning/pull/36"
WEIGHT_SHAPE = "https://github.com/pytorch/pytorch/issues/25174"
TWO_WEIGHTS = "https://github.com/pytorch/pytorch/issues/27936"
GAE = "https://github.com/zfjsail/gae-pytorch/issues/4"


def _singleton(flat: bool) -> Report:
    torch.manual_seed(0)
    x, y = table(64)
    return torchbce.check(perceptron(), (x, y[:, 0] if flat else y), nn.BCEWithLogitsLoss())


@bug(SINGLETON, "Outputs are [64, 1] and targets [64].", ("BCE032", "BCE003"))
def linear_output_against_flat_targets() -> Report:
    return _singleton(flat=True)


@mended(SINGLETON, "Targets are [64, 1].")
def linear_output_against_flat_targets_mended() -> Report:
    return _singleton(flat=False)


def _focal(outputs: Tensor, targets: Tensor) -> Tensor:
    p = torch.sigmoid(outputs)
    ones = -0.25 * (1 - p) ** 2 * targets * torch.log(p + 1e-6)
    zeros = -0.75 * p**2 * (1 - targets) * torch.log(1 - p + 1e-6)
    return (ones + zeros).mean()


def _kornia(pairwise: bool) -> Report:
    torch.manual_seed(1)
    x, y = table(32)
    return torchbce.check(perceptron(), (x, y), lambda o, t: _focal(o, t.unsqueeze(1) if pairwise else t))


@bug(KORNIA, "The focal loss unsqueezes its targets, so each output meets every target.", ("BCE003",))
def focal_loss_pairwise() -> Report:
    return _kornia(pairwise=True)


@mended(KORNIA, "The loss works element by element.")
def focal_loss_pairwise_mended() -> Report:
    return _kornia(pairwise=False)


def _speech(transpose: bool) -> Report:
    torch.manual_seed(2)
    x = torch.randn(16, 20, 8)
    y = (x[:, :, :5] + 0.3 * torch.randn(16, 20, 5) > 0).float()

    def loss_func(outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.dim() == 3 and transpose:
            outputs = outputs.transpose(1, -1)
        return F.binary_cross_entropy_with_logits(outputs, targets)

    return torchbce.check(perceptron(8, 5), (x, y), loss_func)


@bug(SPEECHBRAIN, "The loss transposes [batch, time, labels] outputs, but not the targets.", ("BCE032", "BCE003"))
def sequence_loss_transposes_outputs() -> Report:
    return _speech(transpose=True)


@mended(SPEECHBRAIN, "Nothing is transposed.")
def sequence_loss_transposes_outputs_mended() -> Report:
    return _speech(transpose=False)


def _pixels(right: bool) -> Report:
    torch.manual_seed(3)
    x, y = masks()

    def loss_func(features: Tensor, segments: Tensor) -> Tensor:
        last = features.permute(0, 2, 3, 1) if right else features.transpose(1, 3)
        return F.binary_cross_entropy_with_logits(last.reshape(-1), segments.reshape(-1))

    return torchbce.check(segmenter(), (x, y[:, 0]), loss_func)


@bug(REMINDER, "Height and width of the outputs are swapped before both are flattened.", ("BCE003", "BCE013"))
def pixels_flattened_transposed() -> Report:
    return _pixels(right=False)


@mended(REMINDER, "The channels go last by permute(0, 2, 3, 1).")
def pixels_flattened_transposed_mended() -> Report:
    return _pixels(right=True)


def _cloud(transpose: bool) -> Report:
    torch.manual_seed(4)
    x, y = tags(40 * 50, labels=4)
    x, y = x.reshape(40, 50, 10), y.reshape(40, 50, 4)
    model = fit(nn.Conv1d(10, 4, 1), x[:20].transpose(1, 2), y[:20].transpose(1, 2))
    probs = torch.sigmoid(model(x[20:].transpose(1, 2)))  # [batch, labels, points]
    probs = probs.transpose(1, 2) if transpose else probs.reshape(20, 50, 4)
    return torchbce.check_predictions(probs, y[20:], from_logits=False)


@bug(RANDLA, "Predictions [batch, labels, points] are reshaped to [batch, points, labels].", ("BCE003", "BCE027"))
def point_cloud_reshaped() -> Report:
    return _cloud(transpose=False)


@mended(RANDLA, "They are transposed.")
def point_cloud_reshaped_mended() -> Report:
    return _cloud(transpose=True)


class _Intent(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 24, batch_first=batch_first)
        self.head = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0].mean(1))


def _intent(batch_first: bool) -> Report:
    torch.manual_seed(5)
    return torchbce.check(_Intent(batch_first), series(), nn.BCEWithLogitsLoss())


@bug(INTENT, "The LSTM lacks batch_first=True and runs over the items of the batch.", ("BCE019",))
def lstm_runs_over_the_batch() -> Report:
    return _intent(batch_first=False)


@mended(INTENT, "batch_first=True.")
def lstm_runs_over_the_batch_mended() -> Report:
    return _intent(batch_first=True)


class _Bidirectional(nn.Module):
    def __init__(self, view: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 1)
        self.view = view

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.gru(x)[1]  # [2, batch, 16]
        return self.head(hidden.view(len(x), 32) if self.view else torch.cat([hidden[0], hidden[1]], 1))


def _sentence(view: bool) -> Report:
    torch.manual_seed(6)
    return torchbce.check(_Bidirectional(view), series(), nn.BCEWithLogitsLoss())


@bug(SENTENCE_VAE, "Hidden states [2, batch, H] are viewed as [batch, 2H], which mixes the items.", ("BCE019",))
def hidden_state_viewed() -> Report:
    return _sentence(view=True)


@mended(SENTENCE_VAE, "The two directions are concatenated.")
def hidden_state_viewed_mended() -> Report:
    return _sentence(view=False)


def _cat_fish(dim: int) -> Report:
    torch.manual_seed(7)
    x, y = table(3000)
    model = fit(nn.Linear(10, 2), x[:1500], y[:1500], lambda o, t: F.cross_entropy(o, t[:, 0].long()))
    probs = [F.softmax(model(rows), dim=dim)[:, 1] for rows in x[1500:].split(64)]
    return torchbce.check_predictions(torch.cat(probs), y[1500:, 0], from_logits=False)


@bug(CAT_FISH, "The softmax of two columns runs over the batch.", ("BCE028", "BCE027"))
def softmax_over_the_batch() -> Report:
    return _cat_fish(dim=0)


@mended(CAT_FISH, "The softmax runs over the columns.")
def softmax_over_the_batch_mended() -> Report:
    return _cat_fish(dim=1)


def _item_weights(column: bool) -> Report:
    torch.manual_seed(8)
    x, y = tags(32, labels=5)
    weight = 0.5 + torch.rand(32)
    return torchbce.check(perceptron(10, 5), (x, y), nn.BCEWithLogitsLoss(weight=weight[:, None] if column else weight))


@bug(WEIGHT_SHAPE, "One weight per item, [32], against outputs of [32, 5].", ("BCE032",))
def item_weights_against_columns() -> Report:
    return _item_weights(column=False)


@mended(WEIGHT_SHAPE, "The weights are [32, 1].")
def item_weights_against_columns_mended() -> Report:
    return _item_weights(column=True)


def _two_weights(pos_weight: Tensor) -> Report:
    torch.manual_seed(9)
    x, y = masks()
    model = nn.Sequential(segmenter(), nn.Flatten(1, 2))
    return torchbce.check(model, (x, y[:, 0]), nn.BCEWithLogitsLoss(pos_weight=pos_weight))


@bug(TWO_WEIGHTS, "pos_weight has one value for 0 and one for 1, against masks [N, H, W].", ("BCE032", "BCE009"))
def pos_weight_for_both_classes() -> Report:
    return _two_weights(torch.tensor([0.1, 0.9]))


@mended(TWO_WEIGHTS, "pos_weight is one number, for the ones.")
def pos_weight_for_both_classes_mended() -> Report:
    return _two_weights(torch.tensor([9.0]))


class _GraphAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = perceptron(10, 8)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        return z @ z.T


def _graph(weight: object) -> Report:
    torch.manual_seed(10)
    x = torch.randn(30, 10)
    near = (torch.cdist(x, x) < 3.8).float()
    pos_weight = (near.numel() - near.sum()).item() / near.sum().item()
    made = torch.tensor([pos_weight]) if weight is Tensor else np.float64(pos_weight)
    return torchbce.check(
        _GraphAutoencoder(), (x, near), lambda o, t: F.binary_cross_entropy_with_logits(o, t, pos_weight=made)
    )


@bug(GAE, "pos_weight is a number of numpy, not a tensor.", ("BCE032",))
def graph_pos_weight_is_no_tensor() -> Report:
    return _graph(np.float64)


@mended(GAE, "pos_weight is a tensor of one value.")
def graph_pos_weight_is_no_tensor_mended() -> Report:
    return _graph(Tensor)
