"""What `torchbce warmup` compiles, and that a first call which takes long says so."""

from __future__ import annotations

import logging
import threading
import time

import pytest
import torch

import forked
import torchbce
from torchbce.engine import select
from torchbce.engine.numba_cpu import kernels
from torchbce.jit import machine_code, waiting
from torchbce.selftest import warmup


@pytest.fixture
def asked(monkeypatch):
    """The variants that calls ask for; none is compiled twice in a process."""
    seen = set()
    right = kernels.function
    monkeypatch.setattr(kernels, "function", lambda key: (seen.add(key), right(key))[1])
    monkeypatch.setattr(select, "_node", lambda: None)
    return seen


def test_what_a_script_calls_has_been_compiled(asked):
    list(warmup.warm_up(list(warmup.LOSSES)[:2], ["float32"], [], []))
    before, logits = set(asked), torch.nn.Linear(3, 4)(torch.rand(8, 3))
    target = torch.rand(8, 4)
    torchbce.BCEWithLogitsLoss()(logits, target).backward(retain_graph=True)
    torchbce.BCEWithLogitsLoss(pos_weight=torch.rand(4), reduction="sum")(logits, target).backward(retain_graph=True)
    torchbce.BCEWithLogitsLoss(weight=torch.rand(8, 1), reduction="none")(logits, target).mean().backward()
    with torch.no_grad():
        torchbce.BCELoss()(logits.sigmoid(), target)
    assert asked == before


def test_the_command_says_what_it_has_compiled(command):
    result = command("warmup", "--loss", "binary_cross_entropy", "--with", "weight", "--with", "mask")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 kinds of calls are compiled, in ")
    assert str(machine_code.folder()) in result.stdout


@pytest.mark.parametrize(
    ("option", "value"), [("--loss", "bce"), ("--dtype", "int64"), ("--target-dtype", "complex64"), ("--with", "gamma")]
)
def test_a_value_that_the_command_does_not_know_is_refused_with_those_it_knows(command, option, value):
    result = command("warmup", option, value)
    assert result.exit_code == 2
    assert f"'{value}' is not one of" in " ".join(result.stderr.replace("│", " ").split())


def test_where_nothing_can_be_compiled_the_reason_is_said(command, monkeypatch):
    monkeypatch.setattr(select, "_missing_numba", lambda: "NUMBA_DISABLE_JIT forbids compiling")
    result = command("warmup")
    assert result.exit_code == 3
    assert "the losses are not compiled here: NUMBA_DISABLE_JIT forbids compiling" in result.stderr


def test_a_compilation_that_takes_long_is_said_once(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(waiting, "_said", threading.Event())
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    compiling = threading.Event()

    def compile_slowly(to_llvm, name):
        assert compiling.wait(10)  # until it has been said
        raise InterruptedError

    monkeypatch.setattr(machine_code, "_compile", compile_slowly)
    monkeypatch.setattr(logging.getLogger("torchbce"), "warning", lambda note: (compiling.set(), notes.append(note)))
    notes = []
    for _ in range(2):
        with pytest.raises(InterruptedError):
            machine_code.compiled("a pass that nobody has compiled", lambda: "", tmp_path)
    assert notes == [waiting.NOTE]


def test_what_is_quick_is_not_said(monkeypatch, caplog):
    monkeypatch.setattr(waiting, "_said", threading.Event())
    monkeypatch.setattr(waiting, "PATIENCE", 0.1)
    with waiting.said_if_long():
        pass
    time.sleep(0.2)
    assert not caplog.records


def test_the_note_is_a_line_on_standard_error():
    script = "from torchbce.jit import waiting; waiting._say(); waiting._say()"
    run = forked.run(script)
    assert (run.stdout, run.stderr) == ("", f"{waiting.NOTE}\n")
