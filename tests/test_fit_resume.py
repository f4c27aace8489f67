"""`fit` with a checkpoint: a run that was killed anywhere goes on, and ends with the same bits as one that was not."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

import torchbce
from torchbce import InputError, OutputError, fit
from torchbce.checkpoint import folder as checkpoint_folder
from torchbce.fitting import compiled as perceptron

pytestmark = pytest.mark.usefixtures("reference")
ROWS, BATCH, EPOCHS = 53, 10, 3
STEPS = -(-ROWS // BATCH)


class Killed(Exception):
    """Stands for the end of the process."""


class Items(Dataset):
    """Dicts, changed at random as they are read: by the numbers of all three libraries."""

    def __init__(self, x, y, noise=False):
        self.x, self.y, self.noise = x, y, noise

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        moved = random.random() + np.random.rand() if self.noise else 0.0
        return {"x": self.x[i] + moved, "target": self.y[i]}


class Stream(IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        order = torch.randperm(len(self.x))
        return zip(self.x[order], self.y[order], strict=True)


class Counted:
    """Batches that know where they are; `read` counts them."""

    def __init__(self, x, y):
        self.x, self.y, self.place, self.read = x, y, 0, 0

    def __iter__(self):
        while self.place * BATCH < len(self.x):
            rows = slice(self.place * BATCH, (self.place + 1) * BATCH)
            self.place += 1
            self.read += 1
            yield self.x[rows], self.y[rows]
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


def loader(dataset, **options):
    return DataLoader(dataset, batch_size=BATCH, **options)


def own_generator():
    return torch.Generator().manual_seed(8)


SOURCES = {
    "tensors": lambda x, y: (x, y),
    "dataset": Items,
    "noisy dataset": lambda x, y: Items(x, y, noise=True),
    "loader of tensors": lambda x, y: loader(TensorDataset(x, y), shuffle=True),
    "loader in order": lambda x, y: loader(Items(x, y)),
    "shuffled loader": lambda x, y: loader(Items(x, y, noise=True), shuffle=True),
    "loader with a generator": lambda x, y: loader(TensorDataset(x, y), shuffle=True, generator=own_generator()),
    "loader of dicts with a generator": lambda x, y: loader(Items(x, y), shuffle=True, generator=own_generator()),
    "sampler with a generator": lambda x, y: loader(
        Items(x, y), sampler=RandomSampler(x, replacement=True, generator=own_generator())
    ),
    "loader that drops the last": lambda x, y: loader(TensorDataset(x, y), shuffle=True, drop_last=True),
    "loader of a stream": lambda x, y: loader(Stream(x, y)),
    "list": lambda x, y: list(zip(x.split(BATCH), y.split(BATCH), strict=True)),
    "own state": Counted,
}
WORKERS = {
    "workers": lambda x, y: loader(Items(x, y), shuffle=True, num_workers=2),
    "persistent workers": lambda x, y: loader(Items(x, y), shuffle=True, num_workers=1, persistent_workers=True),
}


def data(rows: int = ROWS):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=drawn)
    return x, (x[:, :1] + torch.randn(rows, 1, generator=drawn) > 0).float()


def network(dtype=torch.float32):
    torch.manual_seed(1)
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)]
    return nn.Sequential(*layers).to(dtype)


def seeded():
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)


class Run:
    """One run, undisturbed or in pieces; each piece with everything made anew, as in a new process."""

    def __init__(self, source="tensors", optimizer=None, schedule=None, make=network, **options):
        self.source, self.make, self.options = {**SOURCES, **WORKERS}[source], make, options
        self.optimizer = optimizer or (lambda p: torch.optim.AdamW(p, lr=0.02))
        self.schedule = schedule

    def piece(self, on_step=None, on_epoch=None, **options):
        seeded()
        self.module = self.make()
        x, y = data()
        self.data = self.source(x, y)
        self.kept = self.optimizer(self.module.parameters())
        schedule = self.schedule(self.kept) if self.schedule else None
        seeded()
        given = {"epochs": EPOCHS, "batch_size": BATCH, "valid": data(20), "seed": 3, **self.options, **options}
        return fit(
            self.module,
            self.data,
            optimizer=self.kept,
            scheduler=schedule,
            on_step=on_step or (lambda done, steps: None),
            on_epoch=on_epoch,
            **given,
        )

    def undisturbed(self, **options):
        return self._ended(self.piece(**options))

    def cut(self, folder, *places, **options):
        """Killed after these steps in all, each time gone on with; a checkpoint after every batch."""
        options = {"checkpoint": folder, "checkpoint_every": 0.0, **options}
        for place in places:
            count = 0

            def kill(done, steps, place=place):
                nonlocal count
                count += 1
                if count == place:
                    raise Killed

            with pytest.raises(Killed):
                self.piece(on_step=kill, **options)
        return self._ended(self.piece(**options))

    def _ended(self, history):
        return (
            [{**vars(epoch), "seconds": 0} for epoch in history],
            self.module.state_dict(),
            self.kept.state_dict(),
            torch.rand(3),
            np.random.rand(3).tolist(),
        ), history


def assert_same(one, other):
    """To the last bit, and in the same types."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other or (one != one and other != other)


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


