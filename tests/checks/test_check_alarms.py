"""Programs that are right, and look like mistakes: none of them gives a FAIL or a WARN."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.catalogue.finding import Level

bce = F.binary_cross_entropy_with_logits
pytestmark = pytest.mark.filterwarnings("ignore")  # lazy layers


def rows(n=64):
    torch.manual_seed(0)
    x = torch.randn(n, 8)
    return x, (x[:, :1] + 0.5 * torch.randn(n, 1) > 0).float()


X, Y = rows()
OTHER = torch.randn(64, 8, generator=torch.Generator().manual_seed(5))
ONES = torch.ones(64, 1)


def mlp(outputs=1, *end):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs), *end)


class Of(nn.Module):
    """What a function makes of the parts and the inputs."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.of = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.of(self, *inputs)


def check_quiet(*given, **options):
    found = torchbce.check(*given, **options)
    assert not found.issues, found
    return found


def contrastive(d, t):
    return ((1 - t) * d.square() + t * F.relu(1 - d).square()).mean()


MAPPED = {
    "-1 and 1": (mlp(), 2 * Y - 1, lambda o, t: bce(o, (t + 1) / 2)),
    "-1 and 1, by their sign": (mlp(), 2 * Y - 1, lambda o, t: bce(o, (t > 0).float())),
    "bytes": (mlp(), (255 * Y).to(torch.uint8), lambda o, t: bce(o, t.float() / 255)),
    "1 and 2": (mlp(), Y[:, 0].long() + 1, lambda o, t: bce(o.squeeze(1), (t - 1).float())),
    "-1 to 1": (mlp(8), torch.tanh(X), lambda o, t: bce(o, (t + 1) / 2)),
    "of probabilities": (mlp(1, nn.Sigmoid()), 2 * Y - 1, lambda o, t: F.binary_cross_entropy(o, (t + 1) / 2)),
}


@pytest.mark.parametrize("name", MAPPED)
def test_targets_that_the_loss_maps(name):
    model, targets, loss = MAPPED[name]
    check_quiet(model, (X, targets), loss)


def test_targets_that_the_loss_maps_to_something_else_are_named():
    found = torchbce.check(mlp(), (X, 255 * Y), lambda o, t: bce(o, t / 100))
    assert found["BCE001"].level is Level.FAIL


def gan():
    torch.manual_seed(0)
    made, judge = mlp(4), nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    return Of(lambda self, z: self.judge(self.made(z)), made=made, judge=judge)


def test_a_generator_whose_judge_has_another_optimizer():
    model = gan()
    check_quiet(model, (X, ONES), bce, torch.optim.Adam(model.made.parameters()))


def test_a_generator_whose_judge_is_frozen():
    model = gan()
    model.judge.requires_grad_(False)
    check_quiet(model, (X, ONES), lambda o, t: F.softplus(-o).mean(), torch.optim.Adam(model.made.parameters()))


def test_a_generator_whose_judge_is_in_the_loss():
    model = gan()
    check_quiet(model.made, (X, ONES), lambda o, t: bce(model.judge(o), t))


def test_a_judge_whose_generator_has_another_optimizer():
    def forward(self, z, real):
        with torch.no_grad():
            fake = self.gan.made(z)
        return self.gan.judge(torch.cat([real, fake]))

    model = Of(forward, gan=gan())
    targets = torch.cat([torch.ones(32, 1), torch.zeros(32, 1)])
    check_quiet(model, (X[:32], OTHER[:32, :4] + 1, targets), bce, torch.optim.Adam(model.gan.judge.parameters()))


def test_a_head_that_the_optimizer_lacks_is_named_still():
    model = gan()
    found = torchbce.check(model, (X, Y), bce, torch.optim.Adam(model.made.parameters()))
    assert found["BCE017"].level is Level.FAIL
    model = mlp()
    found = torchbce.check(model, (X, ONES), bce, torch.optim.Adam(model.parameters()))
    assert found["BCE033"].level is Level.WARN


