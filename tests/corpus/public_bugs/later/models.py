"""Models in which something is left out, frozen, or mixed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.public_bugs.data import perceptron, pictures, series, table
from torchbce.checks.report import Report

from .seen import thread, unclaimed

LOSS = nn.BCEWithLogitsLoss()


class _Attention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.rnn, self.attn, self.head, self.dim = (
            nn.GRU(6, 12, batch_first=True),
            nn.Linear(18, 1),
            nn.Linear(12, 1),
            dim,
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.rnn(x)[0]
        weights = F.softmax(self.attn(torch.cat([x, out], 2)), dim=self.dim)
        return self.head((weights * out).sum(1))


@thread(
    "https://github.com/DEEP-PolyU/KEQA_WSDM19/issues/2",
    "The softmax is over the one score of each step, so every weight is 1.",
    "Over the steps.",
    ("BCE016",),
)
def attention_over_one_score(wrong: bool) -> Report:
    torch.manual_seed(0)
    return torchbce.check(_Attention(2 if wrong else 1), series(), LOSS)


@thread(
    "https://github.com/PetrochukM/PyTorch-NLP/issues/2",
    "The softmax of the attention is over the batch.",
    "Over the steps.",
    ("BCE019", "BCE003"),
)
def attention_over_the_batch(wrong: bool) -> Report:
    torch.manual_seed(1)
    return torchbce.check(_Attention(0 if wrong else 1), series(), LOSS)


@thread(
    "https://github.com/MicrosoftDocs/pytorchfundamentals/pull/21",
    "LogSoftmax over the batch before NLLLoss.",
    "Over the classes.",
    ("BCE003", "BCE019", "BCE007"),
)
def log_softmax_over_the_batch(wrong: bool) -> Report:
    torch.manual_seed(2)
    x, y = table()
    model = perceptron(10, 2, nn.LogSoftmax(dim=0 if wrong else 1))
    return torchbce.check(model, (x, y[:, 0].long()), nn.NLLLoss())


class _Selective(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 5, padding=2)
        self.conv_ex = nn.Conv2d(8, 8, 1)
        self.other = nn.Conv2d(8, 8, 1) if not wrong else self.conv_ex
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.relu(self.left(x)), F.relu(self.right(x))
        z = (left + right).mean((2, 3), keepdim=True)
        weights = torch.stack([self.conv_ex(z), self.other(z)], 1).softmax(1)
        return self.head((weights[:, 0] * left + weights[:, 1] * right).amax((2, 3)))


@thread(
    "https://github.com/suvojit-0x55aa/A2S2K-ResNet/issues/4",
    "Both scores of the selection come from one layer, so the softmax is always one half.",
    "A layer for each.",
    ("BCE016",),
)
def selection_of_equal_scores(wrong: bool) -> Report:
    torch.manual_seed(3)
    return torchbce.check(_Selective(wrong), pictures(), LOSS)


class _Difference(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU())
        self.threshold, self.head, self.wrong = nn.Parameter(torch.tensor(0.1)), nn.Linear(12, 1), wrong

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        gap = features.mean(1, keepdim=True)
        if self.wrong:
            mask = (torch.sign(gap - self.threshold) + 1) * 0.5
        else:
            mask = torch.sigmoid(10 * (gap - self.threshold))
        return self.head((features * (1 + mask)).amax((2, 3)))


@thread(
    "https://github.com/Hiyuur/SR-TOD/issues/5",
    "A threshold that should be learned is used in sign() alone, whose gradient is 0.",
    "In a sigmoid.",
    ("BCE016",),
)
def threshold_behind_sign(wrong: bool) -> Report:
    torch.manual_seed(4)
    return torchbce.check(_Difference(wrong), pictures(), LOSS)


class _Convolutions(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        convs = [nn.Conv1d(6, 8, width) for width in (3, 4, 5)]
        self.convs, self.head = convs if wrong else nn.ModuleList(convs), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        return self.head(torch.cat([conv(x).relu().amax(2) for conv in self.convs], 1))


@thread(
    "https://github.com/pytorch/pytorch/issues/1053",
    "The convolutions are in a Python list, so the model does not have them.",
    "In a ModuleList.",
    ("BCE016", "BCE017"),
)
def convolutions_in_a_list(wrong: bool) -> Report:
    torch.manual_seed(5)
    model = _Convolutions(wrong)
    return torchbce.check(model, series(), LOSS, torch.optim.Adam(model.parameters()))


class _MadeAnew(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.first, self.wrong = nn.Linear(10, 16), wrong
        if not wrong:
            self.second = nn.Linear(16, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).clamp(min=0)
        second = nn.Linear(16, 16) if self.wrong else self.second
        return self.head(second(hidden).clamp(min=0))


@thread(
    "https://github.com/pytorch/pytorch/issues/1291",
    "A layer is made in forward(), with new random weights in each call.",
    "In __init__.",
    ("BCE019", "BCE016", "BCE017"),
)
def layer_made_in_forward(wrong: bool) -> Report:
    torch.manual_seed(6)
    return torchbce.check(_MadeAnew(wrong), table(), LOSS)


class _Carrying(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.i_h, self.h_h, self.h_o, self.wrong = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 1), wrong
        self.h: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.wrong:
            self.h = 0.0
        for i in range(3):
            self.h = F.relu(self.h_h(self.h + self.i_h(x[:, i])))
        out = self.h_o(self.h)
        self.h = self.h.detach()
        return out


@thread(
    "https://github.com/fastai/fastbook/pull/469",
    "The hidden state [batch, n] stays from batch to batch, and the last batch is smaller.",
    "It begins at zero.",
    ("BCE019", "BCE032"),
)
def state_of_the_last_batch(wrong: bool) -> Report:
    torch.manual_seed(7)
    return torchbce.check(_Carrying(wrong), series(), LOSS)


class _Functional(nn.Module):
    def __init__(self, wrong: bool, p: float = 0.5) -> None:
        super().__init__()
        self.fc1, self.fc2, self.p, self.wrong = nn.Linear(10, 32), nn.Linear(32, 1), p, wrong

    def forward(self, x: Tensor, apply_sigmoid: bool = False) -> Tensor:
        hidden = F.relu(self.fc1(x))
        hidden = F.dropout(hidden, p=self.p) if self.wrong else F.dropout(hidden, self.p, self.training)
        out = self.fc2(hidden).squeeze(1)
        return torch.sigmoid(out) if apply_sigmoid else out


@thread(
    "https://github.com/delip/PyTorchNLPBook/issues/28",
    "F.dropout drops in evaluation too.",
    "training=self.training.",
    ("BCE019",),
)
def functional_dropout_of_the_book(wrong: bool) -> Report:
    torch.manual_seed(8)
    x, y = table()
    return torchbce.check(_Functional(wrong), (x, y[:, 0]), LOSS)


@thread(
    "https://github.com/deepchem/deepchem/pull/5120",
    "F.dropout(x, p) of the layer before the probability drops in eval().",
    "training=self.training.",
    ("BCE019",),
)
def functional_dropout_before_probability(wrong: bool) -> Report:
    torch.manual_seed(9)
    x, y = table()
    net = _Functional(wrong, 0.1)

    class Probability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x, apply_sigmoid=True)

    return torchbce.check(Probability(), (x, y[:, 0]), nn.BCELoss())


@thread(
    "https://github.com/pytorch/pytorch/issues/37823",
    "Batch norm without running statistics: predictions depend on the batch.",
    "With them.",
    ("BCE019",),
)
def batch_norm_of_the_batch(wrong: bool) -> Report:
    torch.manual_seed(10)
    norm = nn.BatchNorm2d(8, track_running_stats=not wrong)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 1)
    )
    return torchbce.check(model, pictures(), LOSS)


@unclaimed(
    "https://github.com/stefanopini/simple-HRNet/issues/79",
    "strict=False loads nothing, as the names differ, and the random backbone is frozen.",
    "",
    ("BCE016", "BCE042"),
)
def random_backbone_is_frozen(wrong: bool) -> Report:
    torch.manual_seed(11)
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
    backbone.load_state_dict({"module.0.weight": torch.zeros(1)}, strict=False)
    backbone.requires_grad_(False)
    model = nn.Sequential(backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model[-1].parameters(), lr=0.01)
    return torchbce.check(model, pictures(), LOSS, optimizer)


@unclaimed(
    "https://github.com/wagonhelm/NaNmnist/issues/2",
    "All weights of a network with a hidden layer start at zero: its units stay alike.",
    "At random.",
    ("BCE016", "BCE015", "BCE013"),
)
def weights_start_at_zero(wrong: bool) -> Report:
    torch.manual_seed(12)
    model = perceptron()
    if wrong:
        for p in model.parameters():
            nn.init.zeros_(p)
    return torchbce.check(model, table(), LOSS, torch.optim.SGD(model.parameters(), lr=0.1))
