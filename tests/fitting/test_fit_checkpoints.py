"""The checkpoints of `fit`: what is refused, damaged, full or interrupted, and what a checkpoint may hold."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

import torchbce
from fit_runs import ROWS, SOURCES, STEPS, Counted, Killed, Run, assert_same, data, momentum, network
from torchbce import InputError, OutputError
from torchbce.checkpoint import folder as checkpoint_folder

pytestmark = pytest.mark.usefixtures("reference")


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
