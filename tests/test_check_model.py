"""check: seeded bugs are named by their own code, healthy models raise no alarm, nothing of theirs changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import torchbce
from seeded import BUGS, KINDS, LOGITS, LOSSES, STEP_BUGS, STEPS, batch, healthy, net, ordered
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


@pytest.mark.parametrize("name", STEP_BUGS)
def test_the_order_of_a_training_step_is_checked(name):
    model = net()
    found = check(
        model, batch(), LOGITS, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), step=STEP_BUGS[name]
    )
    assert codes(found) == ["BCE018"], str(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STEPS)
def test_right_training_steps_pass_and_move_nothing(name, kind):
    model, data, _, optimizer = healthy(kind, "logits", 0.5)
    LOGITS(model(data[0]), data[1]).backward()
    before = copy.deepcopy([model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()]])
    assert check(model, data, LOGITS, optimizer, step=STEPS[name])["BCE018"].level is Level.PASS
    after = [model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()]]
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_a_step_with_its_own_optimizer_is_not_judged_and_trains_nothing():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    own = lambda _model, data, _optimizer: ordered("backward", "step")(model, data, optimizer)  # noqa: E731
    found = check(model, batch(), LOGITS, optimizer, step=own)["BCE018"]
    assert found.level is Level.NOT_APPLICABLE
    assert "step(model, batch, optimizer)" in found.message
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())
    lbfgs = torch.optim.LBFGS(model.parameters())
    closed = check(model, batch(), LOGITS, lbfgs, step=lambda m, data, o: o.step(lambda: LOGITS(m(data[0]), data[1])))
    assert closed["BCE018"].level is Level.NOT_APPLICABLE


def test_validation_items_among_the_training_items_are_found():
    x, y = batch(400)

    def loader(rows):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[rows], y[rows]), batch_size=64)

    clean = check(net(), loader(slice(300)), LOGITS, valid=loader(slice(300, None)))["BCE030"]
    assert clean.level is Level.PASS
    shared = check(net(), loader(slice(300)), LOGITS, valid=loader(slice(290, None)))["BCE030"]
    assert shared.level is Level.WARN
    assert "10 of 110 validation items" in shared.message
    coarse = (x > 0).float()  # four bits repeat by nature
    assert check(net(), (coarse[:300], y[:300]), LOGITS, valid=(coarse[300:], y[300:]))["BCE030"].level is Level.PASS
    assert check(net(), (x, y), LOGITS)["BCE030"].level is Level.NOT_APPLICABLE
    parts = {"a": x.bfloat16(), "b": x, "y": y}
    two = net(features=8)
    model = torch.nn.Module()
    model.forward = lambda a, b: two(torch.cat([a.float(), b], 1))
    assert check(model, parts, LOGITS, valid=parts)["BCE030"].level is Level.WARN


def test_compiled_models_that_return_logits_pass():
    model = torch.compile(net(), backend="aot_eager")
    assert check(model, batch(), LOGITS)["BCE004"].level is Level.PASS