def test_a_step_that_adds_items_of_the_other_class():
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        bce(model(-batch[0]), 1 - batch[1]).backward()
        optimizer.step()

    model = mlp()
    check_quiet(model, (X, ONES), bce, torch.optim.Adam(model.parameters()), step=step)


def pairs(forward):
    torch.manual_seed(0)
    users, items = nn.Embedding(20, 8), nn.Embedding(30, 8)
    for table in (users, items):
        nn.init.normal_(table.weight, 0, 0.1)
    return Of(forward, users=users, items=items)


def triples():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(n, (64,), generator=generator) for n in (20, 30, 30))


PAIRS = {
    "a difference of scores": (
        pairs(lambda s, u, p, n: (s.users(u) * s.items(p)).sum(1) - (s.users(u) * s.items(n)).sum(1)),
        (*triples(), torch.ones(64)),
        bce,
    ),
    "a difference inside": (
        pairs(lambda s, u, p, n: (s.users(u) * (s.items(p) - s.items(n))).sum(1)),
        (*triples(), torch.ones(64)),
        lambda d, t: -F.logsigmoid(d).mean(),
    ),
    "two scores": (
        pairs(lambda s, u, p, n: ((s.users(u) * s.items(p)).sum(1), (s.users(u) * s.items(n)).sum(1))),
        (*triples(), torch.ones(64)),
        lambda o, t: bce(o[0] - o[1], t),
    ),
    "relativistic": (Of(lambda s, a, b: s.net(a) - s.net(b), net=mlp()), (X, OTHER, ONES), bce),
    "relativistic average": (Of(lambda s, a, b: s.net(a) - s.net(b).mean(), net=mlp()), (X, OTHER, ONES), bce),
    "margin": (
        Of(lambda s, a, b: (s.net(a), s.net(b)), net=mlp()),
        (X, OTHER, ONES),
        lambda o, t: F.margin_ranking_loss(*o, t, margin=0.5),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_which_one_target_says_all(name):
    check_quiet(*PAIRS[name][:1], PAIRS[name][1], PAIRS[name][2])


def apart(end):
    torch.manual_seed(0)
    return Of(lambda s, a, b: end(s, s.net(a), s.net(b)), net=mlp(8), a=nn.Parameter(torch.ones(())), h=nn.Linear(8, 1))


TWINS = {
    "cosines": (lambda s, a, b: s.a * F.cosine_similarity(a.relu(), b.relu()) + s.h.bias, bce),
    "cosines as probabilities": (lambda s, a, b: (1 + F.cosine_similarity(a, b)) / 2, nn.BCELoss()),
    "distances times a weight": (lambda s, a, b: 0.1 * s.a * (a - b).norm(dim=1) + s.h.bias, bce),
    "distances": (lambda s, a, b: F.pairwise_distance(a, b), contrastive),
    "embeddings": (lambda s, a, b: (a, b), lambda o, t: contrastive(F.pairwise_distance(*o), t)),
    "a head on a difference": (lambda s, a, b: s.h((a - b).abs()).squeeze(1), bce),
    "an exponential": (lambda s, a, b: torch.exp(-(a - b).abs().sum(1)), nn.BCELoss()),
}


@pytest.mark.parametrize("name", TWINS)
def test_twins(name):
    end, loss = TWINS[name]
    model = apart(end)
    found = torchbce.check(model, (X, OTHER, Y[:, 0]), loss, ignore=["BCE013"])
    assert not {f.code for f in found.issues} - {"BCE016"}, found  # not all of them use every part


def test_biases_that_cancel_need_no_gradient():
    found = check_quiet(Of(lambda s, a, b: s.net(a) - s.net(b), net=mlp()), (X, OTHER, Y), bce)
    assert found["BCE016"].level is Level.PASS


def test_a_dead_unit_is_no_bias_that_cancels():
    model = mlp()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(-1)
    found = torchbce.check(model, (X, Y), bce)
    assert found["BCE015"].level is Level.FAIL


def test_a_history_that_is_all_padding():
    torch.manual_seed(0)
    parts = {"seen": nn.Embedding(9, 8, padding_idx=0), "head": nn.Linear(16, 1)}
    model = Of(lambda s, x, k: s.head(torch.cat([x, s.seen(k).sum(1)], 1)), **parts)
    check_quiet(model, (X, torch.zeros(64, 4, dtype=torch.long), Y), bce)


@pytest.mark.parametrize("seen", [50, 30])
def test_a_deep_network_with_batch_norm(seen):
    torch.manual_seed(0)
    layers = [nn.Linear(8, 16)]
    for _ in range(seen):
        layers += [nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU()]
    check_quiet(nn.Sequential(*layers, nn.Linear(16, 1)), (X, Y), bce, ignore=["BCE013"])


@pytest.mark.parametrize("end", [nn.LeakyReLU(0.01), nn.PReLU()])
def test_an_activation_that_reaches_every_number(end):
    check_quiet(mlp(1, end), (X, Y), bce)


def test_sums_of_bounded_values_with_weights_reach_every_number():
    net, weight = nn.Sequential(mlp(8), nn.Sigmoid()), nn.Parameter(torch.rand(8) / 8)
    found = torchbce.check(Of(lambda s, x: (s.net(x) * s.weight).sum(1), net=net, weight=weight), (X, Y[:, 0]), bce)
    assert found.ok, found


def test_compiled_models_and_losses():
    model = torch.compile(mlp(), backend="aot_eager")
    check_quiet(model, (X, Y), bce)
    check_quiet(mlp(), (X, Y), torch.compile(lambda o, t: bce(o, t), backend="aot_eager"))
    found = torchbce.check(torch.compile(mlp(1, nn.Sigmoid()), backend="aot_eager"), (X, Y), bce)
    assert found["BCE004"].level is Level.FAIL
    assert "Sigmoid" in found["BCE004"].message


def test_lazy_layers():
    model = nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(1))

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()

    check_quiet(model, (X, Y), bce, torch.optim.SGD(model.parameters(), lr=0.1), step=step)
    assert nn.parameter.is_lazy(model[0].weight)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, t: -(t * p.log().clamp(min=-100) + (1 - t) * (1 - p).log().clamp(min=-100)).mean(),
        lambda p, t: -(t * p.clamp(1e-44, 1).log() + (1 - t) * (1 - p).clamp(1e-44, 1).log()).mean(),
    ],
)
def test_logarithms_that_are_clamped(loss):
    check_quiet(mlp(1, nn.Sigmoid()), (X, Y), loss)
    assert torchbce.check_loss(loss).ok


def test_targets_with_more_than_labels_and_logarithms_by_hand():
    def loss(o, t):
        question, answer = t.unbind(-1)
        p = torch.sigmoid(o).gather(1, question.long()[:, None]).squeeze(1)
        return -(answer * torch.log(p) + (1 - answer) * torch.log(1 - p)).mean()

    question = torch.arange(64) % 5
    check_quiet(mlp(5), (X, torch.stack([question.float(), Y[:, 0]], 1)), loss)


def test_a_sample_from_a_distribution_that_is_returned():
    class Variational(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(8, 6), nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 8))

        def forward(self, x):
            mean, log = self.inner(x).chunk(2, 1)
            return torch.sigmoid(self.outer(mean + torch.randn_like(mean) * (log / 2).exp())), mean, log

    def loss(o, t):
        p, mean, log = o
        return F.binary_cross_entropy(p, t) - 0.5 * (1 + log - mean**2 - log.exp()).mean()

    torch.manual_seed(0)
    check_quiet(Variational(), (torch.sigmoid(X), torch.sigmoid(X)), loss)
