"""`fit` in compiled code is `fit` by autograd: the same losses, weights and state; all else is left to torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchbce
from torchbce.fitting import compiled as perceptron
from torchbce.fitting.batches import TensorBatches, batches_of

LAYERS = {
    "the article's": lambda: [nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid()],
    "logits": lambda: [nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1)],
    "relu": lambda: [nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid()],
    "linear": lambda: [nn.Linear(4, 1)],
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd with decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6),
}


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(perceptron, "LEAST_SECONDS", 0.0)


def data(count: int = 203) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(count, 4)
    return x, (x[:, :1] + x[:, 1:2] ** 2 + 0.3 * torch.randn(count, 1) > 0.5).float()


def new(layers: str) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*LAYERS[layers]())


def loss_for(module: nn.Sequential) -> nn.Module:
    return torchbce.BCELoss() if isinstance(module[-1], nn.Sigmoid) else torchbce.BCEWithLogitsLoss()


def is_compiled(module: nn.Module, loss_func, optimizer, given=None) -> bool:
    batches = batches_of(given or data(), 10, None)
    return perceptron.compiled_training(module, loss_func, optimizer, batches, 1) is not None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layers", LAYERS)
def test_it_trains_as_autograd_does(layers, optimizer):
    found = []
    for watched in (True, False):  # a callback for each step needs the steps one by one
        module = new(layers)
        kept = OPTIMIZERS[optimizer](module.parameters())
        history = torchbce.fit(
            module,
            data(),
            loss_for(module),
            optimizer=kept,
            epochs=5,
            batch_size=10,
            seed=3,
            on_epoch=None,
            on_step=(lambda done, total: None) if watched else None,
        )
        found.append((module, kept, history))
    (ours, kept, history), (plain, plain_kept, plain_history) = found[1], found[0]
    for a, b in zip(history, plain_history, strict=True):
        assert a.running == pytest.approx(b.running, rel=1e-5)
        assert a.train == pytest.approx(b.train, rel=1e-5)
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert a.detach().numpy() == pytest.approx(b.detach().numpy(), abs=1e-4)
        assert a.untyped_storage().nbytes() == 4 * a.numel()  # of its own, not a view
        for name, value in plain_kept.state.get(b, {}).items():
            if value is not None:
                assert kept.state[a][name].numpy() == pytest.approx(value.numpy(), abs=1e-4)


def test_training_goes_on_in_torch():
    """The optimiser's state fits what it would be."""
    module = new("logits")
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    torchbce.fit(module, data(), optimizer=optimizer, epochs=2, batch_size=10, on_epoch=None)
    assert not is_compiled(module, torchbce.BCEWithLogitsLoss(), optimizer)  # its moments are not ours to start with
    torchbce.fit(module, data(), optimizer=optimizer, epochs=1, batch_size=10, on_epoch=None)
    assert optimizer.state[module[0].weight]["step"].item() == 63


def test_what_it_takes():
    for layers in LAYERS:
        module = new(layers)
        for make in OPTIMIZERS.values():
            assert is_compiled(module, loss_for(module), make(module.parameters()))
    assert is_compiled(new("relu"), nn.BCELoss(), OPTIMIZERS["sgd"](new("relu").parameters())) is False
    module = new("relu")
    assert is_compiled(module, nn.BCELoss(), OPTIMIZERS["sgd"](module.parameters()))


class Own(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize(
    "change",
    [
        lambda m: nn.Sequential(*m[:-1], nn.Dropout(0.1), m[-1]),
        lambda m: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1)),
        lambda m: nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, 1)),
        lambda m: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)),
        lambda m: nn.Sequential(
            m[0], nn.SiLU(), nn.Linear(8, 4), nn.SiLU(), nn.Linear(4, 8), nn.SiLU(), m[-1]
        ).double(),
        lambda m: m.double(),
        hooked,
        lambda m: Own(*m),
        lambda m: m[0].weight.requires_grad_(False) is None or m,
    ],
)
def test_other_modules_are_left_to_torch(change):
    module = change(new("logits"))
    assert not is_compiled(module, torchbce.BCEWithLogitsLoss(), torch.optim.SGD(module.parameters(), lr=0.1))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
        lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
        lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
        lambda p: torch.optim.SGD(list(p)[:2], lr=0.1),
        lambda p: torch.optim.SGD([{"params": [q]} for q in p], lr=0.1),
    ],
)
def test_other_optimizers_are_left_to_torch(make):
    module = new("logits")
    assert not is_compiled(module, torchbce.BCEWithLogitsLoss(), make(module.parameters()))


@pytest.mark.parametrize(
    "loss_func",
    [
        torchbce.BCELoss(),
        torchbce.BCEWithLogitsLoss(label_smoothing=0.1),
        torchbce.BCEWithLogitsLoss(reduction="sum"),
        torchbce.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
        nn.BCEWithLogitsLoss(weight=torch.ones(1)),
        torchbce.FocalWithLogitsLoss(),
        nn.MSELoss(),
        lambda x, y: (x - y).mean(),
    ],
)
def test_other_losses_are_left_to_torch(loss_func):
    module = new("logits")
    assert not is_compiled(module, loss_func, torch.optim.SGD(module.parameters(), lr=0.1))


@pytest.mark.parametrize(
    "given",
    [
        (torch.randn(20, 5), torch.ones(20, 1)),
        (torch.randn(20, 4).double(), torch.ones(20, 1).double()),
        (torch.randn(20, 4), torch.ones(20)),
        (torch.randn(20, 4), 2 * torch.ones(20, 1)),
        (torch.randn(4, 20).T, torch.ones(20, 1)),
        (torch.randn(20, 4), torch.randn(20, 4), torch.ones(20, 1)),
    ],
)
def test_other_data_are_left_to_torch(given):
    module = new("logits")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    assert not is_compiled(module, torchbce.BCEWithLogitsLoss(), optimizer, given)


def test_little_work_is_left_to_torch(monkeypatch):
    monkeypatch.setattr(perceptron, "LEAST_SECONDS", 1.0)
    module = new("logits")
    batches = TensorBatches(data(), 10)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for epochs, expected in ((10, False), (1000, True)):
        found = perceptron.compiled_training(module, torchbce.BCEWithLogitsLoss(), optimizer, batches, epochs)
        assert (found is not None) == expected


def test_a_rate_that_is_too_large_is_said():
    module = new("logits")
    optimizer = torch.optim.SGD(module.parameters(), lr=1e38)
    with pytest.raises(torchbce.InputError, match="the learning rate is too large"):
        torchbce.fit(module, data(), optimizer=optimizer, epochs=5, on_epoch=None, batch_size=10)
    assert all(p.untyped_storage().nbytes() == 4 * p.numel() for p in module.parameters())


def test_a_rate_changed_between_epochs_counts():
    module = new("logits")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def stop(epoch: torchbce.Epoch) -> None:
        optimizer.param_groups[0]["lr"] = 0.0

    history = torchbce.fit(module, data(), optimizer=optimizer, epochs=3, batch_size=10, on_epoch=stop)
    assert history[1].train == history[2].train
