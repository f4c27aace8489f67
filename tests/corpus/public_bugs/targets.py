"""Targets: their range, type, order, and what is missing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.report import Report

from .data import classifier, fit, masks, perceptron, segmenter, table, tags
from .registry import bug, mended

UNET_255 = "https://github.com/milesial/Pytorch-UNet/issues/78"
UNET_LOG = "https://github.com/milesial/Pytorch-UNet/issues/65"
NESTED_UNET = "https://github.com/bigmb/Unet-Segmentation-Pytorch-Nest-of-Unets/issues/18"
NAN_LABEL = "https://github.com/open-mmlab/mmpretrain/issues/631"
TOXCAST = "https://github.com/deepchem/deepchem/issues/1175"
CYCLOPS = "https://github.com/VectorInstitute/cyclops/pull/168"
EMPHASES = "https://github.com/interactiveaudiolab/emphases/pull/16"
HIDDEN = "https://github.com/ando-khachatryan/HiDDeN/issues/28"
PATHML = "https://github.com/Dana-Farber-AIOS/pathml/issues/56"
CELEBA = "https://github.com/NoahVl/Explaining-In-Style-Reproducibility-Study/issues/9"
UNSHUFFLED = "https://github.com/mjkvaak/ImageDataAugmentor/issues/12"
HISTOLOGY = "https://github.com/srinidhiPY/SSL_CR_Histo/issues/5"


def _unet(white: float) -> Report:
    torch.manual_seed(0)
    x, y = masks()
    return torchbce.check(segmenter(nn.Sigmoid()), (x, white * y), nn.BCELoss())


@bug(UNET_255, "The masks are loaded as 0 and 255.", ("BCE001",))
def unet_masks_255() -> Report:
    return _unet(255.0)


@mended(UNET_255, "The masks are 0 and 1.")
def unet_masks_255_mended() -> Report:
    return _unet(1.0)


def _unet_log(white: float) -> Report:
    torch.manual_seed(1)
    x, y = masks(32)
    model, losses = segmenter(), []
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.003)
    for _ in range(8):
        total = 0.0
        for a, b in zip(x.split(8), (white * y).split(8), strict=True):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(a), b)
            loss.backward()
            optimizer.step()
            total += loss.item() / 4
        losses.append(total)
    return torchbce.check_log(losses, from_logits=True)


@bug(UNET_LOG, "Masks that are not between 0 and 1: the printed loss is negative.", ("BCE021", "BCE001"))
def unet_negative_log() -> Report:
    return _unet_log(255.0)


@mended(UNET_LOG, "The same run with masks of 0 and 1.")
def unet_negative_log_mended() -> Report:
    return _unet_log(1.0)


@bug(NESTED_UNET, "The augmentation normalises the mask like the picture, to [-1, 1].", ("BCE001",))
def nested_unet_normalised_mask() -> Report:
    torch.manual_seed(2)
    x, y = masks()
    return torchbce.check(segmenter(), (x, (y - 0.5) / 0.5), nn.BCEWithLogitsLoss())


@mended(NESTED_UNET, "Only the picture is normalised.")
def nested_unet_normalised_mask_mended() -> Report:
    torch.manual_seed(2)
    x, y = masks()
    return torchbce.check(segmenter(), ((x - 0.5) / 0.5, y), nn.BCEWithLogitsLoss())


def _holes(y: Tensor, value: float, share: float = 0.2) -> Tensor:
    return torch.where(torch.rand_like(y) < share, torch.full_like(y, value), y)


def _known_only(outputs: Tensor, targets: Tensor) -> Tensor:
    known = targets >= 0  # false for -1 and for NaN
    losses = F.binary_cross_entropy_with_logits(outputs, torch.where(known, targets, 0.0), reduction="none")
    return (losses * known).sum() / known.sum()


@bug(NAN_LABEL, "Labels that nobody gave are NaN, and the loss takes them all.", ("BCE002",))
def multilabel_nan_labels() -> Report:
    torch.manual_seed(3)
    x, y = tags(32, labels=3)
    return torchbce.check(perceptron(10, 3), (x, _holes(y, float("nan"))), nn.BCEWithLogitsLoss())


@mended(NAN_LABEL, "A loss of one's own leaves NaN labels out before it averages.")
def multilabel_nan_labels_mended() -> Report:
    torch.manual_seed(3)
    x, y = tags(32, labels=3)
    return torchbce.check(perceptron(10, 3), (x, _holes(y, float("nan"))), _known_only)


@bug(CYCLOPS, "Uncertain findings of chest X-rays are -1, and the loss does not mask them.", ("BCE001",))
def xray_minus_one_labels() -> Report:
    torch.manual_seed(4)
    x, y = tags(64, labels=14, shift=-1)
    return torchbce.check(perceptron(10, 14), (x, _holes(y, -1.0)), nn.BCEWithLogitsLoss())


@mended(CYCLOPS, "The loss masks labels of -1.")
def xray_minus_one_labels_mended() -> Report:
    torch.manual_seed(4)
    x, y = tags(64, labels=14, shift=-1)
    return torchbce.check(perceptron(10, 14), (x, _holes(y, -1.0)), _known_only)


def _toxcast(mask: bool) -> Report:
    torch.manual_seed(5)
    x, y = tags(3000, labels=4)
    x_test, y_test = tags(2000, labels=4)
    seen = _holes(y, -1.0, share=0.7)
    model = nn.Linear(10, 4)
    fit(model, x, seen, _known_only) if mask else fit(model, x, seen.clamp(min=0))
    return torchbce.check_predictions(torch.sigmoid(model(x_test)), y_test, from_logits=False)


@bug(TOXCAST, "Assays that were not measured are filled with 0 and train as negatives.", ("BCE028",))
def toxcast_missing_as_negative() -> Report:
    return _toxcast(mask=False)


@mended(TOXCAST, "Assays that were not measured weigh nothing.")
def toxcast_missing_as_negative_mended() -> Report:
    return _toxcast(mask=True)


def _emphasis(capped: bool) -> Report:
    torch.manual_seed(6)
    x = torch.randn(32, 10)
    y = (0.4 + 0.35 * x[:, :1]).clamp(max=1)
    return torchbce.check(perceptron(), (x, y.clamp(min=0) if capped else y), nn.BCEWithLogitsLoss())


@bug(EMPHASES, "Interpolated soft targets fall below 0.", ("BCE001",))
def emphasis_negative_targets() -> Report:
    return _emphasis(capped=False)


@mended(EMPHASES, "Targets are capped at 0.")
def emphasis_negative_targets_mended() -> Report:
    return _emphasis(capped=True)


def _watermark(kind: torch.dtype) -> Report:
    torch.manual_seed(7)
    x, y = masks(24)
    label = (y.mean((1, 2, 3)) > y.mean()).to(kind)[:, None]
    return torchbce.check(classifier(), (x, label), nn.BCEWithLogitsLoss())


@bug(HIDDEN, "The discriminator's labels are integers.", ("BCE032",))
def hidden_integer_labels() -> Report:
    return _watermark(torch.long)


@mended(HIDDEN, "The labels are floats.")
def hidden_integer_labels_mended() -> Report:
    return _watermark(torch.float32)


def _nuclei(order: Tensor) -> Report:
    torch.manual_seed(8)
    x, y = masks(24)
    return torchbce.check(segmenter(), (x, y[order]), nn.BCEWithLogitsLoss())


@bug(PATHML, "Pictures and masks are listed by two unordered globs, so masks belong to others.", ("BCE013", "BCE027"))
def pathml_unordered_masks() -> Report:
    return _nuclei(torch.randperm(24, generator=torch.Generator().manual_seed(1)))


@mended(PATHML, "Both lists are sorted.")
def pathml_unordered_masks_mended() -> Report:
    return _nuclei(torch.arange(24))


def _celeba(sort: bool) -> Report:
    torch.manual_seed(9)
    x, y = table(3000)
    x_valid, y_valid = table(3000)
    if not sort:
        y, y_valid = y[torch.randperm(3000)], y_valid[torch.randperm(3000)]
    logits = fit(nn.Linear(10, 1), x, y)(x_valid)
    return torchbce.check_predictions(logits, y_valid, from_logits=True)


@bug(CELEBA, "The picture files are listed in another order than the attribute table.", ("BCE027",))
def celeba_unsorted_files() -> Report:
    return _celeba(sort=False)


@mended(CELEBA, "The list of files is sorted.")
def celeba_unsorted_files_mended() -> Report:
    return _celeba(sort=True)


def _split(shuffle: bool) -> Report:
    torch.manual_seed(10)
    x, y = table(1500)
    order = torch.randperm(1500) if shuffle else y[:, 0].argsort()  # the folders come one after the other
    train, valid = order[:1200], order[1200:]
    model = fit(nn.Linear(10, 1), x[train], y[train])
    return torchbce.check_predictions(model(x[valid]), y[valid], from_logits=True)


@bug(UNSHUFFLED, "The last fifth of files sorted by class is the validation set.", ("BCE033",))
def validation_of_one_class() -> Report:
    return _split(shuffle=False)


@mended(UNSHUFFLED, "The files are shuffled before the split.")
def validation_of_one_class_mended() -> Report:
    return _split(shuffle=True)


def _cellularity(kind: torch.dtype) -> Report:
    torch.manual_seed(11)
    x = torch.randn(1200, 10)
    y = torch.sigmoid(x[:, :1] - x[:, 1:2] + 0.7 * torch.randn(1200, 1))
    model = fit(nn.Linear(10, 1), x[:800], y[:800])
    return torchbce.check_predictions(model(x[800:]), y[800:].to(kind).float(), from_logits=True)


@bug(HISTOLOGY, "Soft targets in (0, 1) are cast to integers in validation, so all become 0.", ("BCE033", "BCE028"))
def soft_targets_truncated() -> Report:
    return _cellularity(torch.long)


@mended(HISTOLOGY, "Soft targets stay floats.")
def soft_targets_truncated_mended() -> Report:
    return _cellularity(torch.float32)
