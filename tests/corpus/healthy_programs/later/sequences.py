"""Text, speech and other sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import torchbce
from corpus.healthy_programs.common import sentences
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


class _Packed(nn.Module):
    def __init__(self, probability: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 12, padding_idx=0)
        self.lstm = nn.LSTM(12, 16, batch_first=True, bidirectional=True)
        self.linear, self.drop, self.probability = nn.Linear(32, 1), nn.Dropout(0.3), probability

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        last = out[torch.arange(len(out)), lengths - 1, :16]
        out = torch.squeeze(self.linear(self.drop(torch.cat([last, out[:, 0, 16:]], 1))), 1)
        return torch.sigmoid(out) if self.probability else out


@healthy(
    "a bidirectional LSTM on packed sequences with padded embeddings, probabilities [N]",
    "https://github.com/cplm98/SEC-Data-Analysis/blob/master/lstm.py",
)
def packed_lstm() -> Report:
    tokens, lengths, y = sentences()
    return torchbce.check(_Packed(True), ((tokens, lengths), y[:, 0]), nn.BCELoss())


@healthy(
    "a bidirectional LSTM over padded tokens, the last state of both directions, dropout, squeeze",
    "https://github.com/DeepActionPotential/FakeNewsDetector/blob/main/model.py",
)
def lstm_last_states() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(50, 12, padding_idx=0)
            self.lstm = nn.LSTM(12, 16, batch_first=True, bidirectional=True)
            self.dropout, self.fc, self.sigmoid = nn.Dropout(0.5), nn.Linear(32, 1), nn.Sigmoid()

        def forward(self, x):
            hidden = self.lstm(self.embedding(x))[1][0]
            return self.sigmoid(self.fc(self.dropout(torch.cat([hidden[-2], hidden[-1]], 1)))).squeeze()

    tokens, _, y = sentences()
    model = Net()
    return torchbce.check(model, (tokens, y.squeeze()), nn.BCELoss(), torch.optim.Adam(model.parameters(), 1e-3))


@healthy(
    "two classes by log-softmax of the last real step, and NLLLoss",
    "https://github.com/bolducp/human-assisted-nmt/blob/master/hnmt/feedback_requester/model.py",
)
def log_softmax_of_the_last_step() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm, self.out = (
                nn.Embedding(50, 12),
                nn.LSTM(12, 16, batch_first=True),
                nn.Linear(16, 2),
            )

        def forward(self, tokens, lengths):
            out = self.out(self.lstm(self.embedding(tokens))[0])
            return F.log_softmax(out[torch.arange(len(out)), lengths - 1], dim=1)

    tokens, lengths, y = sentences()
    return torchbce.check(Net(), ((tokens, lengths), y[:, 0].long()), nn.NLLLoss())


class _Encoder(nn.Module):
    def __init__(self, outputs: int = 1, frozen: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16, padding_idx=0)
        self.cls = nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(16, outputs)
        if frozen:
            for name, p in self.named_parameters():
                p.requires_grad = "classifier" in name

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = torch.cat([self.cls.expand(len(input_ids), -1, -1), self.embedding(input_ids)], 1)
        pad = None if attention_mask is None else F.pad(attention_mask == 0, (1, 0))
        return self.classifier(self.encoder(x, src_key_padding_mask=pad)[:, 0, :])


@healthy(
    "an encoder with a class token and a padding mask; the batch is a dict with labels",
    "https://github.com/bastrob/Transformers/blob/main/Anatomy/TransformerForSequenceClassification.py",
)
def encoder_with_class_token() -> Report:
    torch.manual_seed(1)
    tokens, _, y = sentences()
    model = _Encoder()
    batch = {"input_ids": tokens, "attention_mask": (tokens != 0).long(), "labels": y}
    return torchbce.check(model, batch, bce, torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01))


@healthy(
    "an encoder that is frozen but for its classifier, and an optimizer of all parameters that are not",
    "https://github.com/OctaveBorgard/recommandation_film/blob/main/models/models_for_npl.py",
)
def frozen_encoder() -> Report:
    torch.manual_seed(2)
    tokens, _, y = sentences()
    model = _Encoder(frozen=True)
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
    return torchbce.check(
        model, {"input_ids": tokens, "attention_mask": (tokens != 0).long(), "labels": y}, bce, optimizer
    )


@healthy(
    "an optimizer that has the frozen encoder's parameters too, with a lower rate",
    "https://github.com/poloclub/RECAST/blob/master/backend/model.py",
)
def frozen_encoder_in_the_optimizer() -> Report:
    torch.manual_seed(3)
    tokens, _, y = sentences()
    model = _Encoder(frozen=True)
    groups = [{"params": model.encoder.parameters(), "lr": 2e-5}, {"params": model.classifier.parameters(), "lr": 1e-3}]
    return torchbce.check(model, (tokens, y), bce, torch.optim.AdamW(groups))


class _WithLoss(nn.Module):
    def __init__(self, labels: int) -> None:
        super().__init__()
        self.net = _Encoder(labels)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        logits = self.net(input_ids)
        return (logits,) if labels is None else (bce(logits, labels), logits)


@healthy(
    "a model of several labels that returns (loss, logits) if it gets labels, and a loss function that takes the last",
    "https://github.com/NathanGrs00/ml-poc-classification/blob/main/machine-learning/models/model.py",
)
def model_with_its_own_loss() -> Report:
    torch.manual_seed(4)
    tokens, _, y = sentences()
    labels = torch.cat([y, (tokens[:, :1] % 2).float(), (tokens[:, 1:2] > 25).float()], 1)
    return torchbce.check(_WithLoss(3), (tokens, labels), lambda out, t: bce(out[-1], t))


@healthy(
    "knowledge tracing: a logit per question and step, of which the next question's is taken, with a mask",
    "https://github.com/jhljx/GKT/blob/master/models.py",
)
def next_question() -> Report:
    class Tracer(nn.Module):
        def __init__(self, questions=8):
            super().__init__()
            self.emb = nn.Embedding(2 * questions + 1, 16, padding_idx=0)
            self.rnn, self.out = nn.GRU(16, 16, batch_first=True), nn.Linear(16, questions)

        def forward(self, seen):
            return self.out(self.rnn(self.emb(seen))[0])

    def loss(logits, t):
        question, answer, mask = t.unbind(-1)
        p = torch.sigmoid(logits).gather(2, question.long()[..., None]).squeeze(-1)
        each = -(answer * torch.log(p) + (1 - answer) * torch.log(1 - p))
        return (mask * each).sum() / mask.sum()

    torch.manual_seed(5)
    question, lengths = torch.randint(8, (32, 11)), torch.randint(4, 11, (32, 1))
    answer = (question + torch.randn(32, 11) > 3.5).float()
    mask = (torch.arange(10) < lengths).float()
    seen = (1 + question + 8 * answer.long())[:, :10] * mask.long()
    return torchbce.check(Tracer(), (seen, torch.stack([question[:, 1:].float(), answer[:, 1:], mask], -1)), loss)


@healthy(
    "sound events: a probability of each frame, whose weighted mean is the clip's",
    "https://github.com/jimmy133719/SED-via-consistency-training-and-pseudo-labeling",
)
def clip_of_frames() -> Report:
    class Events(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gru = nn.Conv1d(8, 16, 3, padding=1), nn.GRU(16, 8, batch_first=True, bidirectional=True)
            self.strong, self.soft = nn.Linear(16, 4), nn.Linear(16, 4)

        def forward(self, x):
            hidden = self.gru(F.relu(self.conv(x)).transpose(1, 2))[0]
            strong = torch.sigmoid(self.strong(hidden))
            soft = torch.softmax(self.soft(hidden), dim=-1).clamp(min=1e-7, max=1)
            return strong, (strong * soft).sum(1) / soft.sum(1)

    torch.manual_seed(6)
    x = torch.randn(24, 8, 20)
    return torchbce.check(
        Events(), (x, (x[:, :4].amax(2) > 2.2).float()), lambda out, t: F.binary_cross_entropy(out[1], t)
    )


@healthy(
    "frames [N, T, L] and clip [N, L] in one loss; targets are a tuple of both",
    "https://github.com/hugofloresgarcia/miid/blob/main/readings/week4/crnns_for_sed.md",
)
def frames_and_clip() -> Report:
    class Events(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv1d(8, 16, 3, padding=1), nn.Linear(16, 3)

        def forward(self, x):
            frames = self.head(F.relu(self.conv(x)).transpose(1, 2))
            return {"frames": frames, "clip": frames.logsumexp(1) - 3}

    torch.manual_seed(7)
    x = torch.randn(24, 8, 20)
    strong = (x[:, :3] > 1).float().transpose(1, 2)
    return torchbce.check(
        Events(),
        (x, (strong, strong.amax(1) * 0.9 + 0.05)),
        lambda out, t: bce(out["frames"], t[0]) + 0.5 * bce(out["clip"], t[1]),
    )


@healthy(
    "onsets: probabilities [N, T, 12], two heads, the sum of their losses in a dict",
    "https://github.com/jongwook/onsets-and-frames",
)
def onsets_and_frames() -> Report:
    class Notes(nn.Module):
        def __init__(self):
            super().__init__()
            self.onset = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 12), nn.Sigmoid())
            self.frame = nn.Sequential(nn.Linear(28, 24), nn.ReLU(), nn.Linear(24, 12), nn.Sigmoid())

        def forward(self, mel):
            onset = self.onset(mel)
            return {"onset": onset, "frame": self.frame(torch.cat([onset.detach(), mel], -1))}

    def loss(out, t):
        losses = {name: F.binary_cross_entropy(out[name], t[name]) for name in out}
        return sum(losses.values())

    torch.manual_seed(8)
    mel = torch.randn(12, 20, 16)
    frame = (mel[..., :12] > 0.7).float()
    return torchbce.check(Notes(), (mel, {"onset": frame * (torch.rand_like(frame) < 0.5), "frame": frame}), loss)


@healthy(
    "one-dimensional convolutions on signals with global max and mean pooling",
    "https://github.com/kevinkwshin/DCAM/blob/main/models/U2NET.py",
)
def signals() -> Report:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv1d(1, 8, 7, padding=3), nn.InstanceNorm1d(8), nn.LeakyReLU(0.1), nn.MaxPool1d(2, ceil_mode=True),
                nn.Conv1d(8, 16, 5, padding=2), nn.BatchNorm1d(16), nn.LeakyReLU(0.1),
            )  # fmt: skip
            self.head = nn.Linear(32, 1)

        def forward(self, x):
            x = self.body(x)
            return self.head(torch.cat([x.amax(2), x.mean(2)], 1))

    torch.manual_seed(9)
    x = torch.randn(32, 1, 64)
    y = (torch.arange(32) % 2).float()[:, None]
    x[y[:, 0] == 1] += torch.sin(torch.arange(64) * 0.6)
    return torchbce.check(Net(), (x, y), bce)


@healthy(
    "a bag of instances: gated attention, a probability kept off 0 and 1, the likelihood by hand",
    "https://github.com/gkstlsgp3as/WS-DETR/blob/main/models/mil.py",
)
def bags() -> Report:
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
            self.v, self.u, self.w = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(8, 1)
            self.head = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())

        def forward(self, x):
            h = self.body(x)
            a = torch.softmax(self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))), dim=1)
            p = self.head((a * h).sum(1))
            return p, (p >= 0.5).float(), a

    def loss(out, t):
        p = torch.clamp(out[0], min=1e-5, max=1.0 - 1e-5)
        return -1.0 * (t * torch.log(p) + (1.0 - t) * torch.log(1.0 - p)).mean()

    torch.manual_seed(10)
    x = torch.randn(40, 12, 8)
    return torchbce.check(Bag(), (x, (x[:, :, 0].amax(1, keepdim=True) > 1.6).float()), loss)


@healthy(
    "weakly supervised detection: the product of two softmaxes, summed over regions and clamped",
    "https://github.com/luiszeni/Boosted-OICR/blob/master/code/layers/losses/mil_loss.py",
)
def regions() -> Report:
    class Regions(nn.Module):
        def __init__(self):
            super().__init__()
            self.classes, self.detections = nn.Linear(8, 5), nn.Linear(8, 5)

        def forward(self, x):
            return (F.softmax(self.classes(x), dim=2) * F.softmax(self.detections(x), dim=1)).sum(1)

    def loss(score, labels):
        score = score.clamp(1e-6, 1 - 1e-6)
        return (-labels * torch.log(score) - (1 - labels) * torch.log(1 - score)).mean()

    torch.manual_seed(11)
    x = torch.randn(32, 10, 8)
    return torchbce.check(Regions(), (x, F.one_hot(x[:, :, :5].amax(1).argmax(1), 5).float()), loss)
