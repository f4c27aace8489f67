"""Models and losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, TensorDataset

import torchbce
from corpus.public_bugs.data import classifier, masks, perceptron, pictures, segmenter, series, table, tags
from torchbce.checks.report import Report

from .seen import thread, unclaimed

LOSS = nn.BCEWithLogitsLoss()


class _Pair(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.body, self.head, self.wrong = nn.Linear(10, 16), nn.Linear(16, 2), wrong

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.tanh(self.body(x))
        scores = self.head(features)
        return (scores.softmax(-1) if self.wrong else scores), features


@thread(
    "https://github.com/runame/laplace-redux/pull/1",
    "The model returns (softmax, features), and the loss is cross_entropy of the first.",
    "It returns scores.",
    ("BCE004", "BCE007"),
)
def softmax_twice_in_a_tuple(wrong: bool) -> Report:
    torch.manual_seed(0)
    x, y = table()
    return torchbce.check(_Pair(wrong), (x, y[:, 0].long()), lambda out, t: F.cross_entropy(out[0], t))


@thread(
    "https://github.com/NervanaSystems/ngraph/pull/994",
    "The last convolution ends with a ReLU, and its mean over the picture is the logit.",
    "No ReLU there.",
    ("BCE004",),
)
def relu_before_the_mean(wrong: bool) -> Report:
    torch.manual_seed(1)
    last = nn.Conv2d(16, 1, 3, padding=1)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        last,
        *([nn.ReLU()] if wrong else []),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return torchbce.check(model, pictures(), LOSS)


class _Prototypes(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 16, 3, padding=1)
        self.weight, self.bias = (
            nn.Parameter(torch.rand(6, 16)),
            None if wrong else nn.Parameter(torch.full((6,), -1.0)),
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = F.softmax(self.body(x), dim=1).amax((2, 3))
        return F.linear(seen, F.relu(self.weight), self.bias)


@unclaimed(
    "https://github.com/M-Nauta/PIPNet/issues/7",
    "Prototypes and weights are positive, so no logit is negative: no label gets less than one half.",
    "A bias that may be negative.",
    ("BCE004", "BCE013"),
)
def logits_never_negative(wrong: bool) -> Report:
    torch.manual_seed(2)
    x, _ = pictures()
    return torchbce.check(_Prototypes(wrong), (x, torch.bernoulli(torch.full((32, 6), 0.3))), LOSS)


@thread(
    "https://github.com/perone/euclidesdb/issues/2",
    "The model's probabilities are a softmax over the batch.",
    "Over the classes.",
    ("BCE019", "BCE003"),
)
def probabilities_over_the_batch(wrong: bool) -> Report:
    torch.manual_seed(3)
    x, y = table()
    hot = F.one_hot(y[:, 0].long(), 2).float()
    return torchbce.check(perceptron(10, 2, nn.Softmax(dim=0 if wrong else 1)), (x, hot), nn.BCELoss())


@thread(
    "https://github.com/kevinzakka/pytorch-goodies/issues/2",
    "The dice loss takes the softmax of a name that it has not yet assigned.",
    "Of the logits.",
    ("BCE032",),
)
def dice_of_an_unknown_name(wrong: bool) -> Report:
    def dice(logits: Tensor, t: Tensor, eps: float = 1e-7) -> Tensor:
        hot = torch.cat([1 - t, t], 1)
        probas = F.softmax(probas if wrong else logits, dim=1)  # noqa: F821
        return 1 - (2 * (probas * hot).sum((0, 2, 3)) / ((probas + hot).sum((0, 2, 3)) + eps)).mean()

    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 2, 3, padding=1))
    return torchbce.check(model, masks(), dice)


@thread(
    "https://github.com/open-mmlab/mmsegmentation/issues/1266",
    "The dice loss takes a softmax over the one channel that there is.",
    "A sigmoid.",
    ("BCE006", "BCE016", "BCE004"),
)
def dice_of_softmax_of_one_channel(wrong: bool) -> Report:
    def dice(o: Tensor, t: Tensor, smooth: float = 1.0) -> Tensor:
        p = (F.softmax(o, dim=1) if wrong else torch.sigmoid(o)).flatten(1)
        t = t.flatten(1)
        return (1 - (2 * (p * t).sum(1) + smooth) / (p.square().sum(1) + t.square().sum(1) + smooth)).mean()

    torch.manual_seed(5)
    return torchbce.check(segmenter(), masks(), dice)


@thread(
    "https://github.com/open-mmlab/mmsegmentation/pull/1629",
    "squeeze() also takes away the batch where it has one picture.",
    "squeeze(1).",
    ("BCE032", "BCE003"),
)
def squeeze_of_one_picture(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(o.squeeze() if wrong else o.squeeze(1), t.float())

    torch.manual_seed(6)
    x, y = masks(1)
    return torchbce.check(segmenter(), (x, y[:, 0]), loss)


class _DeadEnd(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.conv5, self.conv6 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.bn6, self.conv7, self.wrong = nn.BatchNorm2d(16), nn.Conv2d(16, 1, 3, padding=1), wrong

    def forward(self, x: Tensor) -> Tensor:
        x5 = F.leaky_relu(self.conv5(x), 0.2)
        x6 = F.leaky_relu(self.bn6(self.conv6(x5)), 0.2)
        return self.conv7(x5 if self.wrong else x6).mean((2, 3))


@thread(
    "https://github.com/udacity/deep-learning/pull/209",
    "The seventh layer gets the output of the fifth: the sixth is a dead end.",
    "It gets the sixth's.",
    ("BCE016",),
)
def layer_is_a_dead_end(wrong: bool) -> Report:
    torch.manual_seed(7)
    return torchbce.check(_DeadEnd(wrong), pictures(), LOSS)


@thread(
    "https://github.com/GoogleCloudPlatform/cloudml-samples/pull/241",
    "The last activation is a softmax also where there is one label.",
    "A sigmoid.",
    ("BCE004", "BCE006"),
)
def softmax_of_one_label(wrong: bool) -> Report:
    torch.manual_seed(8)
    model = perceptron(10, 1, nn.Softmax(dim=-1) if wrong else nn.Sigmoid())
    return torchbce.check(model, table(), nn.BCELoss(), torch.optim.RMSprop(model.parameters(), lr=0.003))


@thread(
    "https://github.com/seitalab/probe2vec/blob/main/experiment/codes/functions/loss.py",
    "The loss is the sum of label minus sigmoid: it falls for ever, whatever the labels are.",
    "Binary cross-entropy.",
    ("BCE007",),
)
def difference_without_absolute_value(wrong: bool) -> Report:
    def loss(dot: Tensor, label: Tensor) -> Tensor:
        dot = dot.squeeze(-1)
        return (label - torch.sigmoid(dot)).sum() if wrong else F.binary_cross_entropy_with_logits(dot, label)

    torch.manual_seed(9)
    x, y = table()
    return torchbce.check(perceptron(), (x, y[:, 0]), loss)


@thread(
    "https://github.com/JCCotrina/UWMGI/blob/main/src/losses/bce.py",
    "The outputs are given to the class's constructor: the loss is a module.",
    "To the function.",
    ("BCE032",),
)
def outputs_given_to_a_constructor(wrong: bool) -> Report:
    torch.manual_seed(10)
    bce = nn.BCEWithLogitsLoss if wrong else F.binary_cross_entropy_with_logits
    return torchbce.check(segmenter(), masks(), lambda pr, gt: bce(pr, gt))


@thread(
    "https://github.com/DanielSc4/Approach-LWD/blob/main/src/models/TransformerBinaryClassifier.py",
    "A ReLU on the two scores of a classifier, after dropout and a linear layer.",
    "No ReLU.",
    ("BCE004",),
)
def relu_on_two_scores(wrong: bool) -> Report:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lm, self.dropout = nn.GRU(6, 24, batch_first=True), nn.Dropout(0.2)
            self.linear, self.relu = nn.Linear(24, 2), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            out = self.linear(self.dropout(self.lm(x)[1][0]))
            return self.relu(out) if wrong else out

    torch.manual_seed(11)
    x, y = series()
    return torchbce.check(Classifier(), (x, y[:, 0].long()), nn.CrossEntropyLoss())


class _Padded(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.lstm, self.linear, self.wrong = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 1), wrong

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, (hidden, _) = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return torch.sigmoid(self.linear(out[:, -1, :] if self.wrong else hidden[-1]))


@unclaimed(
    "https://github.com/azakalik/NLP-Song-Genre-Recognition/blob/main/src/lstm.py",
    "The last step of the padded output is 0 for all but the longest sequences.",
    "The last hidden state.",
    ("BCE015", "BCE013", "BCE014"),
)
def last_step_is_padding(wrong: bool) -> Report:
    torch.manual_seed(12)
    x, y = series()
    lengths = torch.randint(4, 12, (32,))
    lengths[0] = 12
    return torchbce.check(_Padded(wrong), ((x, lengths), y), nn.BCELoss())


@thread(
    "https://github.com/usuyama/pytorch-unet/issues/5",
    "Output and mask are flattened, and the mask has another size.",
    "The mask is resized.",
    ("BCE032",),
)
def flattened_sizes_differ(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor) -> Tensor:
        return F.binary_cross_entropy(torch.sigmoid(o).view(-1), t.view(-1))

    torch.manual_seed(13)
    x, y = masks()
    return torchbce.check(segmenter(), (x, F.avg_pool2d(y, 2) if wrong else y), loss)


class _Score(nn.Module):
    def __init__(self, wrong: bool, p: float = 0.4) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList([nn.Linear(10, 24), nn.Linear(24, 24)]), nn.Linear(24, 1)
        self.p, self.wrong = p, wrong

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
            x = F.dropout(x, p=self.p) if self.wrong else F.dropout(x, p=self.p, training=self.training)
        return torch.sigmoid(self.head(x))


@thread(
    "https://github.com/deepchem/deepchem/pull/5121",
    "F.dropout after each layer is on in eval() too.",
    "training=self.training.",
    ("BCE019",),
)
def dropout_in_each_layer(wrong: bool) -> Report:
    torch.manual_seed(14)
    return torchbce.check(_Score(wrong), table(), nn.BCELoss())


class _Critic(nn.Module):
    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.net = perceptron(10, 1, *([nn.Sigmoid()] if wrong else []))

    def forward(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(real), self.net(made)


@thread(
    "https://github.com/Lornatang/ESRGAN-PyTorch/issues/8",
    "BCELoss of a probability less the mean of others, which may be negative.",
    "BCEWithLogitsLoss of logits.",
    ("BCE005", "BCE032"),
)
def bce_of_a_difference(wrong: bool) -> Report:
    criterion = nn.BCELoss() if wrong else nn.BCEWithLogitsLoss()

    def loss(out: tuple[Tensor, Tensor], t: Tensor) -> Tensor:
        real, made = out
        return criterion(real - made.mean(), t) + criterion(made - real.mean(), 1 - t)

    torch.manual_seed(15)
    batch = (torch.randn(32, 10) + 1, torch.randn(32, 10)), torch.ones(32, 1)
    return torchbce.check(_Critic(wrong), batch, loss)


class _Triples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entities, self.relations = nn.Embedding(20, 8), nn.Embedding(4, 8)

    def forward(self, triple: Tensor) -> Tensor:
        head, relation, tail = triple.unbind(1)
        return (self.entities(head) * self.relations(relation) * self.entities(tail)).sum(1)


@thread(
    "https://github.com/pykeen/pykeen/issues/87",
    "BCELoss of scores, as the sigmoid is applied in prediction only.",
    "BCEWithLogitsLoss.",
    ("BCE005", "BCE032"),
)
def bce_of_scores(wrong: bool) -> Report:
    torch.manual_seed(16)
    triple = torch.stack([torch.randint(20, (64,)), torch.randint(4, (64,)), torch.randint(20, (64,))], 1)
    model = _Triples()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    y = ((triple[:, 0] + triple[:, 2]) % 2).float()
    return torchbce.check(model, (triple, y), nn.BCELoss() if wrong else nn.BCEWithLogitsLoss())


@thread(
    "https://github.com/jakeret/tf_unet/issues/15",
    "The dice loss takes logits where it needs probabilities.",
    "It takes their sigmoid.",
    ("BCE005", "BCE007", "BCE002"),
)
def dice_of_logits(wrong: bool) -> Report:
    def dice(o: Tensor, t: Tensor, eps: float = 1e-5) -> Tensor:
        p = o if wrong else torch.sigmoid(o)
        return 1 - 2 * (p * t).sum() / (eps + p.sum() + t.sum())

    torch.manual_seed(17)
    return torchbce.check(segmenter(), masks(), dice)


@thread(
    "https://taourl.com/read-2252160.html",
    "BCELoss with labels -1 and 1.",
    "0 and 1.",
    ("BCE001",),
)
def bce_of_signs(wrong: bool) -> Report:
    torch.manual_seed(18)
    x, y = table()
    return torchbce.check(perceptron(10, 1, nn.Sigmoid()), (x, 2 * y - 1 if wrong else y), nn.BCELoss())


@thread(
    "https://github.com/happynear/NormFace/issues/4",
    "The loader reads rows that are sorted by label, so a batch has one label only.",
    "shuffle=True.",
    ("BCE033",),
)
def loader_of_sorted_rows(wrong: bool) -> Report:
    torch.manual_seed(19)
    x, y = table(600)
    order = y[:, 0].argsort()
    loader = DataLoader(TensorDataset(x[order], y[order]), batch_size=128, shuffle=not wrong)
    return torchbce.check(perceptron(), loader, LOSS)


@thread(
    "https://github.com/sarpaykent/GotenNet/issues/10",
    "Six rows of the test set are in the training set.",
    "None.",
    ("BCE030",),
)
def six_rows_in_both(wrong: bool) -> Report:
    torch.manual_seed(20)
    train, valid = table(400), table(100)
    if wrong:
        valid = torch.cat([valid[0][:94], train[0][7:13]]), torch.cat([valid[1][:94], train[1][7:13]])
    return torchbce.check(perceptron(), train, LOSS, valid=valid)


class _Center(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(8, 6)

    def forward(self, features: Tensor, t: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.classifier(F.normalize(features)), t)


@unclaimed(
    "https://github.com/ifzhang/FairMOT/issues/125",
    "The classifier is a part of the loss, and the optimizer has the model's parameters only.",
    "It has those of the loss too.",
    ("BCE017",),
)
def classifier_within_the_loss(wrong: bool) -> Report:
    torch.manual_seed(21)
    model, loss = perceptron(10, 8), _Center()
    params = list(model.parameters()) if wrong else [*model.parameters(), *loss.parameters()]
    return torchbce.check(model, tags(64), loss, torch.optim.Adam(params))


@thread(
    "https://github.com/zanilzanzan/FuseNet_PyTorch/pull/13",
    "Depth pictures have no channel's dimension, so the mask is compared with another shape.",
    "unsqueeze(1).",
    ("BCE032", "BCE003"),
)
def mask_without_a_channel(wrong: bool) -> Report:
    torch.manual_seed(22)
    x, y = masks(5)
    return torchbce.check(segmenter(nn.Sigmoid()), (x, y[:, 0] if wrong else y), nn.BCELoss())


@thread(
    "https://github.com/pytorch/pytorch/issues/20967",
    "Batch norm uses the batch in evaluation, as its statistics were switched off after it was made.",
    "They are on.",
    ("BCE019",),
)
def statistics_switched_off(wrong: bool) -> Report:
    torch.manual_seed(23)
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    if wrong:
        norm = model[1]
        norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    return torchbce.check(model, table(), LOSS)


@thread(
    "https://github.com/fastai/fastbook/pull/396",
    "The loss has the two probabilities the wrong way round, with targets squeezed inside.",
    "The right way round.",
    ("BCE007",),
)
def probabilities_exchanged_and_squeezed(wrong: bool) -> Report:
    def loss(o: Tensor, t: Tensor) -> Tensor:
        p = o.squeeze(1).sigmoid()
        one, zero = (1 - p, p) if wrong else (p, 1 - p)
        return -torch.where(t.squeeze(1) == 1, one, zero).log().mean()

    torch.manual_seed(24)
    return torchbce.check(classifier(), pictures(), loss)
