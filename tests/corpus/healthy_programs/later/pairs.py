"""Pairs of inputs, rankings, and links."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import torchbce
from corpus.healthy_programs.common import images, rows
from torchbce import Report

from .seen import healthy

bce = nn.BCEWithLogitsLoss()


def _twins(n: int = 48) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Pairs of rows, half of them nearly alike; targets [n]."""
    torch.manual_seed(0)
    left = torch.randn(n, 8)
    same = (torch.arange(n) % 2 == 0).float()
    right = torch.where(same[:, None] == 1, left + 0.2 * torch.randn(n, 8), torch.randn(n, 8))
    return (left, right), same


class _Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.fc = nn.Sequential(nn.Linear(64, 32), nn.ReLU(inplace=True), nn.Linear(32, 1))
        self.apply(self.start)

    def start(self, m: nn.Module) -> None:
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.sigmoid(self.fc(torch.cat([self.body(x).flatten(1) for x in (a, b)], 1)))


@healthy(
    "a siamese network of pictures with BCELoss of the squeezed output, Adadelta and a step schedule",
    "https://github.com/pytorch/examples/blob/main/siamese_network/main.py",
)
def siamese_pictures() -> Report:
    torch.manual_seed(1)
    a, ya = images(32, seed=1)
    b, _ = images(32, seed=2)
    b = b[torch.randperm(32)]
    bright = b.amax((1, 2, 3)) > 2.5
    criterion = nn.BCELoss()
    model = _Siamese()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    targets = (bright == (ya[:, 0] > 0)).float()
    return torchbce.check(model, ((a, b), targets), lambda o, t: criterion(o.squeeze(), t), optimizer)


class _Distance(nn.Module):
    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, size))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(a), self.net(b)


@healthy(
    "contrastive loss of two embeddings, a tuple",
    "https://github.com/simran1devloper/Drone-IAF-project/blob/main/siamese_model.py",
)
def contrastive_of_a_tuple() -> Report:
    def loss(out, label, margin=1.0):
        distance = F.pairwise_distance(*out)
        return torch.mean(label * distance**2 + (1 - label) * torch.clamp(margin - distance, min=0.0) ** 2)

    model = _Distance()
    return torchbce.check(model, _twins(), loss, torch.optim.Adam(model.parameters(), 1e-3, weight_decay=5e-4))


class _Apart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.pairwise_distance(self.net(a), self.net(b))


@healthy(
    "the model returns distances, which are near 0 to 1 at first, and the loss is contrastive",
    "https://github.com/pypi-data/pypi-mirror-375/blob/main/packages/torchlosses",
)
def distances_are_the_output() -> Report:
    def loss(distance, label, margin=1.0):
        return (label * distance.pow(2) + (1 - label) * (margin - distance).clamp(min=0.0).pow(2)).mean()

    torch.manual_seed(2)
    return torchbce.check(_Apart(), _twins(), loss)


