"""Segmentation and detection."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import blobs, images
from torchbce import Report

from .seen import healthy

bce_logits = F.binary_cross_entropy_with_logits


def _net(outputs: int = 1, last: nn.Module | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, outputs, 3, padding=1),
        *([last] if last else []),
    )


def _seeded(seed: int, outputs: int = 1, last: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(seed)
    return _net(outputs, last)


@healthy(
    "dice of the whole flattened batch, from logits",
    "https://github.com/TransformerTitan/torchcriterion/blob/main/torchcriterion/segmentation/dice.py",
)
def dice_of_the_batch() -> Report:
    class Dice(nn.Module):
        def __init__(self, smooth=1.0):
            super().__init__()
            self.smooth = smooth

        def forward(self, o, t):
            p, t = torch.sigmoid(o).view(-1), t.view(-1)
            return 1 - (2.0 * (p * t).sum() + self.smooth) / (p.sum() + t.sum() + self.smooth)

    return torchbce.check(_seeded(0), blobs(), Dice())


@healthy(
    "dice of each picture, its sum divided by their number",
    "https://github.com/ECNUpersister/MyLIDC/blob/main/metric/losses.py",
)
def dice_of_each_picture() -> Report:
    def dice(o, t, smooth=1e-5):
        n = t.size(0)
        p, t = torch.sigmoid(o).view(n, -1), t.view(n, -1)
        score = (2.0 * (p * t).sum(1) + smooth) / (p.sum(1) + t.sum(1) + smooth)
        return 1 - score.sum() / n

    return torchbce.check(_seeded(1), blobs(), dice)


@healthy(
    "dice plus BCE of flattened probabilities",
    "https://github.com/PK-OB/JED-VCOD/blob/main/utils/losses.py",
)
def dice_plus_bce() -> Report:
    def loss(o, t, smooth=1):
        p, t = torch.sigmoid(o).flatten(), t.flatten()
        dice = 1 - (2.0 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)
        return F.binary_cross_entropy(p, t) + dice

    model = _seeded(2)
    return torchbce.check(model, blobs(), loss, torch.optim.Adam(model.parameters(), lr=1e-3))


@healthy(
    "BCE and IoU, both weighted at the edges of the mask by a mean filter",
    "https://github.com/matthias-p/unet/blob/main/loss.py",
)
def structure_loss() -> Report:
    def loss(o, t):
        weight = 1 + 5 * torch.abs(F.avg_pool2d(t, kernel_size=7, stride=1, padding=3) - t)
        each = bce_logits(o, t, reduction="none")
        each = (weight * each).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
        p = torch.sigmoid(o)
        inter = (p * t * weight).sum(dim=(2, 3))
        union = ((p + t) * weight).sum(dim=(2, 3))
        return (each + 1 - (inter + 1) / (union - inter + 1)).mean()

    return torchbce.check(_seeded(3), blobs(), loss)


@healthy(
    "Tversky with more weight on what was missed, to a power of 4 / 3",
    "https://github.com/qubvel-org/segmentation_models.pytorch/blob/main/segmentation_models_pytorch/losses/tversky.py",
)
def focal_tversky() -> Report:
    def loss(o, t, alpha=0.3, beta=0.7, gamma=4 / 3, eps=1e-7):
        p = o.sigmoid().view(o.size(0), 1, -1)
        t = t.view(o.size(0), 1, -1)
        hit = (p * t).sum((0, 2))
        score = hit / (hit + alpha * (p * (1 - t)).sum((0, 2)) + beta * ((1 - p) * t).sum((0, 2))).clamp(min=eps)
        return (1 - score).mean() ** gamma

    return torchbce.check(_seeded(4), blobs(), loss)


@healthy(
    "the Lovasz hinge of each picture, whose errors are sorted",
    "https://github.com/heavenle/UNet/blob/main/NetWorkRegistry/loss/LovaszHingeLoss.py",
)
def lovasz_hinge() -> Report:
    def flat(o, t):
        errors, order = (1.0 - o * (2.0 * t - 1.0)).sort(descending=True)
        t = t[order]
        total = t.sum()
        jaccard = 1.0 - (total - t.cumsum(0)) / (total + (1 - t).cumsum(0))
        return F.relu(errors) @ torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])

    def loss(o, t):
        o, t = o.squeeze(1), t.squeeze(1)
        return torch.stack([flat(a.reshape(-1), b.reshape(-1)) for a, b in zip(o, t, strict=True)]).mean()

    return torchbce.check(_seeded(5), blobs(), loss)


class _Scales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.mid = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.heads = nn.ModuleList([nn.Conv2d(8, 1, 1), nn.Conv2d(16, 1, 1)])

    def forward(self, x: Tensor) -> list[Tensor]:
        a = F.relu(self.down(x))
        b = F.relu(self.mid(a))
        size = x.shape[2:]
        return [
            F.interpolate(head(h), size, mode="bilinear", align_corners=False)
            for head, h in zip(self.heads, (a, b), strict=True)
        ]


@healthy(
    "maps of two scales in a list, enlarged, with weights that halve",
    "https://github.com/Linuxer888/MSCEF/blob/main/core/models/UNet_3Plus_bat.py",
)
def deep_supervision() -> Report:
    torch.manual_seed(6)
    return torchbce.check(_Scales(), blobs(), lambda maps, t: sum(bce_logits(m, t) / 2**i for i, m in enumerate(maps)))


@healthy(
    "two classes by CrossEntropyLoss: scores [N, 2, H, W] and class numbers [N, H, W]",
    "https://github.com/zijundeng/pytorch-semantic-segmentation/issues/21",
)
def cross_entropy_of_pixels() -> Report:
    x, y = blobs()
    return torchbce.check(_seeded(7, 2), (x, y[:, 0].long()), nn.CrossEntropyLoss())


@healthy(
    "log-softmax before CrossEntropyLoss changes nothing, as it is its own square",
    "https://github.com/speedinghzl/Pytorch-Deeplab/issues/2",
)
def log_softmax_before_cross_entropy() -> Report:
    x, y = blobs()
    return torchbce.check(_seeded(8, 2, nn.LogSoftmax(dim=1)), (x, y[:, 0].long()), nn.CrossEntropyLoss())


@healthy(
    "two channels after a softmax, one-hot masks and BCELoss",
    "https://github.com/pochih/FCN-pytorch/issues/9",
)
def softmax_and_bce() -> Report:
    x, y = blobs()
    return torchbce.check(_seeded(9, 2, nn.Softmax(dim=1)), (x, torch.cat([1 - y, y], 1)), nn.BCELoss())


@healthy(
    "masks are bytes 0 and 255, which the loss divides by 255",
    "https://github.com/mateuszbuda/brain-segmentation-pytorch/issues/36",
)
def bytes_divided_in_the_loss() -> Report:
    x, y = blobs()
    return torchbce.check(_seeded(10), (x, (y * 255).to(torch.uint8)), lambda o, t: bce_logits(o, t.float() / 255))


@healthy(
    "the mask [N, H, W] is unsqueezed in the loss, and the output interpolated to its size",
    "https://github.com/jiwei0921/CoNet/issues/3",
)
def mask_unsqueezed_in_the_loss() -> Report:
    def loss(o, t):
        t = t.unsqueeze(1).float()
        return bce_logits(F.interpolate(o, t.shape[2:], mode="bilinear", align_corners=True), t)

    torch.manual_seed(11)
    x, y = blobs()
    model = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 1, 3, padding=1))
    return torchbce.check(model, (x, y[:, 0].bool()), loss)


@healthy(
    "pos_weight of the pixels of this batch",
    "https://github.com/ImprintLab/Medical-SAM2/issues/78",
)
def pos_weight_of_the_batch() -> Report:
    def loss(o, t):
        ones = t.sum().clamp(min=1)
        return bce_logits(o, t, pos_weight=(t.numel() - ones) / ones)

    return torchbce.check(_seeded(12), blobs(), loss)


@healthy(
    "an objectness map of 3 % ones with focal bias, its loss divided by the number of objects",
    "https://github.com/kuangliu/torchcv/issues/12",
)
def objectness_by_objects() -> Report:
    def loss(o, t, alpha=0.25, gamma=2):
        p = o.sigmoid()
        pt = p * t + (1 - p) * (1 - t)
        w = (alpha * t + (1 - alpha) * (1 - t)) * (1 - pt).pow(gamma)
        return bce_logits(o, t, w.detach(), reduction="sum") / t.sum().clamp(min=1)

    torch.manual_seed(13)
    x, y = blobs()
    small = F.max_pool2d(y, 4)
    small = small * (torch.rand_like(small) < 0.2)
    model = nn.Sequential(nn.Conv2d(1, 12, 4, 4), nn.ReLU(), nn.Conv2d(12, 1, 1))
    nn.init.constant_(model[-1].bias, -4.595)
    return torchbce.check(model, (x, small), loss)


@healthy(
    "varifocal loss: targets are the quality of a box where there is one and 0 elsewhere",
    "https://github.com/open-mmlab/mmdetection/blob/main/mmdet/models/losses/varifocal_loss.py",
)
def varifocal() -> Report:
    def loss(o, t, alpha=0.75, gamma=2.0):
        p = o.sigmoid()
        w = t * (t > 0.0).float() + alpha * (p - t).abs().pow(gamma) * (t <= 0.0).float()
        return (bce_logits(o, t, reduction="none") * w).mean()

    torch.manual_seed(14)
    x, y = blobs()
    return torchbce.check(_net(), (x, y * (0.5 + 0.5 * torch.rand_like(y))), loss)


class _Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 4, 4), nn.LeakyReLU(0.1))
        self.object, self.box = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.body(x)
        return {"object": self.object(hidden), "box": self.box(hidden)}


@healthy(
    "objectness and boxes in one loss, the boxes where there is an object only",
    "https://github.com/zjykzj/YOLOv2/blob/master/models/yolov2v3/yolov2loss.py",
)
def objects_and_boxes() -> Report:
    def loss(out, t):
        there = t[:, :1]
        boxes = F.smooth_l1_loss(out["box"], t[:, 1:], reduction="none") * there
        return bce_logits(out["object"], there) + 0.05 * boxes.sum() / there.sum().clamp(min=1)

    torch.manual_seed(15)
    x, y = blobs()
    there = F.max_pool2d(y, 4)
    return torchbce.check(_Detector(), (x, torch.cat([there, torch.rand(12, 4, 4, 4)], 1)), loss)


@healthy(
    "squared error on probabilities of patches, for pictures [N, 1, 3, 3]",
    "https://github.com/eriklindernoren/PyTorch-GAN/issues/79",
)
def least_squares_of_patches() -> Report:
    torch.manual_seed(16)
    x, y = images()
    model = nn.Sequential(nn.Conv2d(1, 8, 4, 4), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 2))
    return torchbce.check(model, (x, y), lambda o, t: F.mse_loss(o, t[:, :, None, None].expand_as(o)))


@healthy(
    "50 layers of residual blocks with batch norm",
    "https://github.com/KaiyangZhou/deep-person-reid/issues/150",
)
def fifty_layers() -> Report:
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8),
            )  # fmt: skip

        def forward(self, x):
            return F.relu(x + self.conv(x))

    torch.manual_seed(17)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), *[Block() for _ in range(24)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1),
    )  # fmt: skip
    return torchbce.check(model, images(), nn.BCEWithLogitsLoss(), torch.optim.Adam(model.parameters()))
