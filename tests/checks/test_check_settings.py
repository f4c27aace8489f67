"""check on what surrounds a loss: the optimizer's settings, pos_weight, the inputs' values, frozen layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn, optim

from torchbce import check
from torchbce.checks.catalogue.finding import Level
from torchbce.checks.probing.trial import UserObjects, trial
from torchbce.checks.rules import rules_for
from torchbce.checks.rules.frozen import _is_new, _weights

LOGITS = nn.BCEWithLogitsLoss()


def batch(n=64, share=0.5):
    torch.manual_seed(0)
    x = torch.randn(n, 8)
    score = x[:, :1] + 0.5 * torch.randn(n, 1)
    return x, (score > score.quantile(1 - share)).float()


def perceptron(width=32):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 1))


def deep(width=64):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


def normed():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))


def look(code, model, data, loss_func=LOGITS, optimizer=None):
    """One check alone."""
    with trial(UserObjects(model, data, optimizer), loss_func) as t:
        return rules_for("model")[code](t)


def settings(model, kind, **options):
    return look("BCE039", model, batch(), optimizer=kind(model.parameters(), **options))


WRONG = {
    "Adam 10": (deep, optim.Adam, {"lr": 10.0}, "jumps to"),
    "SGD 10, momentum": (deep, optim.SGD, {"lr": 10.0, "momentum": 0.9}, "jumps to"),
    "Adam 1e-12": (perceptron, optim.Adam, {"lr": 1e-12}, "nothing is learnt"),
    "SGD 1e-8": (perceptron, optim.SGD, {"lr": 1e-8}, "nothing is learnt"),
    "Adam, decay 10": (perceptron, optim.Adam, {"weight_decay": 10.0}, "too small to learn"),
    "AdamW, decay 10": (perceptron, optim.AdamW, {"weight_decay": 10.0}, "too small to learn"),
    "SGD, decay 10": (perceptron, optim.SGD, {"lr": 0.1, "weight_decay": 10.0}, "too small to learn"),
}
RIGHT = {
    "fine-tuning": (deep, optim.AdamW, {"lr": 1e-5, "weight_decay": 0.01}),
    "slow fine-tuning": (deep, optim.AdamW, {"lr": 1e-7}),
    "SGD 1e-4": (perceptron, optim.SGD, {"lr": 1e-4}),
    "SGD 1 with batch norm": (normed, optim.SGD, {"lr": 1.0}),
    "SGD 10 that learns": (normed, optim.SGD, {"lr": 10.0}),
    "RMSprop, which jumps first": (deep, optim.RMSprop, {"lr": 0.01}),
    "Adagrad": (deep, optim.Adagrad, {"lr": 0.1}),
    "Adadelta": (perceptron, optim.Adadelta, {"lr": 1.0}),
    "Rprop, by signs": (perceptron, optim.Rprop, {}),
    "AdamW, decay 1": (perceptron, optim.AdamW, {"weight_decay": 1.0}),
    "AdamW, decay 10, wide": (lambda: perceptron(512), optim.AdamW, {"lr": 1e-4, "weight_decay": 10.0}),
    "a tensor": (perceptron, optim.Adam, {"lr": torch.tensor(1e-3), "foreach": False}),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_do_not_train_are_named(name):
    model, kind, options, text = WRONG[name]
    found = settings(model(), kind, **options)
    assert found.level is Level.WARN, found
    assert text in found.message


@pytest.mark.parametrize("name", RIGHT)
def test_settings_that_train_are_not(name):
    model, kind, options = RIGHT[name]
    assert settings(model(), kind, **options).level is Level.PASS


def test_maximize_fails():
    assert settings(perceptron(), optim.Adam, maximize=True).level is Level.FAIL


@pytest.mark.parametrize("first", [0.0, 1e-12, 1e-6])
def test_a_schedule_that_begins_low_is_no_mistake(first):
    model = perceptron()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, first + step / 100))
    found = check(model, batch(), LOGITS, optimizer)
    assert not found.issues, str(found)


def test_what_cannot_be_tried_says_why():
    lbfgs = settings(nn.Linear(8, 1), optim.LBFGS)
    assert (lbfgs.level, lbfgs.message[:5]) == (Level.NOT_APPLICABLE, "LBFGS")
    assert "needs the optimizer" in check(perceptron(), batch(), LOGITS)["BCE039"].message
    other = perceptron()
    found = check(perceptron(), batch(), LOGITS, optim.Adam(other.parameters()))
    assert "no parameter of the model" in found["BCE039"].message


def test_the_users_optimizer_does_not_move():
    model = normed().eval()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    data = batch()
    LOGITS(model(data[0]), data[1]).backward()
    optimizer.step()
    before = copy.deepcopy([model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()]])
    state = torch.get_rng_state()
    check(model, data, LOGITS, optimizer)
    after = [model.state_dict(), optimizer.state_dict(), [p.grad for p in model.parameters()]]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part.training for part in model.modules())


# pos_weight


def weighted(share, weight, n=400):
    return look("BCE040", perceptron(), batch(n, share), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight)))


@pytest.mark.parametrize("share", [0.04, 0.1, 0.2, 0.8, 0.9])
def test_pos_weight_of_the_common_class_is_named(share):
    assert weighted(share, share / (1 - share)).level is Level.WARN
    assert weighted(share, (1 - share) / share).level is Level.PASS
    assert weighted(share, 2.0).level is Level.PASS


def test_weights_of_labels_are_judged_together():
    x, _ = batch(400)
    y = (torch.rand(400, 4) < torch.tensor([0.05, 0.1, 0.2, 0.5])).float()
    ones, zeros = y.sum(0), (1 - y).sum(0)
    model = nn.Linear(8, 4)
    wrong = check(model, (x, y), nn.BCEWithLogitsLoss(pos_weight=ones / zeros))["BCE040"]
    assert wrong.level is Level.WARN
    assert "of label 1" in wrong.message
    assert check(model, (x, y), nn.BCEWithLogitsLoss(pos_weight=zeros / ones))["BCE040"].level is Level.PASS
    assert check(model, (x, y), LOGITS)["BCE040"].level is Level.NOT_APPLICABLE


def test_a_batch_that_cannot_tell_does_not():
    x, y = batch(16, 0.2)
    found = check(perceptron(), (x, y), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(0.5)))
    assert found["BCE040"].level is Level.PASS


# The inputs


def pictures():
    torch.manual_seed(0)
    return torch.randint(0, 256, (32, 3, 12, 12)).float(), (torch.arange(32.0) % 2)[:, None]


def looked_at(x, y=None):
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.ReLU(), nn.Linear(8, 1))
    return look("BCE041", model, (x, pictures()[1] if y is None else y))


def test_pictures_that_are_divided_twice_are_named():
    x, _ = pictures()
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    twice = looked_at(x / 255 / 255)
    assert twice.level is Level.WARN
    assert "twice" in twice.message
    assert looked_at((x / 255 / 255).flatten(1)).level is Level.WARN
    for wrong in ((x / 255 / 255 - mean) / std, (x / 255 - 127.5) / 128):
        assert "hardly differ" in looked_at(wrong).message
    for right in (x / 255, (x / 255 - mean) / std, (x > 127).float(), torch.softmax(x.flatten(1), 1)):
        assert looked_at(right).level is Level.PASS


def test_items_that_are_all_alike_fail():
    x, y = pictures()
    same = x[:1].expand(32, -1, -1, -1).clone()
    assert looked_at(same).level is Level.FAIL
    assert looked_at(same, torch.ones_like(y)).level is Level.NOT_APPLICABLE
    found = check(nn.Linear(1, 1), (2015 + 5 * torch.randn(32, 1), y), LOGITS)  # years
    assert found["BCE041"].level is Level.PASS


# Frozen layers


def frozen(*places, changed=(), start=None):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
    )
    for place in places:
        if start is not None:
            start(model[place].weight)
        if place in changed:
            model[place].weight.data.mul_(1.3)
        model[place].requires_grad_(False)
    return look("BCE042", model, batch())


def test_a_frozen_layer_that_nobody_trained_is_named():
    assert frozen(2).level is Level.WARN  # behind a layer that is trained
    assert frozen(0, 2, changed=(0,)).level is Level.WARN  # beside one that was
    assert frozen(0, 2).level is Level.TIP  # random features may be meant


def test_what_was_trained_is_not():
    assert frozen(0, 2, changed=(0, 2)).level is Level.PASS
    for start in (nn.init.orthogonal_, nn.init.kaiming_normal_):
        assert frozen(0, 2, start=start).level is Level.PASS
    assert frozen(6).level is Level.PASS  # too few weights to see it
    assert frozen().level is Level.NOT_APPLICABLE


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 8, 3), nn.Embedding(50, 8), nn.LSTM(8, 8), nn.GRU(8, 8), nn.MultiheadAttention(8, 2)]
)
def test_the_first_weights_of_each_kind_are_known_and_others_are_not(layer):
    named = 0
    for seed in range(40):
        torch.manual_seed(seed)
        new = copy.deepcopy(layer)
        for part in new.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
            elif hasattr(part, "_reset_parameters"):
                part._reset_parameters()
        found = list(_weights(new))
        named += all(_is_new(weight, limit) for weight, limit in found)
        with torch.no_grad():
            for weight, _ in found:
                weight.mul_(1.5)
        assert not any(_is_new(weight, limit) for weight, limit in found)
    assert named >= 36  # one in a hundred for each matrix