class _Cosine(nn.Module):
    def __init__(self, scale: float | None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
        self.scale = None if scale is None else nn.Parameter(torch.tensor(scale).log())
        self.shift = None if scale is None else nn.Parameter(torch.tensor(0.0))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        cosine = F.cosine_similarity(self.net(a), self.net(b))
        return cosine if self.scale is None else cosine * self.scale.exp() + self.shift


@healthy(
    "the cosine of two embeddings is compared with the label by squared error",
    "https://github.com/ocellow/SolProject3-STS-Bechmark-improvement/blob/main/bi_encoder/CosineSimilarityLoss.py",
)
def cosine_by_squared_error() -> Report:
    torch.manual_seed(3)
    return torchbce.check(_Cosine(None), _twins(), lambda o, t: F.mse_loss(o, t.view(-1)))


@healthy(
    "cosines times a learned scale, plus a learned bias, as the logit of a pair",
    "https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/loss.py",
)
def scaled_cosines() -> Report:
    torch.manual_seed(4)
    model = _Cosine(3.0)
    return torchbce.check(model, _twins(), bce, torch.optim.AdamW(model.parameters(), 1e-3))


@healthy(
    "the pairwise sigmoid loss on the matrix of all pairs, targets +1 on the diagonal and -1 beside it",
    "https://huggingface.co/docs/transformers/model_doc/siglip",
)
def all_pairs() -> Report:
    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(8, 16), nn.Linear(8, 16)
            self.scale, self.bias = nn.Parameter(torch.tensor(2.3)), nn.Parameter(torch.tensor(-3.0))

        def forward(self, a, b):
            a, b = F.normalize(self.left(a), dim=1), F.normalize(self.right(b), dim=1)
            return a @ b.T * self.scale.exp() + self.bias

    torch.manual_seed(5)
    a = torch.randn(16, 8)
    batch = (a, a + 0.1 * torch.randn(16, 8)), 2 * torch.eye(16) - 1
    return torchbce.check(Towers(), batch, lambda o, t: -F.logsigmoid(t * o).sum() / len(o))


class _Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(20, 8), nn.Embedding(30, 8)
        self.item_bias = nn.Embedding(30, 1)
        for table in (self.users, self.items, self.item_bias):
            nn.init.normal_(table.weight, std=0.1)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.item_bias(item)[:, 0]

    def forward(self, user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
        return self.score(user, liked) - self.score(user, other)


def _triples(n: int = 64) -> tuple[Tensor, ...]:
    torch.manual_seed(6)
    user, liked = torch.randint(20, (n,)), torch.randint(15, (n,))
    return user, liked, liked + 15


@healthy(
    "Bayesian personalized ranking on differences of scores; every target is one",
    "https://github.com/bohyunshin/recommender/blob/master/recommender/loss/custom.py",
)
def ranking_by_differences() -> Report:
    model = _Factors()
    return torchbce.check(
        model, (_triples(), torch.ones(64)), lambda d, t: -F.logsigmoid(d).mean(), torch.optim.Adam(model.parameters())
    )


@healthy(
    "the same written as BCE with logits and 256 ones, with weight decay",
    "https://github.com/haesungpyun/seoul_tourism_recommendation_NGCF/blob/main/model/bprloss.py",
)
def ranking_as_bce() -> Report:
    model = _Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
    return torchbce.check(model, (_triples(256), torch.ones(256)), bce, optimizer)


class _TwoScores(_Factors):
    def forward(self, user: Tensor, liked: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return self.score(user, liked), self.score(user, other)


@healthy(
    "scores of the liked and of the other item, a tuple; log(gamma + sigmoid(difference))",
    "https://github.com/REASONER2023/reasoner2023.github.io/blob/main/model/loss.py",
)
def ranking_of_two_scores() -> Report:
    def loss(out, t, gamma=1e-10):
        return -torch.log(gamma + torch.sigmoid(out[0] - out[1])).mean()

    return torchbce.check(_TwoScores(), (_triples(), torch.ones(64)), loss)


@healthy(
    "a margin ranking loss with targets of one",
    "https://pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html",
)
def margin_ranking() -> Report:
    criterion = nn.MarginRankingLoss(margin=0.5)
    return torchbce.check(_TwoScores(), (_triples(), torch.ones(64)), lambda out, t: criterion(out[0], out[1], t))


@healthy(
    "a triplet of embeddings; the targets are not used",
    "https://pytorch.org/docs/stable/generated/torch.nn.TripletMarginLoss.html",
)
def triplets() -> Report:
    class Triplet(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))

        def forward(self, a, p, n):
            return self.net(a), self.net(p), self.net(n)

    torch.manual_seed(7)
    a = torch.randn(32, 8)
    criterion = nn.TripletMarginLoss(margin=1.0)
    batch = (a, a + 0.2 * torch.randn(32, 8), torch.randn(32, 8)), (torch.arange(32) % 2).float()
    return torchbce.check(Triplet(), batch, lambda out, t: criterion(*out))


class _Graph(nn.Module):
    def __init__(self, nodes: int = 24) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 8)
        torch.manual_seed(8)
        adjacency = (torch.rand(nodes, nodes) < 0.2).float()
        adjacency = ((adjacency + adjacency.T) > 0).float() + torch.eye(nodes)
        self.register_buffer("near", adjacency / adjacency.sum(1, keepdim=True))
        self.register_buffer("x", torch.randn(nodes, 8))

    def forward(self, edges: Tensor) -> Tensor:
        z = self.near @ self.second((self.near @ self.first(self.x)).relu())
        return (z[edges[:, 0]] * z[edges[:, 1]]).sum(dim=-1)


@healthy(
    "a graph network's inner products for pairs of nodes, as many negatives as positives",
    "https://github.com/pyg-team/pytorch_geometric/blob/master/examples/link_pred.py",
)
def links() -> Report:
    model = _Graph()
    near = model.near > 0
    yes, no = near.nonzero()[:40], (~near).nonzero()[:40]
    batch = torch.cat([yes, no]), torch.cat([torch.ones(40), torch.zeros(40)])
    return torchbce.check(model, batch, bce, torch.optim.Adam(model.parameters(), lr=0.01))


@healthy(
    "an autoencoder of a graph: all pairs at once, with the weight of the rare links",
    "https://github.com/karahan-sahin/graph-quantizer/blob/main/lib/autoencoder/gnn.py",
)
def all_links() -> Report:
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.graph = _Graph()

        def forward(self, x):
            z = self.graph.near @ self.graph.second((self.graph.near @ self.graph.first(x)).relu())
            return z @ z.T

    torch.manual_seed(9)
    model = Encoder()
    near = (model.graph.near > 0).float()
    weight = (near.numel() - near.sum()) / near.sum()
    return torchbce.check(model, (model.graph.x, near), nn.BCEWithLogitsLoss(pos_weight=weight))


@healthy(
    "a cross encoder on the two rows, their difference and their product, targets [N] and outputs squeezed",
    "https://sbert.net/docs/package_reference/cross_encoder/losses.html",
)
def cross_encoder() -> Report:
    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.LayerNorm(32), nn.Dropout(0.1), nn.Linear(32, 1))

        def forward(self, a, b):
            return self.net(torch.cat([a, b, (a - b).abs(), a * b], 1)).squeeze(-1)

    torch.manual_seed(10)
    model = Cross()
    return torchbce.check(model, _twins(), bce, torch.optim.AdamW(model.parameters(), 2e-3))


@healthy(
    "a preference model: the logistic loss on the difference of rewards of the chosen and the rejected row",
    "https://github.com/huggingface/trl/blob/main/trl/trainer/reward_trainer.py",
)
def preferences() -> Report:
    class Reward(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1, bias=False))

        def forward(self, chosen, rejected):
            return {"chosen": self.net(chosen)[:, 0], "rejected": self.net(rejected)[:, 0]}

    x, y = rows(128)
    good, bad = x[y[:, 0] == 1], x[y[:, 0] == 0]
    return torchbce.check(
        Reward(),
        ((good, bad), torch.ones(64)),
        lambda out, t: -F.logsigmoid(out["chosen"] - out["rejected"] - 0.1).mean(),
    )
