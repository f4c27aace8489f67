"""check: seeded bugs are named by their own code, healthy models raise no alarm, nothing of theirs changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import torchbce
from seeded import BUGS, KINDS, LOGITS, LOSSES, batch, healthy, net
from torchbce import check
from torchbce.lens.check.findings import Level


def codes(found):
    return [finding.code for finding in found.issues]


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_healthy_models_raise_no_alarm(kind, loss, share):
    model, data, loss_func, optimizer = healthy(kind, loss, share, seed=len(kind))
    found = check(model, data, loss_func, optimizer)
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
