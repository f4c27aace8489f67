"""Shapes that differ, targets that are no probabilities, and data that is wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.public_bugs.data import classifier, fit, masks, perceptron, pictures, segmenter, series, table, tags
from torchbce.checks.report import Report

from .seen import thread, unclaimed


@thread(
    "https://github.com/yuji-roh/fairbatch/pull/2",
    "BCELoss of outputs [N, 1] and targets [N].",
    "The targets get the shape of the outputs.",
    ("BCE032", "BCE003"),
)
def bce_of_two_shapes(wrong: bool) -> Report:
    torch.manual_seed(0)
    x, y = table()
    model = nn.Sequential(nn.Linear(10, 1), nn.Sigmoid())
    return torchbce.check(model, (x, y[:, 0] if wrong else y), nn.BCELoss())


@thread(
    "https://github.com/deepset-ai/FARM/issues/229",
    "The loss squeezes its outputs, and the labels are [N, 1].",
    "Both are squeezed.",
    ("BCE003",),
)
def squeezed_against_column(wrong: bool) -> Report:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(torch.sigmoid(logits.squeeze(-1)), labels if wrong else labels.squeeze(-1))

    torch.manual_seed(1)
    return torchbce.check(perceptron(), table(), loss)


@thread(
    "https://github.com/Photon-AI-Research/NeuralSolvers/issues/20",
    "The loss of a model [N, 1] is written by hand and compares it with values [N].",
    "The prediction is reshaped to [N].",
    ("BCE003",),
)
def hand_written_of_two_shapes(wrong: bool) -> Report:
    def loss(out: Tensor, t: Tensor) -> Tensor:
        prediction = torch.sigmoid(out if wrong else out.reshape(-1))
        return -(t * torch.log(prediction + 1e-8) + (1 - t) * torch.log(1 - prediction + 1e-8)).mean()

    torch.manual_seed(2)
    x, y = table()
    return torchbce.check(perceptron(), (x, y[:, 0]), loss)


@thread(
    "https://github.com/jiwei0921/CoNet/issues/3",
    "Maps [N, 1, H, W] against targets [N, H, W]: each picture is compared with every target.",
    "The targets are unsqueezed.",
    ("BCE003",),
)
def maps_against_all_targets(wrong: bool) -> Report:
    def loss(out: Tensor, depth: Tensor) -> Tensor:
        return F.smooth_l1_loss(torch.sigmoid(out), depth if wrong else depth.unsqueeze(1), reduction="sum")

    torch.manual_seed(3)
    x, y = masks(8)
    return torchbce.check(segmenter(), (x, y[:, 0]), loss)


def _harmonized(x: Tensor, target: Tensor) -> Tensor:
    gap = torch.abs(torch.sigmoid(x).detach() - target)
    place = (gap * 9.99).long()
    share = torch.bincount(place.flatten(), minlength=10).clamp(min=1)
    weight = gap.numel() / (share[place] * 10)
    return F.binary_cross_entropy_with_logits(x, target, weight)


@thread(
    "https://github.com/DHPO/GHM_Loss.pytorch/issues/2",
    "A loss of one-hot targets gets two outputs and class numbers.",
    "The targets are one-hot.",
    ("BCE032",),
)
def harmonized_of_class_numbers(wrong: bool) -> Report:
    torch.manual_seed(4)
    x, y = table()
    hot = F.one_hot(y[:, 0].long(), 2).float()
    return torchbce.check(perceptron(10, 2), (x, y[:, 0] if wrong else hot), _harmonized)


@thread(
    "https://github.com/TongfeiLiu/C3Net-for-building-extraction/issues/2",
    "The network has two classes and the mask one channel.",
    "n_classes=1.",
    ("BCE032",),
)
def two_channels_and_one_mask(wrong: bool) -> Report:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2 if wrong else 1, 1), nn.Sigmoid())
    return torchbce.check(model, masks(), nn.BCELoss())


@thread(
    "https://github.com/YutaroOgawa/pytorch_advanced/issues/144",
    "torch.full without a dtype makes targets of integers.",
    "Targets are float.",
    ("BCE032",),
)
def targets_of_integers(wrong: bool) -> Report:
    torch.manual_seed(6)
    x, y = pictures()
    y = y.long() if wrong else y
    criterion = nn.BCEWithLogitsLoss(reduction="mean")
    return torchbce.check(classifier(), (x, y.view(-1)), lambda o, t: criterion(o.view(-1), t))


@thread(
    "https://github.com/speechbrain/speechbrain/issues/2784",
    "Label smoothing takes the mean of outputs [N] over a second dimension.",
    "It takes the mean over what there is.",
    ("BCE032",),
)
def smoothing_of_one_dimension(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor, smoothing: float = 0.01) -> Tensor:
        o = o.squeeze(-1)
        each = F.binary_cross_entropy_with_logits(o, t, reduction="none")
        pull = torch.mean(o, dim=1) if wrong else torch.mean(o)
        return (1 - smoothing) * each.mean() - smoothing * pull.mean()

    torch.manual_seed(7)
    x, y = table()
    return torchbce.check(perceptron(), (x, y[:, 0]), loss)


class _Slices(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.conv, self.wrong = nn.Conv2d(3, 8, 3, padding=1), wrong
        self.fc = nn.Linear(8 * 8 * 36 if wrong else 8 * 36, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        x = x.view(-1, 8 * 8 * 36) if self.wrong else x.flatten(1)
        return torch.sigmoid(self.fc(x))


@thread(
    "https://github.com/weka511/hpa-scc/issues/38",
    "view() merges the eight pictures of a batch into one row, which is compared with all eight targets.",
    "Each picture is a row.",
    ("BCE003", "BCE015", "BCE019", "BCE032"),
)
def batch_merged_into_one_row(wrong: bool) -> Report:
    torch.manual_seed(8)
    x, _ = pictures(8)
    y = torch.bernoulli(torch.full((8, 6), 0.5))
    return torchbce.check(_Slices(wrong), (x, y), nn.MSELoss())


@thread(
    "https://github.com/mateuszbuda/brain-segmentation-pytorch/issues/36",
    "A newer library leaves the masks at 0 and 255, and the dice loss is negative.",
    "Masks are divided by their maximum.",
    ("BCE001",),
)
def dice_of_bytes(wrong: bool) -> Report:
    def dice(p: Tensor, t: Tensor, smooth: float = 1.0) -> Tensor:
        p, t = p[:, 0].contiguous().view(-1), t[:, 0].contiguous().view(-1)
        return 1.0 - (2.0 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)

    torch.manual_seed(9)
    x, y = masks()
    return torchbce.check(segmenter(nn.Sigmoid()), (x, y * 255 if wrong else y), dice)


@unclaimed(
    "https://github.com/qubvel-org/segmentation_models.pytorch/issues/234",
    "The mask has three channels and the output one; the dice loss counts the overlap three times.",
    "The mask has one channel.",
    ("BCE003", "BCE007", "BCE032"),
)
def dice_of_three_channels(wrong: bool) -> Report:
    def dice(o: Tensor, t: Tensor, eps: float = 1e-7) -> Tensor:
        p = torch.sigmoid(o)
        return 1 - (2 * torch.sum(t * p) + eps) / (torch.sum(t) / (3 if wrong else 1) + torch.sum(p) + eps)

    torch.manual_seed(10)
    x, y = masks()
    return torchbce.check(segmenter(), (x, y.repeat(1, 3, 1, 1) if wrong else y), dice)


@thread(
    "https://github.com/MontaEllis/Pytorch-Medical-Segmentation/issues/8",
    "The labels are class numbers 0, 1, 2, and the loss is BCEWithLogitsLoss.",
    "They are 0 and 1.",
    ("BCE001",),
)
def labels_are_class_numbers(wrong: bool) -> Report:
    torch.manual_seed(11)
    x, y = masks()
    y = y * torch.randint(1, 3, (16, 1, 1, 1)) if wrong else y
    return torchbce.check(segmenter(), (x, y), nn.BCEWithLogitsLoss())


@thread(
    "https://github.com/wkentaro/labelme/issues/53",
    "The tool writes masks that are all zero.",
    "It writes what was drawn.",
    ("BCE033",),
)
def masks_are_empty(wrong: bool) -> Report:
    torch.manual_seed(12)
    x, y = masks()
    return torchbce.check(segmenter(), (x, 0 * y if wrong else y), nn.BCEWithLogitsLoss())


def _predicted(seed: int, train_pairs: bool, test_pairs: bool) -> Report:
    torch.manual_seed(seed)
    x, y = table(600)
    x_test, y_test = table(600)
    model = fit(nn.Sequential(nn.Linear(10, 1)), x, y if train_pairs else y[torch.randperm(600)], steps=100)
    out = model(x_test)
    return torchbce.check_predictions(out, y_test if test_pairs else y_test[torch.randperm(600)], from_logits=True)


@thread(
    "https://github.com/mlcommons/GaNDLF/pull/870",
    "Pictures and labels are shuffled separately, so training learns nothing.",
    "They are shuffled together.",
    ("BCE027",),
)
def shuffled_separately(wrong: bool) -> Report:
    return _predicted(0, train_pairs=not wrong, test_pairs=True)


@thread(
    "https://github.com/udacity/nd320-c1-emr-data-starter/issues/4",
    "The test set is shuffled, and its predictions are compared with the labels of the table.",
    "It is not shuffled.",
    ("BCE027", "BCE028"),
)
def test_set_shuffled(wrong: bool) -> Report:
    return _predicted(1, train_pairs=True, test_pairs=not wrong)


@thread(
    "https://github.com/js0nwu/webui/issues/1",
    "Pages of the validation set are in the training set.",
    "They are not.",
    ("BCE030",),
)
def validation_pages_in_training(wrong: bool) -> Report:
    torch.manual_seed(13)
    train, valid = tags(300), tags(100)
    if wrong:
        valid = torch.cat([valid[0][:88], train[0][:12]]), torch.cat([valid[1][:88], train[1][:12]])
    return torchbce.check(perceptron(10, 6), train, nn.BCEWithLogitsLoss(), valid=valid)


@unclaimed(
    "https://github.com/HUST-NingKang-Lab/BGC-Prophet/issues/8",
    "Windows of one cluster of genes, nearly alike, are in both splits.",
    "",
    ("BCE030",),
)
def windows_in_both_splits(wrong: bool) -> Report:
    torch.manual_seed(14)
    x, y = series(80)
    rows = torch.randperm(400)
    windows = torch.stack([x[:, i : i + 8] for i in range(5)], 1).flatten(0, 1)[rows]
    labels = y.repeat_interleave(5, 0)[rows]
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 1))
    return torchbce.check(
        model, (windows[:320], labels[:320]), nn.BCEWithLogitsLoss(), valid=(windows[320:], labels[320:])
    )


@unclaimed(
    "https://github.com/pkmital/pycadl/pull/5",
    "The pictures are divided by 255 twice.",
    "Once.",
    ("BCE013", "BCE010", "BCE011", "BCE041"),
)
def divided_twice(wrong: bool) -> Report:
    torch.manual_seed(15)
    x, y = pictures()
    x = (x * 40 + 100).clamp(0, 255).round() / 255
    return torchbce.check(classifier(), (x / 255 if wrong else x, y), nn.BCEWithLogitsLoss())


@unclaimed(
    "https://github.com/4uiiurz1/pytorch-nested-unet/issues/62",
    "Divided by 255 and then normalized as if not: all pixels are near -2.",
    "Divided once.",
    ("BCE013", "BCE010", "BCE011", "BCE041"),
)
def normalized_after_division(wrong: bool) -> Report:
    torch.manual_seed(16)
    x, y = masks()
    pixels = (x * 40 + 100).clamp(0, 255).round() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x = ((pixels / 255 if wrong else pixels) - mean) / std
    return torchbce.check(segmenter(), (x, y), nn.BCEWithLogitsLoss())


@thread(
    "https://newbe.dev/pytorch-binary-classification-same-network-structure-simpler-data-but-worse-performance",
    "Inputs with a mean of 92 go through sigmoid layers as they are.",
    "They are standardised.",
    ("BCE010", "BCE011", "BCE013", "BCE015", "BCE016"),
)
def inputs_far_from_zero(wrong: bool) -> Report:
    torch.manual_seed(17)
    x = 92 + 30 * torch.randn(64, 2)
    y = (x.sum(1, keepdim=True) > 184).float()
    x = x if wrong else (x - x.mean()) / x.std()
    model = nn.Sequential(nn.Linear(2, 8), nn.Sigmoid(), nn.Linear(8, 1), nn.Sigmoid())
    return torchbce.check(model, (x, y), nn.BCELoss(), torch.optim.Adam(model.parameters(), lr=0.01))