def momentum(p):
    return torch.optim.SGD(p, lr=0.1, momentum=0.9)


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


CHANGES = {
    "parameter 0.weight": lambda run: {"make": lambda: nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 1))},
    "the optimizer": lambda run: {"optimizer": momentum},
    "the optimizer's lr": lambda run: {"optimizer": lambda p: torch.optim.AdamW(p, lr=0.5)},
    "seed was 3, now 4": lambda run: {"seed": 4},
    "data's batch_size was 10, now 20": lambda run: {"batch_size": 20},
    "data's rows": lambda run: {"source": "other rows"},
    "data's content": lambda run: {"source": "other content"},
    "the loss": lambda run: {"loss_func": torchbce.BCEWithLogitsLoss(label_smoothing=0.1)},
    "the scheduler": lambda run: {"schedule": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)},
    "valid's content": lambda run: {"valid": (torch.zeros(20, 4), torch.zeros(20, 1))},
    "autocast": lambda run: {"autocast": torch.bfloat16},
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_run_is_refused_and_what_changed_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setitem(SOURCES, "other rows", lambda x, y: (x[1:], y[1:]))
    monkeypatch.setitem(SOURCES, "other content", lambda x, y: (x + (torch.arange(ROWS) == 50).float()[:, None], y))
    Run().piece(checkpoint=tmp_path / "kept")
    with pytest.raises(InputError, match=name):
        Run(**CHANGES[name](None)).piece(checkpoint=tmp_path / "kept")


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path):
    run = Run()
    expected, _ = run.undisturbed()
    with pytest.raises(Killed):
        killed_after(run, tmp_path / "kept", 5)
    newest = sorted((tmp_path / "kept").glob("checkpoint-*"))[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged.*the checkpoint before it is used"):
        found = run._ended(run.piece(checkpoint=tmp_path / "kept"))
    assert_same(found[0], expected)
    assert found[1].resumed_at == (1, 3)


def killed_after(run, folder, place):
    def kill(done, steps):
        if done == place:
            raise Killed

    return run.piece(on_step=kill, checkpoint=folder, checkpoint_every=0.0)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    def second(epoch):
        with pytest.raises(InputError, match="another run writes its checkpoints to"):
            Run().piece(checkpoint=tmp_path / "kept")

    Run().piece(checkpoint=tmp_path / "kept", on_epoch=second)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is no folder of checkpoints; give checkpoint= a new or empty folder"):
        Run().piece(checkpoint=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    Run().piece(checkpoint=tmp_path / "empty")
    with pytest.raises(OutputError, match="cannot be written"):
        Run().piece(checkpoint=tmp_path / "thesis.tex" / "kept")


def test_a_full_disk_is_said_and_training_goes_on(tmp_path, monkeypatch):
    run = Run()
    expected, _ = run.undisturbed()
    write, count = checkpoint_folder.write_record, 0

    def full(path, state):
        nonlocal count
        count += 1
        if count >= 6:
            raise OSError(28, "No space left on device")
        write(path, state)

    monkeypatch.setattr(checkpoint_folder, "write_record", full)
    with pytest.warns(
        UserWarning, match=r"checkpoint-000005.safetensors cannot be written: No space.*epoch 1 after batch 3"
    ):
        found = run._ended(run.piece(checkpoint=tmp_path / "kept", checkpoint_every=0.0))
    assert_same(found[0], expected)
    monkeypatch.setattr(checkpoint_folder, "write_record", write)
    again = run._ended(run.piece(checkpoint=tmp_path / "kept"))
    assert again[1].resumed_at == (1, 3)
    assert_same(again[0], expected)


def test_going_on_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO, "torchbce")
    Run().cut(tmp_path / "kept", 3)
    assert [record.getMessage() for record in caplog.records] == ["going on from epoch 1 after batch 2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_obeyed_after_the_batch_and_handlers_are_as_before(number, tmp_path, caplog):
    run = Run()
    expected, _ = run.undisturbed()
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def ask(done, steps):
        if done == 4:
            os.kill(os.getpid(), number)

    error = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(error) as raised:
        run.piece(on_step=ask, checkpoint=tmp_path / "kept")
    assert "stopped at epoch 1 after batch 5" in caplog.text
    assert "the same call goes on from there" in caplog.text
    assert raised.value.code == 143 if number == signal.SIGTERM else "the same call goes on" in str(raised.value)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    found, history = run._ended(run.piece(checkpoint=tmp_path / "kept"))
    assert_same(found, expected)
    assert history.resumed_at == (1, 5)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_in_an_evaluation_does_not_wait_for_its_end(tmp_path):
    class Slow(Counted):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                if number == 1 and asked:
                    asked.pop()
                    signal.raise_signal(signal.SIGINT)
                yield batch

    for source in ("tensors", "own state", "loader of a stream"):
        run = Run(source, valid=Slow(*data()), evaluate_train=True)
        asked = []
        expected, _ = run.undisturbed()
        asked = [True]
        with pytest.raises(KeyboardInterrupt, match=f"epoch 1 after batch {STEPS}"):
            run.piece(checkpoint=tmp_path / source)
        run.options["valid"].place = 0
        found, history = run._ended(run.piece(checkpoint=tmp_path / source))
        assert history.resumed_at == (1, STEPS)
        assert_same(found, expected)


PROGRAM = """
import os, signal, sys, time, torch
from torchbce import fit
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))
x = torch.randn(53, 4, generator=torch.Generator().manual_seed(0))
y = (x[:, :1] > 0).float()
how, folder, where = sys.argv[1:]
def slow(done, steps):
    if how != "none":
        print(done, flush=True)
        time.sleep(0.02)
kept = torch.optim.Adam(net.parameters(), lr=0.01)
history = fit(net, (x, y), optimizer=kept, epochs=4, batch_size=10, on_epoch=None, on_step=slow,
              checkpoint=folder, checkpoint_every=0.0)
torch.save([net.state_dict(), kept.state_dict(), [e.running for e in history], history.resumed_at], where)
"""


@pytest.mark.processes
def test_killed_programs_go_on(tmp_path):
    def start(how, folder):
        argv = [sys.executable, "-c", PROGRAM, how, str(folder), str(tmp_path / "end")]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(folder):
        program = start("none", folder)
        _, errors = program.communicate()
        assert program.returncode == 0, errors
        return torch.load(tmp_path / "end")

    *expected, resumed = ended(tmp_path / "whole")
    assert resumed is None
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        folder = tmp_path / number.name
        program = start("slow", folder)
        for _ in range(9):
            program.stdout.readline()
        program.send_signal(number)
        _, errors = program.communicate()
        assert program.returncode == code, errors
        assert ("the same call goes on from there" in errors) == (number == signal.SIGTERM)
        *found, resumed = ended(folder)
        assert_same(found, expected)
        assert resumed is not None


def test_names_that_state_dicts_have_are_those_of_the_module(tmp_path):
    from torchbce.checkpoint.record import read_record

    run = Run(valid=None)
    run.piece(checkpoint=tmp_path / "kept")
    newest = sorted((tmp_path / "kept").glob("checkpoint-*"))[-1]
    assert list(read_record(newest)["module"]) == list(network().state_dict())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("optimizer"),
        lambda state: state.pop("progress"),
        lambda state: state["progress"].pop("history"),
        lambda state: state["progress"].update(epoch="x"),
        lambda state: state.update(done=-1),
        lambda state: state.update(done=None),
        lambda state: state["module"].pop(next(iter(state["module"]))),
        lambda state: state["module"].update(dict.fromkeys(state["module"], torch.zeros(7))),
        lambda state: state["module"].update(extra=torch.ones(3)),
        lambda state: state["optimizer"].update(param_groups=[]),
        lambda state: state.update(source=[]),
        lambda state: state.update(random=[{}]),
        lambda state: state.update(module=[1, 2]),
    ],
)
def test_a_checkpoint_of_something_else_ends_in_one_message(tmp_path, change):
    from torchbce.checkpoint.record import read_record, write_record

    Run(valid=None).piece(checkpoint=tmp_path / "kept")
    for path in (tmp_path / "kept").glob("checkpoint-*"):
        state = read_record(path)
        change(state)
        write_record(path, state)
    with pytest.raises(InputError, match="kept: the last checkpoint does not fit this run: .*give checkpoint="):
        Run(valid=None).piece(checkpoint=tmp_path / "kept")
