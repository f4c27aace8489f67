"""Mistakes that show in the graph, in a second pass or in a curve, and not in the values of a first batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.catalogue.finding import Level

bce = F.binary_cross_entropy_with_logits
LONG = ("BCE013",)


class Of(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        return self.of(x)


def rows():
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    return x, (x[:, :1] + 0.5 * torch.randn(64, 1) > 0).float()


def images():
    torch.manual_seed(0)
    x, y = torch.randn(32, 1, 10, 10), (torch.arange(32) % 2).float()[:, None]
    x[1::2] += 0.7
    return x, y


def mlp(*end):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), *end)


def convolutions(*end):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 3), *end)


def near_a_half(*end):
    """A network whose outputs are about 0.5 at the start."""
    model = mlp(*end)
    with torch.no_grad():
        model[2].weight.mul_(0.01)
        model[2].bias.fill_(0.5)
    return model


@pytest.mark.parametrize("end", [(), (nn.ReLU(),), (nn.Softplus(),), (Of(torch.abs),)])
def test_outputs_that_are_probabilities_by_chance_lack_a_sigmoid(end):
    model = near_a_half(*end)
    assert 0 < model(rows()[0]).min() < model(rows()[0]).max() < 1
    found = torchbce.check(model, rows(), nn.BCELoss(), ignore=LONG)
    assert found["BCE005"].level is Level.FAIL, found


@pytest.mark.parametrize("end", [(nn.Sigmoid(),), (Of(lambda z: torch.exp(-z.abs())),), (Of(lambda z: z.clamp(0, 1)),)])
def test_outputs_that_are_kept_within_0_and_1_need_no_sigmoid(end):
    found = torchbce.check(near_a_half(*end), rows(), nn.BCELoss(), ignore=LONG)
    assert found["BCE005"].level is Level.PASS, found


POOLED = {
    "ReLU, mean": (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "ReLU, greatest": (nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten()),
    "ReLU, pooled twice": (nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "abs": (Of(lambda z: z.abs().mean((2, 3))),),
    "square": (Of(lambda z: z.square().amax((2, 3))),),
    "product with itself": (Of(lambda z: (z * z).mean((2, 3))),),
    "half of a ReLU": (nn.ReLU(), Of(lambda z: 0.5 * z.mean((2, 3)))),
    "a sum": (nn.ReLU(), Of(lambda z: z.sum((2, 3)))),
    "a distance": (Of(lambda z: z.flatten(1).norm(dim=1, keepdim=True)),),
    "two of them": (Of(lambda z: z.relu().mean((2, 3)) + z.abs().amax((2, 3))),),
}


@pytest.mark.parametrize("name", POOLED)
def test_activations_before_pooling_are_seen(name):
    found = torchbce.check(convolutions(*POOLED[name]), images(), bce, ignore=LONG)
    assert found["BCE004"].level is Level.WARN, found
    assert "below 0.5" in found["BCE004"].message


def test_a_sigmoid_before_pooling_is_seen():
    found = torchbce.check(
        convolutions(nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), images(), bce, ignore=LONG
    )
    assert found["BCE004"].level is Level.FAIL, found


@pytest.mark.parametrize("loss", [bce, nn.BCELoss()])
def test_a_softmax_of_one_value_is_seen(loss):
    found = torchbce.check(mlp(nn.Softmax(1)), rows(), loss, ignore=LONG)
    assert found["BCE004"].level is Level.FAIL, found
    assert "whatever that is" in found["BCE004"].message


@pytest.mark.parametrize("end", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_pooled_scores_are_logits(end):
    assert not torchbce.check(convolutions(end, nn.Flatten()), images(), bce, ignore=LONG).issues


def test_a_layer_without_gradient_is_named_beside_a_wrong_order():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 1)

        def forward(self, x):
            return self.head(torch.relu(self.body(x)).detach())

    def step(model, batch, optimizer):
        bce(model(batch[0]), batch[1]).backward()
        optimizer.step()

    model = Detached()
    found = torchbce.check(model, rows(), bce, torch.optim.SGD(model.parameters(), lr=0.1), step=step, ignore=LONG)
    assert {"BCE016", "BCE018"} <= {finding.code for finding in found.issues}, found


def test_outputs_that_are_constant_but_for_rounding_ignore_the_inputs():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(8, 16), nn.Linear(1, 1)

        def forward(self, x):
            return self.head(torch.softmax(self.body(x), 1).sum(1, keepdim=True))

    torch.manual_seed(0)
    found = torchbce.check(Constant(), rows(), bce, ignore=LONG)
    assert found["BCE015"].level is Level.FAIL, found


def test_a_state_kept_from_batch_to_batch_is_named_as_that():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head, self.hidden = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 1), None

        def forward(self, x):
            out, hidden = self.rnn(x, self.hidden)
            self.hidden = hidden.detach()
            return self.head(out[:, -1])

    torch.manual_seed(0)
    x = torch.randn(32, 5, 8)
    found = torchbce.check(Keeps(), (x, (x[:, -1, :1] > 0).float()), bce, ignore=LONG)
    assert "keeps a state" in found["BCE019"].message, found
    noisy = mlp(Of(lambda z: F.dropout(z, training=True)))
    assert "F.dropout" in torchbce.check(noisy, rows(), bce, ignore=LONG)["BCE019"].fix


LOGS = {
    "stays at 0.688": ([0.6885, 0.6881, 0.6884, 0.6879, 0.6883, 0.6880, 0.6882, 0.6878], {}, "BCE020"),
    "stays, half of them ones": (
        [0.6900, 0.6885, 0.6881, 0.6884, 0.6879, 0.6883, 0.6880, 0.6882, 0.6878],
        {"base_rate": 0.5},
        "BCE020",
    ),
    "stays at the base rate's": (
        [0.3400, 0.3230, 0.3228, 0.3221, 0.3230, 0.3224, 0.3227],
        {"base_rate": 0.1},
        "BCE020",
    ),
    "explodes and comes back": ([0.52, 0.41, 0.35, 0.31, 46.2, 3.1, 0.62, 0.41, 0.36, 0.33], {}, "BCE034"),
    "explodes early": ([0.65, 0.40, 3.4, 0.42, 0.38, 0.36], {}, "BCE034"),
    "explodes and stays": ([3.9, 2.8, 2.3, 2.0, 1.7, 94578458.0, 41230.5, 4123456.0, 310021.0], {}, "BCE034"),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_read(name):
    losses, known, code = LOGS[name]
    assert [finding.code for finding in torchbce.check_log(losses, **known).issues] == [code]


@pytest.mark.parametrize(
    "losses",
    [
        [0.6925, 0.6915, 0.6905, 0.6898, 0.6890, 0.6884, 0.6878, 0.6873, 0.6869],  # learns little, and goes on
        [0.60, 0.50, 0.45, 0.62, 0.42, 0.40, 0.55, 0.37, 0.35],  # small spikes
        [0.20, 0.05, 0.02, 0.011, 0.05, 0.012, 0.010],  # near 0 a spike is a few items
    ],
)
def test_a_log_that_is_healthy(losses):
    assert not torchbce.check_log(losses, base_rate=0.5).issues


def outputs_and_targets(*shape):
    torch.manual_seed(0)
    z = 2 * torch.randn(*shape)
    return z, (torch.rand(*shape) < torch.sigmoid(z)).float()


def test_transposed_targets_are_named_as_that():
    z, y = outputs_and_targets(200, 5)
    found = torchbce.check_predictions(z, y.T.reshape(200, 5), from_logits=True)
    assert [finding.code for finding in found.issues] == ["BCE003"], found
    z, y = outputs_and_targets(20, 16, 16)
    found = torchbce.check_predictions(torch.sigmoid(z), y.transpose(1, 2), from_logits=False)
    assert [finding.code for finding in found.issues] == ["BCE003"], found


@pytest.mark.parametrize("size", [1.0, 0.05, 0.0])
def test_targets_in_order_and_targets_of_noise_are_not_transposed(size):
    z, y = outputs_and_targets(20, 16, 16)
    assert torchbce.check_predictions(size * z, y, from_logits=True)["BCE003"].level is Level.PASS
    noise = torch.randint(0, 2, (20, 16, 16)).float()
    assert torchbce.check_predictions(z, noise, from_logits=True)["BCE003"].level is Level.PASS


def test_a_weight_that_does_not_matter_is_named():
    class Equal(nn.Module):
        def __init__(self, second):
            super().__init__()
            self.left, self.right, self.score = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 4)
            self.other, self.head = second(self.score), nn.Linear(4, 1)

        def forward(self, x):
            weights = torch.stack([self.score(x), self.other(x)], 1).softmax(1)
            return self.head((weights * torch.stack([self.left(x).relu(), self.right(x).relu()], 1)).sum(1))

    torch.manual_seed(0)
    found = torchbce.check(Equal(lambda score: score), rows(), bce, ignore=LONG)
    assert found["BCE016"].level is Level.WARN, found
    assert torchbce.check(Equal(lambda score: nn.Linear(8, 4)), rows(), bce, ignore=LONG)["BCE016"].level is Level.PASS


def test_a_start_that_is_dear_does_not_hide_a_layer_without_gradient():
    class Signs(nn.Module):
        def __init__(self):
            super().__init__()
            self.threshold, self.net = nn.Parameter(torch.tensor(0.1)), mlp()

        def forward(self, x):
            return 30 * self.net(x * (1 + torch.sign(x - self.threshold)))

    found = torchbce.check(Signs(), rows(), bce, ignore=LONG)
    assert {"BCE011", "BCE016"} <= {finding.code for finding in found.issues}, found


def dice(o, t):
    p = torch.sigmoid(o)
    return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def test_a_loss_of_another_kind_with_the_wrong_sign_is_named():
    assert torchbce.check(mlp(), rows(), dice, ignore=LONG)["BCE007"].level is Level.WARN
    assert torchbce.check(mlp(), rows(), lambda o, t: 1 - dice(o, t), ignore=LONG)["BCE007"].level is not Level.WARN


def test_a_generator_that_learns_to_be_found_is_named():
    judged = nn.Sequential(mlp(), nn.Linear(1, 1).requires_grad_(False))
    batch = rows()[0], torch.ones(64, 1)
    right, wrong = (lambda o, t, goal=goal: bce(o, torch.full_like(o, goal)) for goal in (1.0, 0.0))
    assert torchbce.check(judged, batch, right, ignore=LONG)["BCE007"].level is Level.NOT_APPLICABLE
    assert torchbce.check(judged, batch, wrong, ignore=LONG)["BCE007"].level is Level.FAIL


@pytest.mark.filterwarnings("ignore:Using a")  # torch says it too
def test_pictures_that_meet_the_masks_of_all_are_named():
    x, _ = images()
    masks = (x[:, 0] > 0.5).float()
    model = nn.Conv2d(1, 1, 3, padding=1)
    for targets, level in ((lambda t: t, Level.FAIL), (lambda t: t.unsqueeze(1), Level.PASS)):
        found = torchbce.check(
            model,
            (x, masks),
            lambda o, t, of=targets: F.smooth_l1_loss(o.sigmoid(), of(t), reduction="sum"),
            ignore=LONG,
        )
        assert found["BCE003"].level is level, found


@pytest.mark.filterwarnings("ignore:Using a")  # torch says it too
def test_one_row_of_outputs_for_the_whole_batch_is_named():
    model = nn.Sequential(Of(lambda x: x.reshape(1, -1)), nn.Linear(64 * 8, 3), nn.Sigmoid())
    targets = (rows()[0][:, :3] > 0).float()
    found = torchbce.check(model, (rows()[0], targets), nn.MSELoss(), ignore=LONG)
    assert found["BCE003"].level is Level.FAIL, found


def test_a_relu_before_cross_entropy_is_named():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2), nn.ReLU())
    found = torchbce.check(model, (rows()[0], rows()[1][:, 0].long()), nn.CrossEntropyLoss(), ignore=LONG)
    assert found["BCE004"].level is Level.WARN, found


def test_height_and_width_that_are_swapped_in_the_loss_are_named():
    x, _ = images()
    masks = (x[:, 0] > 0.5).float()
    model = nn.Conv2d(1, 1, 3, padding=1)
    found = torchbce.check(
        model, (x, masks), lambda o, t: bce(o.transpose(1, 3).reshape(-1), t.reshape(-1)), ignore=LONG
    )
    assert found["BCE003"].level is Level.FAIL, found
