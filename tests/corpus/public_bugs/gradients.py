"""Gradients that do not arrive, inputs that are not used, and layers that do not obey eval()."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.report import Report

from .data import classifier, perceptron, pictures, series, table
from .registry import bug, mended

RESIDUAL = "https://github.com/state-spaces/s4/pull/30"
ANSWER_SPAN = "https://github.com/pytorch/pytorch/issues/40357"
ARGMAX = "https://php.bkmy88.com/faq/1835025.html"
ZERO_GATE = "https://github.com/yz93/LAVT-RIS/issues/25"
PYTHON_LIST = "https://github.com/pytorch/pytorch/issues/715"
FREEZE = "https://github.com/jina-ai/finetuner/issues/435"
GAZE = "https://github.com/ishtos/mpII-face-gaze/issues/2"
CLICKS = "https://github.com/rixwew/pytorch-fm/issues/21"
NTS_NET = "https://github.com/yangze0930/NTS-Net/issues/14"


class _Block(nn.Module):
    def __init__(self, used: bool) -> None:
        super().__init__()
        self.norm, self.layer, self.used = nn.LayerNorm(10), nn.Linear(10, 10), used

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(self.norm(x))
        return F.gelu(y) if self.used else x


def _residual(used: bool) -> Report:
    torch.manual_seed(0)
    return torchbce.check(nn.Sequential(_Block(used), perceptron()), table(), nn.BCEWithLogitsLoss())


@bug(RESIDUAL, "Without a residual, the block returns its input and not the layer's output.", ("BCE016",))
def block_ignores_its_layer() -> Report:
    return _residual(used=False)


@mended(RESIDUAL, "The block returns the layer's output.")
def block_ignores_its_layer_mended() -> Report:
    return _residual(used=True)


class _Span(nn.Module):
    def __init__(self, argmax: bool) -> None:
        super().__init__()
        self.lstm, self.head, self.argmax = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 2), argmax

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.lstm(x)[0])  # [batch, tokens, 2]
        if self.argmax:
            start, end = scores[:, :, 0].argmax(1), scores[:, :, 1].argmax(1)
            return torch.tensor(list(zip(start.tolist(), end.tolist(), strict=True)), dtype=torch.long)
        return scores


def _span(argmax: bool) -> Report:
    torch.manual_seed(1)
    x, _ = series(16)
    places = torch.stack([x[:, :, 0].argmax(1), x[:, :, 1].argmax(1)], 1)  # [batch, 2]
    targets = places if argmax else F.one_hot(places, 12).transpose(1, 2).float()
    return torchbce.check(_Span(argmax), (x, targets), nn.BCEWithLogitsLoss())


@bug(ANSWER_SPAN, "The model returns the positions of its largest scores as integers.", ("BCE032", "BCE016", "BCE001"))
def answer_span_by_argmax() -> Report:
    return _span(argmax=True)


@mended(ANSWER_SPAN, "The loss gets the scores as floats, and float targets.")
def answer_span_by_argmax_mended() -> Report:
    return _span(argmax=False)


def _hard(hard: bool) -> Report:
    torch.manual_seed(2)
    x, y = table()

    def loss_func(logits: Tensor, targets: Tensor) -> Tensor:
        if hard:
            guess = torch.softmax(logits, 1).argmax(1).type(torch.float32)
            return F.binary_cross_entropy(guess, targets)
        return F.cross_entropy(logits, targets.long())

    return torchbce.check(perceptron(10, 2), (x, y[:, 0]), loss_func)


@bug(ARGMAX, "The loss compares the argmax of the outputs, which has no gradient.", ("BCE016", "BCE006", "BCE032"))
def loss_of_the_argmax() -> Report:
    return _hard(hard=True)


@mended(ARGMAX, "The loss takes the logits.")
def loss_of_the_argmax_mended() -> Report:
    return _hard(hard=False)


class _Gated(nn.Module):
    def __init__(self, both: bool) -> None:
        super().__init__()
        gate = nn.Linear(10, 10, bias=False), nn.ReLU(), nn.Linear(10, 10, bias=False), nn.Tanh()
        self.gate, self.head = nn.Sequential(*gate), perceptron()
        nn.init.zeros_(self.gate[2].weight)
        if both:
            nn.init.zeros_(self.gate[0].weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.gate(x) * x)


def _gated(both: bool) -> Report:
    torch.manual_seed(3)
    return torchbce.check(_Gated(both), table(), nn.BCEWithLogitsLoss())


@bug(ZERO_GATE, "Both layers of the gate start at zero, so neither ever gets a gradient.", ("BCE016",))
def gate_of_two_zero_layers() -> Report:
    return _gated(both=True)


@mended(ZERO_GATE, "Only the second layer starts at zero.")
def gate_of_two_zero_layers_mended() -> Report:
    return _gated(both=False)


class _Listed(nn.Module):
    def __init__(self, registered: bool) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Linear(10, 10), nn.Tanh()) for _ in range(3)]
        self.layers = nn.ModuleList(layers) if registered else layers
        self.classifier = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x)


def _listed(registered: bool) -> Report:
    torch.manual_seed(4)
    model = _Listed(registered)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return torchbce.check(model, table(), nn.BCEWithLogitsLoss(), optimizer)


@bug(PYTHON_LIST, "The hidden layers are in a list, so they are no parameters of the model.", ("BCE017", "BCE016"))
def layers_in_a_list() -> Report:
    return _listed(registered=False)


@mended(PYTHON_LIST, "The list is a ModuleList.")
def layers_in_a_list_mended() -> Report:
    return _listed(registered=True)


def _frozen(head: bool) -> Report:
    torch.manual_seed(5)
    model = classifier()
    model.requires_grad_(False)
    if head:
        model[-1].requires_grad_(True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad] or model.parameters(), lr=0.001)
    return torchbce.check(model, pictures(), nn.BCEWithLogitsLoss(), optimizer)


@bug(FREEZE, "Every parameter is frozen, the head too.", ("BCE016", "BCE032"))
def everything_frozen() -> Report:
    return _frozen(head=False)


@mended(FREEZE, "The head is trained.")
def everything_frozen_mended() -> Report:
    return _frozen(head=True)


class _Gaze(nn.Module):
    def __init__(self, pose: bool) -> None:
        super().__init__()
        self.body, self.head, self.pose = classifier(16), nn.Linear(19 if pose else 16, 1), pose

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = F.relu(self.body(x))
        return self.head(torch.cat([x, z], 1) if self.pose else x)


def _gaze(pose: bool) -> Report:
    torch.manual_seed(6)
    x, y = pictures(48)
    z = torch.randn(48, 3)
    return torchbce.check(_Gaze(pose), ((x, z), torch.where(z[:, :1] > 0.5, 1 - y, y)), nn.BCEWithLogitsLoss())


@bug(GAZE, "forward() takes the head's pose and never uses it.", ("BCE015",))
def second_input_never_used() -> Report:
    return _gaze(pose=False)


@mended(GAZE, "The pose is concatenated with the features.")
def second_input_never_used_mended() -> Report:
    return _gaze(pose=True)


class _Clicks(nn.Module):
    def __init__(self, obeys: bool) -> None:
        super().__init__()
        self.embedding, self.attention = nn.Embedding(50, 8), nn.Linear(8, 1)
        self.fc, self.obeys = nn.Linear(8, 1), obeys

    def forward(self, fields: Tensor) -> Tensor:
        x = self.embedding(fields)
        scores = torch.softmax(self.attention(F.relu(x)), dim=1)
        scores = F.dropout(scores, p=0.2, training=self.training) if self.obeys else F.dropout(scores, p=0.2)
        return torch.sigmoid(self.fc((scores * x).sum(1)))[:, 0]


def _clicks(obeys: bool) -> Report:
    torch.manual_seed(7)
    fields = torch.randint(0, 50, (64, 5))
    clicked = (fields[:, 0] < 20).float()
    return torchbce.check(_Clicks(obeys), (fields, clicked), nn.BCELoss())


@bug(CLICKS, "F.dropout without training= drops attention in evaluation too.", ("BCE019",))
def dropout_always_on() -> Report:
    return _clicks(obeys=False)


@mended(CLICKS, "training=self.training.")
def dropout_always_on_mended() -> Report:
    return _clicks(obeys=True)


class _Made(nn.Module):
    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.body, self.fc, self.drop = classifier(32), nn.Linear(32, 1), nn.Dropout(0.5)
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x = nn.Dropout(p=0.5)(x) if self.inside else self.drop(x)
        return self.fc(x)


def _made(inside: bool) -> Report:
    torch.manual_seed(8)
    return torchbce.check(_Made(inside), pictures(), nn.BCEWithLogitsLoss())


@bug(NTS_NET, "nn.Dropout is made in forward(), where eval() does not reach it.", ("BCE019",))
def dropout_made_in_forward() -> Report:
    return _made(inside=True)


@mended(NTS_NET, "It is made in __init__().")
def dropout_made_in_forward_mended() -> Report:
    return _made(inside=False)
