"""The loss is identified as it is called: reshaped, of one column, of classes, in a tuple or a dict."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import torchbce
from torchbce.checks.catalogue.finding import Level

LONG = ("BCE013",)  # some hundred steps, which are no part of this
bce = F.binary_cross_entropy_with_logits


def mlp(outputs=1, *end):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs), *end)


class Returns(nn.Module):
    """A network whose output is packed as `pack` says, with a sigmoid at the end if so."""

    def __init__(self, outputs, pack):
        super().__init__()
        self.net, self.pack, self.end = mlp(outputs), pack, nn.Identity()

    def forward(self, x):
        return self.pack(self.end(self.net(x)))


def same(z):
    return z


def repeated(z):
    return z[:, :, None].expand(-1, -1, 4).transpose(1, 2).contiguous()


def rows():
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    return x, (x[:, 0] + 0.5 * torch.randn(64) > 0).float()


X, Y = rows()
PIXELS = (torch.arange(64 * 12).reshape(64, 4, 3) % 5 > 2).float()
# What a model returns, the targets, and the loss made of one of outputs and targets alike.
FORMS = {
    "squeezed outputs": (1, same, Y, lambda of: lambda o, t: of(o.squeeze(1), t)),
    "unsqueezed targets": (1, same, Y, lambda of: lambda o, t: of(o, t.unsqueeze(1))),
    "whole targets": (1, same, Y.long(), lambda of: lambda o, t: of(o, t.view(-1, 1).float())),
    "classes": (2, same, Y.long(), lambda of: lambda o, t: of(o, F.one_hot(t, 2).float())),
    "five classes": (5, same, torch.arange(64) % 5, lambda of: lambda o, t: of(o, F.one_hot(t, 5).float())),
    "a tuple": (1, lambda z: (z, z.detach()), Y[:, None], lambda of: lambda o, t: of(o[0], t)),
    "a dict, the logits last": (
        1,
        lambda z: {"p": torch.sigmoid(z), "z": z},
        Y[:, None],
        lambda of: lambda o, t: of(o["z"], t),
    ),
    "a dict, squeezed": (1, lambda z: {"z": z.squeeze(1)}, Y, lambda of: lambda o, t: of(o["z"], t)),
    "one column of two": (2, same, Y, lambda of: lambda o, t: of(o[:, 1], t)),
    "pixels, flat": (3, repeated, PIXELS, lambda of: lambda o, t: of(o.view(-1, 3), t.view(-1, 3))),
    "pixels, transposed": (
        3,
        repeated,
        PIXELS.transpose(1, 2).contiguous(),
        lambda of: lambda o, t: of(o.transpose(1, 2), t),
    ),
    "a weight for each item": (1, same, Y, lambda of: lambda o, t: of(o[:, 0], t)),
}
WEIGHTS = torch.linspace(0.5, 2, 64)


def weighted(o, t):
    return bce(o, t, weight=WEIGHTS.to(o.dtype) if o.shape == WEIGHTS.shape else None)


LOSSES = {
    "negative": ("BCE007", Level.FAIL, lambda o, t: -weighted(o, t)),
    "flipped": ("BCE007", Level.FAIL, lambda o, t: bce(o, 1 - t)),
    "a sum": ("BCE008", Level.TIP, lambda o, t: bce(o, t, reduction="sum")),
    "sigmoid twice": ("BCE004", Level.FAIL, lambda o, t: bce(torch.sigmoid(o), t)),
    "sigmoid twice, by hand": (
        "BCE004",
        Level.FAIL,
        lambda o, t: -(3 * t * F.logsigmoid(torch.sigmoid(o)) + (1 - t) * F.logsigmoid(-torch.sigmoid(o))).mean(),
    ),
    "constant": ("BCE006", Level.FAIL, lambda o, t: bce(o.detach(), t) + 0.0 * o.sum()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", LOSSES)
def test_a_wrong_loss_is_named_in_every_form(form, kind):
    outputs, pack, targets, called = FORMS[form]
    code, level, loss_func = LOSSES[kind]
    found = torchbce.check(Returns(outputs, pack), (X, targets), called(loss_func), ignore=LONG)
    assert found[code].level is level, found


@pytest.mark.parametrize("form", FORMS)
def test_a_right_loss_is_right_in_every_form(form):
    outputs, pack, targets, called = FORMS[form]
    found = torchbce.check(Returns(outputs, pack), (X, targets), called(bce), ignore=LONG)
    assert not found.issues, found
    assert found["BCE007"].level is Level.PASS, found


@pytest.mark.parametrize("form", FORMS)
def test_a_sigmoid_at_the_end_is_seen_in_every_form(form):
    outputs, pack, targets, called = FORMS[form]
    model = Returns(outputs, pack)
    model.end = nn.Sigmoid()
    found = torchbce.check(model, (X, targets), called(bce), ignore=LONG)
    assert found["BCE004"].level is Level.FAIL, found


@pytest.mark.parametrize("form", [form for form in FORMS if "class" not in form])
def test_every_output_meets_every_target_in_every_form(form):
    outputs, pack, targets, called = FORMS[form]

    def pairs(o, t):
        o, t = o.reshape(-1, 1), t.reshape(1, -1)
        return -(t * F.logsigmoid(o) + (1 - t) * F.logsigmoid(-o)).mean()

    found = torchbce.check(Returns(outputs, pack), (X, targets), called(pairs), ignore=LONG)
    assert found["BCE003"].level is Level.FAIL, found


def test_a_sigmoid_in_a_loss_of_several_terms_is_seen():
    def loss(o, t):
        p = torch.sigmoid(o)
        return bce(p, t) + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    assert torchbce.check(mlp(), (X, Y[:, None]), loss, ignore=LONG)["BCE004"].level is Level.FAIL


def test_one_term_of_a_loss_says_what_it_takes():
    def loss(o, t):
        p = torch.sigmoid(o)
        return bce(o, t) + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    batch = X, Y[:, None]
    assert torchbce.check(mlp(), batch, loss, ignore=LONG)["BCE004"].level is Level.PASS
    assert torchbce.check(mlp(1, nn.Sigmoid()), batch, loss, ignore=LONG)["BCE004"].level is Level.FAIL


def test_a_softmax_before_cross_entropy_is_seen_and_a_log_softmax_harmless():
    batch = X, Y.long()
    for end, level in ((nn.Softmax(1), Level.FAIL), (nn.LogSoftmax(1), Level.NOT_APPLICABLE)):
        found = torchbce.check(mlp(2, end), batch, nn.CrossEntropyLoss(), ignore=LONG)
        assert found["BCE004"].level is level, found
        assert found.ok is (level is not Level.FAIL)


def test_padding_that_a_mask_leaves_out_is_no_part_of_the_loss():
    torch.manual_seed(0)
    x = torch.randn(16, 6, 8)
    y = (x[..., 0] > 0).float()
    mask = (torch.arange(6) < torch.randint(2, 7, (16, 1))).float()

    def loss(o, t):
        return (bce(o.squeeze(-1), t, reduction="none") * mask).sum() / mask.sum()

    found = torchbce.check(mlp(), (x, y), loss, ignore=LONG)
    assert str(found).startswith("mean-reduced BCE of logits"), found
    found = torchbce.check(mlp(), (x, y), lambda o, t: -loss(o, t), ignore=LONG)
    assert found["BCE007"].level is Level.FAIL


def test_the_output_is_what_the_loss_takes():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.net = nn.Parameter(torch.ones(64)), mlp()

        def forward(self, x):
            return {"scale": self.scale, "aside": x.mean(1).requires_grad_(), "z": self.net(x).squeeze(1)}

    found = torchbce.check(Two(), (X, Y), lambda o, t: bce(o["z"], t) + 1e-3 * o["scale"].square().mean())
    assert not found.issues, found
    assert str(found).startswith("mean-reduced BCE of logits"), found
