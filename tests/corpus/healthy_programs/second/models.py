"""Models with outputs of many forms, frozen parts, and unusual ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import blobs, images, mlp, rows, sentences
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


class _Out(NamedTuple):
    logits: Tensor
    hidden: Tensor


@healthy("a named tuple of logits and features", "https://github.com/ThilinaRajapakse/simpletransformers/issues/661")
def named_tuple() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 1)

        def forward(self, x):
            hidden = torch.relu(self.body(x))
            return _Out(self.head(hidden), hidden)

    torch.manual_seed(0)
    return torchbce.check(Net(), rows(), lambda out, t: bce(out.logits, t) + 1e-4 * out.hidden.square().mean())


@dataclass
class _Result:
    loss: Tensor | None
    logits: Tensor


@healthy(
    "a dataclass of several labels, its loss None, in a batch that is a dict",
    "https://github.com/ThilinaRajapakse/simpletransformers/issues/661",
)
def dataclass_of_labels() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(outputs=4)

        def forward(self, features):
            return _Result(None, self.net(features))

    torch.manual_seed(1)
    x, y = rows()
    batch = {"features": x, "labels": torch.cat([y, (x[:, :3] > 0).float()], 1)}
    return torchbce.check(Net(), batch, lambda out, t: bce(out.logits.view(-1), t.view(-1)))


@healthy(
    "features are computed under no_grad by design, and a small head is trained on them",
    "https://github.com/facebookresearch/PoseWarper/issues/7",
)
def features_without_gradient() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fixed = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.AdaptiveMaxPool2d(2)).requires_grad_(False)
            self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

        def forward(self, x):
            with torch.no_grad():
                features = self.fixed(x).flatten(1)
            return self.head(features)

    torch.manual_seed(2)
    model = Net()
    return torchbce.check(model, images(), bce, torch.optim.Adam(model.head.parameters(), lr=0.01))


@healthy(
    "a mix of branches with learned weights, a sigmoid of parameters",
    "https://github.com/seungwonpark/RandWireNN/issues/10",
)
def learned_mix() -> Report:
    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList(nn.Linear(8, 16) for _ in range(3))
            self.weights, self.head = nn.Parameter(torch.zeros(3)), nn.Linear(16, 1)

        def forward(self, x):
            parts = [w * b(x) for w, b in zip(torch.sigmoid(self.weights), self.branches, strict=True)]
            return self.head(torch.relu(sum(parts)))

    torch.manual_seed(3)
    return torchbce.check(Mix(), rows(), bce)


@healthy(
    "stop tokens: a logit for each frame, padded frames are ones, with a positive weight",
    "https://github.com/NVIDIA/tacotron2/issues/266",
)
def stop_tokens() -> Report:
    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.mel, self.gate = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 8), nn.Linear(16, 1)

        def forward(self, x):
            out = self.rnn(x)[0]
            return self.mel(out), self.gate(out).squeeze(-1)

    def loss(out, t):
        mel, gate = t[..., :-1], t[..., -1].reshape(-1, 1)
        return F.mse_loss(out[0], mel) + bce(out[1].view(-1, 1), gate)

    torch.manual_seed(4)
    x = torch.randn(16, 20, 8)
    gate = (torch.arange(20) >= torch.randint(10, 20, (16, 1))).float()
    return torchbce.check(Decoder(), (x, torch.cat([x.roll(-1, 1), gate[..., None]], -1)), loss)


@healthy(
    "masks of instances: 28 x 28 logits per class, of which the loss takes the object's class",
    "https://github.com/facebookresearch/detectron2/issues/1121",
)
def masks_of_the_class() -> Report:
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))

        def forward(self, x):
            return self.net(x)

    torch.manual_seed(5)
    x, y = blobs(16)
    label = torch.arange(16) % 4
    return torchbce.check(
        Head(),
        (x, (y[:, 0], label)),
        lambda o, t: F.binary_cross_entropy_with_logits(o[torch.arange(len(o)), t[1]], t[0]),
    )


@healthy(
    "a grid of anchors: outputs [N, 3 * 6, H, W] are viewed as [N, 3, H, W, 6]",
    "https://github.com/salehhedayati/YOLOv1/blob/main/loss.py",
)
def anchors() -> Report:
    def loss(o, t):
        n, _, h, w = o.shape
        o = o.view(n, 3, 6, h, w).permute(0, 1, 3, 4, 2)
        there = t[..., 0]
        boxes = (o[..., 2:] - t[..., 2:]).square().mean(-1) * there
        classes = F.binary_cross_entropy_with_logits(o[..., 1], t[..., 1], reduction="none") * there
        return bce(o[..., 0], there) + (boxes + classes).sum() / there.sum().clamp(min=1)

    torch.manual_seed(6)
    x, _ = images(16)
    t = torch.rand(16, 3, 4, 4, 6)
    t[..., :2] = (t[..., :2] < 0.2).float()
    model = nn.Sequential(nn.Conv2d(1, 16, 4, 4), nn.LeakyReLU(0.1), nn.Conv2d(16, 18, 1))
    return torchbce.check(model, (x, t), loss)


@healthy(
    "tokens are classified one by one; padding has the label -100", "https://github.com/facebookresearch/DPR/issues/196"
)
def tokens_one_by_one() -> Report:
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(50, 12), nn.GRU(12, 8, batch_first=True, bidirectional=True)
            self.head = nn.Linear(16, 1)

        def forward(self, tokens):
            return self.head(self.rnn(self.embedding(tokens))[0])

    def loss(o, t):
        known = t != -100
        return bce(o.squeeze(-1)[known], t[known].float())

    tokens, lengths, _ = sentences()
    labels = torch.where(torch.arange(10) < lengths[:, None], (tokens > 25).long(), -100)
    return torchbce.check(Tagger(), (tokens, labels), loss)


@healthy("a gate starts closed at a bias of -3", "https://github.com/kefirski/pytorch_Highway/issues/1")
def highway() -> Report:
    class Highway(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
            self.gates = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
            self.head = nn.Linear(8, 1)
            for gate in self.gates:
                nn.init.constant_(gate.bias, -3.0)

        def forward(self, x):
            for layer, gate in zip(self.layers, self.gates, strict=True):
                g = torch.sigmoid(gate(x))
                x = g * F.elu(layer(x)) + (1 - g) * x
            return self.head(x)

    torch.manual_seed(7)
    return torchbce.check(Highway(), rows(), bce)


@healthy("a tanh of the logit, scaled by ten", "https://github.com/soumith/ganhacks/issues/36")
def scaled_tanh() -> Report:
    class Capped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return 10 * torch.tanh(self.net(x) / 10)

    torch.manual_seed(8)
    return torchbce.check(Capped(), rows(), bce)


@healthy(
    "probabilities as the mean of four heads' sigmoids",
    "https://github.com/torch-uncertainty/torch-uncertainty/issues/165",
)
def mean_of_probabilities() -> Report:
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(mlp() for _ in range(4))

        def forward(self, x):
            return torch.stack([h(x).sigmoid() for h in self.heads]).mean(0)

    torch.manual_seed(9)
    return torchbce.check(Heads(), rows(), nn.BCELoss())


@healthy(
    "noisy-or over instances: one minus a product", "https://github.com/RshsLY/PP-MGCN/blob/main/model/sur_MIL_Trans.py"
)
def noisy_or() -> Report:
    class NoisyOr(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
            nn.init.constant_(self.net[-1].bias, -2.0)

        def forward(self, x):
            return 1 - torch.prod(1 - torch.sigmoid(self.net(x)), dim=1)

    torch.manual_seed(10)
    x = torch.randn(40, 5, 8)
    return torchbce.check(NoisyOr(), (x, (x[:, :, 0].amax(1, keepdim=True) > 1.2).float()), nn.BCELoss())


@healthy(
    "a rescaling layer of 1 / 255 in the model, and bytes",
    "https://github.com/Priyanshu-byte-coder/devtrack/issues/927",
)
def rescaled_in_the_model() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten())
            self.head = nn.Linear(32, 1)

        def forward(self, x):
            return self.head(self.net(x.float() / 255.0))

    torch.manual_seed(11)
    x, y = images()
    return torchbce.check(Net(), ((x * 40 + 100).clamp(0, 255).to(torch.uint8), y), bce)


@healthy("pictures between 0 and 1, a third of them dark", "https://github.com/yandexdataschool/Practical_RL/pull/305")
def dark_pictures() -> Report:
    torch.manual_seed(12)
    x, y = images()
    x = torch.sigmoid(x)
    x[::3] *= 0.2
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 1))
    return torchbce.check(model, (x, y), bce)


@healthy(
    "a sparse bag of words, mostly zeros",
    "https://github.com/mschroederi/DL-sentiment-analysis/blob/main/models/bow_classifier.py",
)
def bag_of_words() -> Report:
    torch.manual_seed(13)
    x = (torch.rand(64, 200) < 0.03).float()
    y = (x[:, :40].sum(1, keepdim=True) > 1).float()
    return torchbce.check(nn.Sequential(nn.Linear(200, 32), nn.ReLU(), nn.Linear(32, 1)), (x, y), bce)
