"""check on a training step: what it does is compared with the loss that was given, on copies, and all is put back."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

from torchbce import check
from torchbce.checks.catalogue.finding import Level

LOGITS = nn.BCEWithLogitsLoss()
CLIP = nn.utils.clip_grad_norm_


def batch(n=64):
    torch.manual_seed(0)
    x = torch.randn(n, 6)
    return x, (x[:, :1] + 0.5 * torch.randn(n, 1) > 0).float()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))


def with_loss(loss, *, before=None, after=None):
    """A step that trains on loss(model, x, y), with something before its backward pass or after its step."""

    def step(model, data, optimizer):
        optimizer.zero_grad()
        if before is not None:
            before(model)
        loss(model, *data).backward()
        optimizer.step()
        if after is not None:
            after(model)

    return step


def plain(model, x, y):
    return LOGITS(model(x), y)


def without_gradient(model, x, y):
    with torch.no_grad():
        out = model(x)
    return LOGITS(out.requires_grad_(), y)


def shuffled_together(model, x, y):
    order = torch.randperm(len(x))
    return LOGITS(model(x[order]), y[order])


def by_parts(model, data, optimizer, *, parts=4, divided=True, cleared=False, clipped=False):
    optimizer.zero_grad()
    for x, y in zip(data[0].chunk(parts), data[1].chunk(parts), strict=True):
        if cleared:
            optimizer.zero_grad()
        (plain(model, x, y) / (parts if divided else 1)).backward()
        if clipped:
            CLIP(model.parameters(), 1.0)
    optimizer.step()


def twice(model, data, optimizer):
    optimizer.zero_grad()
    loss = plain(model, *data)
    loss.backward(retain_graph=True)
    loss.backward()
    optimizer.step()


def measured_first(model, data, optimizer):
    """The norm of the gradient is taken before the backward pass, by autograd.grad."""
    optimizer.zero_grad()
    loss = plain(model, *data)
    torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    loss.backward()
    optimizer.step()


def turned(model, data, optimizer):
    optimizer.zero_grad()
    plain(model, *data).backward()
    for p in model.parameters():
        p.grad = -p.grad
    optimizer.step()


def evaluates(model, data, optimizer, *, back=False, first=False):
    if back:
        model.train()
    if first:
        model.eval()
    with_loss(plain)(model, data, optimizer)
    model.eval()


def attacked_first(model, data, optimizer):
    """The inputs go up the loss, by a backward pass whose gradients are cleared."""
    x, y = data[0].clone().requires_grad_(), data[1]
    (-plain(model, x, y)).backward()
    optimizer.zero_grad()
    plain(model, (x - 0.1 * x.grad.sign()).detach(), y).backward()
    optimizer.step()


def scaled(model, data, optimizer, *, scaler, unscale=True, clip=True, through=True):
    optimizer.zero_grad()
    scaler.scale(plain(model, *data)).backward()
    if unscale:
        scaler.unscale_(optimizer)
    if clip:
        CLIP(model.parameters(), 1.0)
    if through:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()


def with_scaler(**options):
    return functools.partial(scaled, scaler=torch.amp.GradScaler("cpu"), **options)


def with_closure(loss):
    def step(model, data, optimizer):
        def closure():
            optimizer.zero_grad()
            value = loss(model, *data)
            value.backward()
            return value

        optimizer.step(closure)

    return step


BUGS = {
    "the loss is turned": (with_loss(lambda m, x, y: -plain(m, x, y)), "BCE036", "raises the loss"),
    "gradients are turned": (turned, "BCE036", "are turned"),
    "targets are flipped": (with_loss(lambda m, x, y: plain(m, x, 1 - y)), "BCE036", "flipped"),
    "a sigmoid": (with_loss(lambda m, x, y: LOGITS(torch.sigmoid(m(x)), y)), "BCE036", "a sigmoid between"),
    "a relu": (with_loss(lambda m, x, y: LOGITS(torch.relu(m(x)), y)), "BCE036", "relu between"),
    "in a closure": (with_closure(lambda m, x, y: -plain(m, x, y)), "BCE036", "raises the loss"),
    "shuffled targets": (with_loss(lambda m, x, y: plain(m, x, y[torch.randperm(len(y))])), "BCE036", "another item's"),
    "shuffled inputs": (with_loss(lambda m, x, y: plain(m, x[torch.randperm(len(y))], y)), "BCE036", "another item's"),
    "all pairs": (
        with_loss(lambda m, x, y: LOGITS(m(x).expand(-1, len(y)), y.T.expand(len(y), -1))),
        "BCE036",
        "every output with every target",
    ),
    "a detached loss": (
        with_loss(lambda m, x, y: torch.tensor(plain(m, x, y).item(), requires_grad=True)),
        "BCE036",
        "cut off",
    ),
    "no gradients": (with_loss(without_gradient), "BCE036", "without gradients"),
    "clipped before": (
        with_loss(plain, before=lambda m: CLIP(m.parameters(), 1.0)),
        "BCE037",
        "before loss.backward()",
    ),
    "clipped after": (
        with_loss(plain, after=lambda m: nn.utils.clip_grad_value_(m.parameters(), 1.0)),
        "BCE037",
        "after optimizer.step()",
    ),
    "clipped by parts": (functools.partial(by_parts, clipped=True), "BCE037", "clipped 4 times"),
    "clipped while scaled": (with_scaler(unscale=False), "BCE037", "multiplied them by 65,536"),
    "a step that is not the scaler's": (with_scaler(unscale=False, clip=False, through=False), "BCE037", "by 65,536"),
    "backward twice": (twice, "BCE037", "runs twice"),
    "cleared for each part": (functools.partial(by_parts, cleared=True), "BCE037", "48 of 64 items"),
    "left in evaluation": (evaluates, "BCE038", "from call 2 on"),
    "trained in evaluation": (functools.partial(evaluates, first=True), "BCE038", "trains in evaluation mode"),
}


def clipped(model, data, optimizer):
    optimizer.zero_grad()
    plain(model, *data).backward()
    CLIP(model.parameters(), 0.01)
    optimizer.step()


HEALTHY = {
    "clipped": clipped,
    "plain": with_loss(plain),
    "shuffled together": with_loss(shuffled_together),
    "label noise": with_loss(lambda m, x, y: plain(m, x, torch.where(torch.rand_like(y) < 0.2, 1 - y, y))),
    "smoothing": with_loss(lambda m, x, y: plain(m, x, 0.9 * y + 0.05)),
    "noise on the inputs": with_loss(lambda m, x, y: plain(m, x + 0.1 * torch.randn_like(x), y)),
    "probabilities": with_loss(lambda m, x, y: nn.functional.binary_cross_entropy(torch.sigmoid(m(x)), y)),
    "parts": by_parts,
    "scaled": with_scaler(),
    "scaled, not clipped": with_scaler(unscale=False, clip=False),
    "measured first": measured_first,
    "attacked first": attacked_first,
    "back in training": functools.partial(evaluates, back=True),
    "a closure": with_closure(plain),
    "the clipping of another network": with_loss(plain, before=lambda _: CLIP(nn.Linear(2, 2).parameters(), 1.0)),
}
CODES = ("BCE036", "BCE037", "BCE038")


def checked(step, optimizer=torch.optim.SGD, **options):
    model = network()
    return check(model, batch(), LOGITS, optimizer(model.parameters(), lr=0.01, **options), step=step)


@pytest.mark.parametrize("name", BUGS)
def test_what_a_step_does_wrong_is_named(name):
    step, code, text = BUGS[name]
    found = checked(step)
    assert [finding.code for finding in found.issues] == [code], str(found)
    assert text in found[code].message


@pytest.mark.parametrize("name", HEALTHY)
def test_what_a_step_may_do_is_not(name):
    found = checked(HEALTHY[name])
    assert not found.issues, str(found)
    assert found["BCE036"].level is Level.PASS


def test_the_size_of_the_gradient_is_a_tip():
    assert "0.01562 times" in checked(with_loss(lambda m, x, y: plain(m, x, y) / len(x)))["BCE036"].message
    whole = checked(functools.partial(by_parts, divided=False))["BCE036"]
    assert whole.level is Level.TIP
    assert "together they are 4 times" in whole.message
    assert checked(by_parts)["BCE036"].message.startswith("1 times")


def test_what_the_optimizer_maximizes_may_be_the_negative():
    negative = with_loss(lambda m, x, y: -plain(m, x, y))
    assert not checked(negative, maximize=True).issues
    assert [finding.code for finding in checked(with_loss(plain), maximize=True).issues] == ["BCE039"]


def test_without_step_or_without_a_call_of_the_model_nothing_is_said():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    assert all(check(model, batch(), LOGITS, optimizer)[code].level is Level.NOT_APPLICABLE for code in CODES)
    other = network()
    found = checked(lambda _, data, optimizer: with_loss(plain)(other, data, optimizer))
    assert "does not call the model" in found["BCE036"].message


class Trainer:
    """Everything that a step may hold on to."""

    def __init__(self):
        self.model, self.judge = network(), nn.Linear(6, 1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.of_judge = torch.optim.SGD(self.judge.parameters(), lr=0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.losses, self.calls, self.draws = [], 0, torch.Generator().manual_seed(5)

    def step(self, model, data, optimizer):
        model.train()
        x, y = data[0] + 0.1 * torch.randn(data[0].shape, generator=self.draws), data[1]
        self.of_judge.zero_grad()
        plain(self.judge, x, y).backward()
        self.of_judge.step()
        optimizer.zero_grad()
        loss = plain(model, x, y)
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()
        self.schedule.step()
        for slow, fast in zip(self.average.parameters(), model.parameters(), strict=True):
            slow.data.lerp_(fast.data, 0.1)
        self.average.eval()
        self.losses.append(loss.item())
        self.calls += 1

    def state(self):
        """All that may differ, as values."""
        modules = [self.model, self.judge, self.average]
        return copy.deepcopy(
            [
                [part.state_dict() for part in (*modules, self.optimizer, self.of_judge, self.schedule, self.scaler)],
                [[p.grad for p in module.parameters()] for module in modules],
                [[part.training for part in module.modules()] for module in modules],
                [self.losses, self.calls, self.draws.get_state(), torch.get_rng_state()],
            ]
        )


@pytest.mark.filterwarnings("ignore:Detected call of")  # the schedule is that of the user's own optimizer
@pytest.mark.parametrize("trained", [False, True])
def test_all_that_a_step_holds_on_to_is_put_back(trained):
    trainer, data = Trainer(), batch()
    if trained:
        trainer.step(trainer.model, data, trainer.optimizer)
    before = trainer.state()
    found = check(trainer.model, data, LOGITS, trainer.optimizer, step=trainer.step)
    assert found["BCE036"].level is Level.PASS
    torch.testing.assert_close(trainer.state(), before, rtol=0, atol=0)
    if not trained:
        assert trainer.scaler._scale is None  # it is made at the first call
        assert not trainer.of_judge.state


COUNTED = 0


def counting(model, data, optimizer):
    global COUNTED  # as scripts do
    COUNTED += 1
    with_loss(plain)(model, data, optimizer)


def test_counters_in_globals_and_closures_are_put_back():
    calls, seen = 0, {}

    def step(model, data, optimizer):
        nonlocal calls
        calls += 1
        seen[calls] = len(data)
        counting(model, data, optimizer)

    assert not checked(step).issues
    assert (calls, seen, COUNTED) == (0, {}, 0)


def test_a_step_that_raises_leaves_all_as_it_was():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(_, data, optimizer):
        with_loss(plain)(model, data, torch.optim.SGD(model.parameters(), lr=1.0))
        raise KeyError("no such column")

    before = copy.deepcopy(model.state_dict())
    found = check(model, batch(), LOGITS, optimizer, step=step)
    assert "KeyError" in found["BCE036"].message
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())
