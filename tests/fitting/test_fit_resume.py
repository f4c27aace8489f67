"""`fit` with a checkpoint: a run that was killed anywhere goes on, and ends with the same bits as one that was not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import torchbce
from fit_runs import (
    BATCH,
    EPOCHS,
    ROWS,
    SOURCES,
    STEPS,
    WORKERS,
    Items,
    Killed,
    Run,
    assert_same,
    data,
    momentum,
    network,
)
from torchbce import fit
from torchbce.fitting import compiled as perceptron

pytestmark = pytest.mark.usefixtures("reference")


@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("source", SOURCES)
def test_a_run_cut_in_the_middle_of_epochs_ends_with_the_same_bits(source, seed, tmp_path):
    run = Run(source, seed=seed)
    expected, _ = run.undisturbed()
    found, history = run.cut(tmp_path / "kept", 3, STEPS + 2)
    assert_same(found, expected)
    # The step in which it is killed is not kept: 2 of the first 3, then STEPS + 1 more.
    epoch, batch = divmod(2 + STEPS + 1, STEPS - (source == "loader that drops the last"))
    assert history.resumed_at == (epoch + 1, batch)


@pytest.mark.parametrize("source", WORKERS)
def test_workers_are_taken_up_again(source, tmp_path):
    run = Run(source, epochs=2, valid=None)
    expected, _ = run.undisturbed()
    found, _ = run.cut(tmp_path / "kept", STEPS + 3)
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        (momentum, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=EPOCHS * STEPS)),
        (lambda p: torch.optim.Adam(p, amsgrad=True), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 9])),
        (lambda p: torch.optim.RMSprop(p), lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 1 / (1 + n))),
        (lambda p: torch.optim.Adagrad(p), None),
        (lambda p: torch.optim.NAdam(p), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 7)),
    ],
)
def test_optimizers_and_schedules_go_on(optimizer, schedule, tmp_path):
    run = Run(optimizer=optimizer, schedule=schedule)
    expected, _ = run.undisturbed()
    assert_same(run.cut(tmp_path / "kept", 4)[0], expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_of_weights_go_on(dtype, tmp_path):
    def narrow(x, y):
        return x.to(dtype), y.to(dtype)

    run = Run(make=lambda: network(dtype), valid=narrow(*data(20)))
    run.source = narrow
    expected, _ = run.undisturbed()
    assert_same(run.cut(tmp_path / "kept", 4)[0], expected)


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_autocast_and_its_gradient_scaler_go_on(narrow, tmp_path):
    run = Run(autocast=narrow)
    expected, _ = run.undisturbed()
    assert_same(run.cut(tmp_path / "kept", 4)[0], expected)


def test_killed_at_the_end_of_an_epoch_it_is_reported_again(tmp_path):
    run = Run()
    expected, _ = run.undisturbed()
    seen = []

    def kill(epoch):
        seen.append(epoch.number)
        if epoch.number == 2 and len(seen) == 2:
            raise Killed

    options = {"checkpoint": tmp_path / "kept", "checkpoint_every": 0.0, "on_epoch": kill}
    with pytest.raises(Killed):
        run.piece(**options)
    found = run._ended(run.piece(**options))[0]
    assert_same(found, expected)
    assert seen == [1, 2, 2, 3]


def test_what_callbacks_change_is_kept(tmp_path):
    run = Run(optimizer=momentum)

    def halve(epoch):
        run.kept.param_groups[0]["lr"] /= 2

    expected, _ = run.undisturbed(on_epoch=halve)
    assert_same(run.cut(tmp_path / "kept", STEPS + 2, on_epoch=halve)[0], expected)


def test_patience_and_the_best_weights_go_on(tmp_path):
    noise = torch.randn(20, 4), torch.randint(2, (20, 1)).float()
    run = Run(valid=noise, epochs=50, patience=2, optimizer=lambda p: torch.optim.Adam(p, lr=0.1))
    expected, history = run.undisturbed()
    assert len(history) < 50
    found, again = run.cut(tmp_path / "kept", (history.best.number + 1) * STEPS - 2)
    assert_same(found, expected)
    assert again.best.number == history.best.number


def test_a_finished_run_returns_at_once_and_goes_on_with_more_epochs(tmp_path):
    run = Run(optimizer=momentum)
    expected, _ = run.undisturbed()
    longer, _ = run.undisturbed(epochs=EPOCHS + 2)
    run.piece(checkpoint=tmp_path / "kept")

    def never(*_):
        raise AssertionError("it trained")

    history = run.piece(checkpoint=tmp_path / "kept", on_step=never, on_epoch=never)
    assert_same(run._ended(history)[0], expected)
    history = run.piece(checkpoint=tmp_path / "kept", epochs=EPOCHS + 2)
    assert_same(run._ended(history)[0], longer)
    assert history.resumed_at == (EPOCHS + 1, 0)


def test_checkpoints_change_nothing(tmp_path):
    for source in ("tensors", "shuffled loader", "loader of dicts with a generator", "loader of a stream"):
        run = Run(source, seed=None)
        plain, _ = run.undisturbed()
        kept, history = run.undisturbed(checkpoint=tmp_path / source, checkpoint_every=0.0)
        assert_same(kept, plain)
        assert history.resumed_at is None


def test_positions_in_tensors_cost_nothing_and_own_state_is_not_replayed(tmp_path):
    run = Run("own state")
    run.cut(tmp_path / "own", 4)
    assert run.data.read == EPOCHS * STEPS - 3

    run = Run("noisy dataset")
    run.cut(tmp_path / "items", 4)
    reads = []
    run.source = lambda x, y: Spied(x, y, reads)
    run.piece(checkpoint=tmp_path / "items", epochs=EPOCHS + 1)
    assert len(reads) == ROWS


class Spied(Items):
    def __init__(self, x, y, reads):
        super().__init__(x, y)
        self.reads = reads

    def __getitem__(self, i):
        self.reads.append(i)
        return super().__getitem__(i)


@pytest.mark.parametrize("layers", ["relu", "sigmoid"])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_compiled_training_goes_on(layers, optimizer, tmp_path, monkeypatch):
    monkeypatch.setattr(perceptron, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(perceptron, "STEPS_PER_CALL", 2)  # so that calls end in the middle of epochs
    ends = [nn.Sigmoid()] if layers == "sigmoid" else []

    def make():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), *ends)

    def trained(**options):
        module = make()
        kept = optimizer(module.parameters(), lr=0.01)
        loss_func = torchbce.BCELoss() if ends else torchbce.BCEWithLogitsLoss()
        torch.manual_seed(2)
        options = {"on_epoch": None, "epochs": EPOCHS, "batch_size": BATCH, **options}
        history = fit(module, data(), loss_func, optimizer=kept, **options)
        return [{**vars(e), "seconds": 0} for e in history], module.state_dict(), kept.state_dict(), torch.rand(1)

    expected = trained()
    calls = perceptron.CompiledTraining.epoch
    for number in range(1, 5):
        folder, count = tmp_path / str(number), 0

        def epoch(self, total=0.0, number=number):
            nonlocal count
            for so_far in calls(self, total):
                yield so_far
                count += 1
                if count == number:
                    raise Killed

        monkeypatch.setattr(perceptron.CompiledTraining, "epoch", epoch)
        with pytest.raises(Killed):
            trained(checkpoint=folder, checkpoint_every=0.0)
        monkeypatch.setattr(perceptron.CompiledTraining, "epoch", calls)
        assert_same(trained(checkpoint=folder), expected)
        assert_same(trained(checkpoint=folder), expected)  # finished


def test_compiled_training_goes_on_in_compiled_code_however_many_epochs_are_left(tmp_path, monkeypatch):
    x, y = data()

    def trained(epochs, **options):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        fit(module, (x, y), epochs=epochs, batch_size=BATCH, seed=1, on_epoch=None, **options)
        return module.state_dict()

    few = trained(2, checkpoint=tmp_path / "few")
    monkeypatch.setattr(perceptron, "LEAST_SECONDS", 0.0)
    assert torch.equal(trained(2, checkpoint=tmp_path / "few")["0.weight"], few["0.weight"])
    longer = trained(4, checkpoint=tmp_path / "few")  # begun in torch, so in torch
    monkeypatch.setattr(perceptron, "LEAST_SECONDS", 1e9)
    assert_same(longer, trained(4))
