"""check: seeded bugs are named by their own code, healthy models raise no alarm, nothing of theirs changes."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import torchbce
from corpus.seeded import BUGS, KINDS, LOGITS, LOSSES, STEP_BUGS, STEPS, Wrapped, batch, healthy, net, ordered
from torchbce import check
from torchbce.checks.catalogue.finding import Level


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


@pytest.mark.parametrize(
    "loss_func",
    [nn.MSELoss(), lambda p, y: ((p - y) ** 2).mean(), lambda p, y: torchbce.focal_loss(p, y)],
    ids=["of torch", "by hand", "focal"],
)
def test_what_the_base_rate_saves_of_bce_is_not_told_of_another_loss(loss_func):
    model = nn.Sequential(net(), nn.Sigmoid())
    assert check(model, batch(400, share=0.05), nn.BCELoss())["BCE012"].level is Level.TIP
    assert check(model, batch(400, share=0.05), loss_func)["BCE012"].level is Level.NOT_APPLICABLE


class Headed(nn.Module):
    """Layers that are not in the order in which they run."""

    def __init__(self, labels=1):
        super().__init__()
        self.head = nn.ModuleDict({"out": nn.Linear(16, labels)})
        self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
        self.spare = nn.Linear(4, labels)

    def forward(self, x):
        return self.head["out"](self.body(x) + 0 * self.spare(x).sum())


@pytest.mark.parametrize(
    ("model", "layer"), [(net(), "model[2]"), (Headed(), "model.head['out']"), (nn.Linear(4, 1), "model")]
)
def test_the_layer_whose_bias_is_meant_is_named_as_its_owner_writes_it(model, layer):
    fix = check(model, batch(400, share=0.05), LOGITS)["BCE012"].fix
    assert fix.startswith(f"{layer}.bias.data.fill_(-")
    exec(fix, {"model": model})


def test_of_several_labels_each_ones_own_share_of_ones_counts():
    x, _ = batch(400)
    rare = (torch.rand(400, 3) < torch.tensor([0.02, 0.05, 0.98])).float()
    found = check(Headed(3), (x, rare), LOGITS)
    low, high = (100 * rare.mean(0)).min().item(), (100 * rare.mean(0)).max().item()
    assert f"each label has its own share of ones, {low:.3g} % to {high:.3g} % for 3 labels" in found["BCE012"].message
    model = Headed(3)
    exec(found["BCE012"].fix, {"model": model, "torchbce": torchbce, "targets": rare})
    torch.testing.assert_close(model.head["out"].bias.sigmoid(), rare.mean(0))
    assert check(model, (x, rare), LOGITS)["BCE012"].level is Level.PASS
    opposite = torch.stack([rare[:, 0], 1 - rare[:, 0]], 1)  # half ones together, and as much to gain
    model = Headed(2)
    assert check(model, (x, opposite), LOGITS)["BCE012"].level is Level.TIP
    model.head["out"].bias.data.copy_(torchbce.prior_bias(opposite))
    assert check(model, (x, opposite), LOGITS)["BCE012"].level is Level.PASS


def test_items_of_several_labels_are_not_said_to_have_no_two_classes():
    x, y = batch()
    found = check(Headed(3), (x, y.repeat(1, 3)), LOGITS)["BCE013"]
    assert found.level is Level.NOT_APPLICABLE
    assert found.message == "each item has 3 labels, and so no class of its own"


@pytest.mark.grid
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


@pytest.mark.grid
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


# What another loss is, and that it raises no alarm


def dice(z, y):
    p = torch.sigmoid(z)
    return 1 - 2 * (p * y).sum() / (p.sum() + y.sum())


def balanced(z, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y, pos_weight=(1 - y).sum() / y.sum().clamp(min=1))


def asymmetric(z, y):
    p = torch.sigmoid(z)
    return -(y * torch.log(p) + (1 - y) * p**2 * torch.log(1 - (p - 0.05).clamp(min=0))).mean()


OTHERS = {
    "dice": dice,
    "BCE and dice": lambda z, y: LOGITS(z, y) + dice(z, y),
    "balanced in the batch": balanced,
    "asymmetric": asymmetric,
    "clamped": lambda z, y: LOGITS(z.clamp(-2, 2), y),
    "half the logits": lambda z, y: LOGITS(z / 2, y),
    "penalty": lambda z, y: LOGITS(z, y) + 0.01 * (z**2).mean(),
    "smoothed by 0.3": lambda z, y: LOGITS(z, 0.7 * y + 0.15),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_losses_of_logits_are_no_failure(name):
    found = check(net(), batch(), OTHERS[name])
    assert codes(found) == [], str(found)


@pytest.mark.parametrize("loss_func", [nn.MSELoss(), nn.L1Loss()])
def test_other_losses_of_probabilities_are_no_failure(loss_func):
    found = check(net(nn.Sigmoid()), batch(), loss_func)
    assert codes(found) == [], str(found)
    assert "error of the outputs" in found.about


def test_weights_per_class_are_named():
    loss_func = torch.nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    x, _ = batch()
    found = check(nn.Linear(4, 3), (x, (x[:, :3] > 0).float()), loss_func)
    assert codes(found) == [], str(found)
    assert found.about == "mean-reduced BCE of logits with weight 1, 2, 3"


def test_two_classes_by_softmax_are_no_failure():
    x, y = batch()
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    assert check(model, (x, y[:, 0].long()), nn.CrossEntropyLoss()).ok


@pytest.mark.parametrize("turn", [lambda z, y: (z, y[:, 0]), lambda z, y: (z[:, 0], y)], ids=["N1-N", "N-N1"])
def test_shapes_that_broadcast_are_found_on_the_batch_itself(turn):
    x, y = batch()
    model = Wrapped(lambda inner, x: turn(inner(x), y)[0])
    by_hand = lambda z, y: (nn.functional.softplus(z) - z * y).mean()  # noqa: E731
    found = check(model, (x, turn(y, y)[1]), by_hand)
    assert codes(found)[:1] == ["BCE003"], str(found)
    assert "[64, 1]" in found["BCE003"].message


def test_a_loss_that_cannot_be_computed_says_so():
    x, y = batch()
    cases = [
        (net(), (x, y[:, 0]), LOGITS, "reshape"),
        (net(nn.Sigmoid()), (x, y.long()), nn.BCELoss(), "float()"),
        (net(), (x, y), lambda z, t: LOGITS(z, t).item(), "loss.item()"),
    ]
    for model, data, loss_func, advice in cases:
        found = check(model, data, loss_func)
        assert codes(found)[:1] == ["BCE032"], str(found)
        assert advice in found["BCE032"].fix
        assert not found.ok
    assert codes(check(nn.LSTM(4, 1), (x, y), LOGITS))[:1] == ["BCE032"]  # the loss does not take a tuple


# Healthy starts, and causes that silence no more than their own kind


@pytest.mark.parametrize("bias", [0.0, -2.0])
def test_a_head_may_start_at_zero(bias):
    for model in (net(), nn.Sequential(nn.Linear(4, 1))):
        nn.init.zeros_(model[-1].weight)
        nn.init.constant_(model[-1].bias, bias)
        assert codes(check(model, batch(), LOGITS)) == []


def test_few_parameters_need_not_learn_by_heart():
    for seed in range(5):
        torch.manual_seed(seed)
        x = torch.randn(64, 1)
        y = (x + torch.randn(64, 1) > 0).float()
        assert codes(check(nn.Linear(1, 1), (x, y), LOGITS)) == []


def test_a_warning_never_silences_a_failure():
    x, y = batch()
    model = Wrapped(lambda inner, x: inner(x).detach(), inner=net(features=4))
    model.inner[2].weight.data *= 200
    found = check(model, (255 * x.abs(), y), LOGITS)
    assert found["BCE011"].level is Level.WARN
    assert found["BCE016"].level is Level.FAIL
    assert not found.ok


def test_items_that_mix_in_either_direction_are_found():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.cells, self.head = nn.LSTM(2, 4), nn.Linear(4, 1)

        def forward(self, x):
            return self.head(self.cells(x.view(-1, 2, 2))[0][:, -1])

    assert check(Recurrent(), batch(), LOGITS)["BCE019"].level is Level.WARN


def test_nothing_else_of_the_user_changes():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, z, y):
            self.calls += 1
            return LOGITS(z / self.temperature, y)

    x, y = batch()
    data = torch.utils.data.TensorDataset(x, y)
    generator = torch.Generator().manual_seed(3)
    shuffled = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, generator=generator)
    counting, model = Counting(), net()
    before, own = torch.get_rng_state(), generator.get_state()
    check(model, torch.utils.data.DataLoader(data, batch_size=32), counting)
    check(model, shuffled, counting)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(generator.get_state(), own)
    assert counting.calls == 0
    assert counting.temperature.grad is None
    penalised = lambda z, y: LOGITS(z, y) + 1e-4 * sum(p.pow(2).sum() for p in model.parameters())  # noqa: E731
    check(model, (x, y), penalised)
    assert all(p.grad is None for p in model.parameters())
    kept = x.clone(), y.clone()
    check(Wrapped(lambda inner, x: inner(x.sub_(0.1))), (x, y), lambda z, y: LOGITS(z, y.mul_(0.9).add_(0.05)))
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


def test_reports_are_json_whatever_was_found():
    found = check(net(), {"input": batch()[0], "y": batch()[1] * torch.nan}, LOGITS).to_json()
    json.loads(found, parse_constant=lambda name: pytest.fail(name))


def test_an_error_of_the_users_own_loader_is_the_users_to_see():
    def batches():
        yield torch.randn(32, 4), torch.ones(32, 1)
        raise OSError("disk gone")

    class Loader:
        def __iter__(self):
            return batches()

    with pytest.raises(OSError, match="disk gone"):
        torchbce.check(nn.Linear(4, 1), Loader(), nn.BCEWithLogitsLoss())
