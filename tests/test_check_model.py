"""check: seeded bugs are named by their own code, healthy models raise no alarm, nothing of theirs changes."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import dropout

import torchbce
from torchbce import check
from torchbce.lens.check.findings import Level

LOGITS = torchbce.BCEWithLogitsLoss()


def batch(n=64, features=4, share=0.5, seed=0, scale=1.0):
    torch.manual_seed(seed)
    x = torch.randn(n, features)
    cut = x[:, :1].quantile(1 - share)
    y = (x[:, :1] + 0.3 * torch.randn(n, 1) > cut).float()
    return x * scale, y


def net(*last, features=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, 1), *last)


def codes(found):
    return [finding.code for finding in found.issues]


class Wrapped(nn.Module):
    def __init__(self, change, inner=None):
        super().__init__()
        self.inner = inner or net()
        self.change = change

    def forward(self, x):
        return self.change(self.inner, x)


def unused():
    model = Wrapped(lambda inner, x: inner(x))
    model.spare = nn.Linear(4, 4)
    return model


def dead():
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    nn.init.constant_(model[0].bias, -100.0)
    return model


def large_head():
    model = net()
    model[2].weight.data *= 60
    return model


X, Y = batch()
BUGS = {
    "targets -1, 1": (net(), (X, 2 * Y - 1), LOGITS, "BCE001"),
    "targets 0, 255": (net(), (X, 255 * Y), LOGITS, "BCE001"),
    "targets 1, 2": (net(), (X, 1 + Y), LOGITS, "BCE001"),
    "NaN in the inputs": (net(), (torch.where(X > 1.5, torch.nan, X), Y), LOGITS, "BCE002"),
    "NaN from the model": (net(), (X, Y), lambda z, y: bce(z, y) * torch.nan, "BCE002"),
    "N x N": (
        Wrapped(lambda inner, x: inner(x).squeeze(1)),
        (X, Y),
        lambda z, y: nn.functional.softplus(z.reshape(-1, 1) * (1 - 2 * y.reshape(1, -1))).mean(),
        "BCE003",
    ),
    "sigmoid and logits loss": (net(nn.Sigmoid()), (X, Y), LOGITS, "BCE004"),
    "sigmoid behind a view": (Wrapped(lambda inner, x: inner(x).sigmoid().view(-1, 1)), (X, Y), LOGITS, "BCE004"),
    "log-sigmoid": (net(nn.LogSigmoid()), (X, Y), LOGITS, "BCE004"),
    "softmax over one output": (net(nn.Softmax(1)), (X, Y), LOGITS, "BCE004"),
    "relu at the end": (net(nn.ReLU()), (X, Y), LOGITS, "BCE004"),
    "tanh at the end": (net(nn.Tanh()), (X, Y), LOGITS, "BCE004"),
    "no sigmoid": (net(), (X, Y), torchbce.BCELoss(), "BCE005"),
    "turned targets": (net(), (X, Y), lambda z, y: bce(z, 1 - y), "BCE007"),
    "wrong sign": (net(), (X, Y), lambda z, y: -bce(z, y), "BCE007"),
    "pos_weight per item": (
        Wrapped(lambda inner, x: inner(x).squeeze(1)),
        (X, Y[:, 0]),
        torchbce.BCEWithLogitsLoss(pos_weight=torch.ones(64)),
        "BCE009",
    ),
    "inputs 0 to 255": (large_head(), (X * 100, Y), LOGITS, "BCE011"),
    "large head": (large_head(), (X, Y), LOGITS, "BCE011"),
    "input ignored": (Wrapped(lambda inner, x: inner(0 * x)), (X, Y), LOGITS, "BCE015"),
    "dead relu": (dead(), (X, Y), LOGITS, "BCE015"),
    "detached": (Wrapped(lambda inner, x: inner(x).detach().requires_grad_()), (X, Y), LOGITS, "BCE016"),
    "frozen": (net().requires_grad_(False), (X, Y), LOGITS, "BCE016"),
    "unused layer": (unused(), (X, Y), LOGITS, "BCE016"),
    "dropout in evaluation": (Wrapped(lambda inner, x: dropout(inner(x), 0.5)), (X, Y), LOGITS, "BCE019"),
    "statistics of the batch": (Wrapped(lambda inner, x: inner(x - x.mean(0))), (X, Y), LOGITS, "BCE019"),
}


@pytest.mark.parametrize("name", BUGS)
def test_bugs_are_named_by_their_own_code(name):
    model, data, loss_func, code = BUGS[name]
    found = check(model, data, loss_func)
    assert codes(found)[:1] == [code], str(found)
    assert found[code].fix or code == "BCE002"


def test_the_optimizer_is_looked_at():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert check(model, batch(), LOGITS, optimizer)["BCE017"].level is Level.PASS
    model[2] = nn.Linear(16, 1)
    assert "2.weight, 2.bias" in check(model, batch(), LOGITS, optimizer)["BCE017"].message
    idle = torch.optim.SGD(net().parameters(), lr=0.0)
    assert check(net(), batch(), LOGITS)["BCE017"].level is Level.NOT_APPLICABLE
    assert codes(check(net(), batch(), LOGITS, idle)) == ["BCE017"]


def test_tips_are_no_issues():
    rare = check(net(), batch(400, share=0.05), LOGITS)
    assert rare["BCE012"].level is Level.TIP
    x, y = batch()
    doubled = check(net(), (torch.cat([x, x]), torch.cat([y, 1 - y])), LOGITS)
    assert doubled["BCE014"].level is Level.TIP
    assert "below 0.6931" in doubled["BCE014"].message
    assert check(net(), batch(), torchbce.BCEWithLogitsLoss(reduction="sum"))["BCE008"].level is Level.TIP
    assert rare.ok
    assert doubled.ok


HEALTHY = list(
    itertools.product(
        ["linear", "mlp", "deep", "norm", "dropout", "layernorm"],
        ["logits", "probabilities", "pos_weight"],
        [0.5, 0.1, 0.02],
    )
)


def healthy(kind):
    layers = {
        "linear": [nn.Linear(6, 1)],
        "mlp": [nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1)],
        "deep": [nn.Linear(6, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1)],
        "norm": [nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1)],
        "dropout": [nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 1)],
        "layernorm": [nn.LayerNorm(6), nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 1)],
    }
    return layers[kind]


@pytest.mark.parametrize(("kind", "loss", "share"), HEALTHY)
def test_healthy_models_raise_no_alarm(kind, loss, share):
    torch.manual_seed(len(kind) + int(100 * share))
    last = [nn.Sigmoid()] if loss == "probabilities" else []
    model = nn.Sequential(*healthy(kind), *last)
    loss_func = {
        "logits": LOGITS,
        "probabilities": torchbce.BCELoss(),
        "pos_weight": torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0)),
    }[loss]
    optimizer = torch.optim.AdamW(model.parameters())
    found = check(model, batch(256, 6, share), loss_func, optimizer)
    assert codes(found) == [], str(found)


def test_nothing_of_the_user_changes():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1)).train()
    x, y = batch()
    LOGITS(model(x), y).backward()
    model[2].eval()
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    rng = torch.get_rng_state()
    check(model, (x, y), LOGITS, torch.optim.Adam(model.parameters()))
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert [module.training for module in model] == [True, True, False, True]


def test_loaders_dicts_and_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, a, b):
            return self.net(torch.cat([a, b], 1))

    x, y = batch()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32)
    assert check(net(), loader, LOGITS).ok
    assert check(Two(), {"a": x[:, :2], "b": x[:, 2:], "y": y}, LOGITS).ok
    assert check(Two(), (x[:, :2], x[:, 2:], y), LOGITS).ok
    for wrong in ({"x": x}, (x,), {"y": y, "label": y, "x": x}):
        with pytest.raises(ValueError, match="a batch"):
            check(net(), wrong, LOGITS)
    with pytest.raises(ValueError, match="there is no check BCE999"):
        check(net(), (x, y), LOGITS, ignore=["BCE999"])
