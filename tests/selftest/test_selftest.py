"""verify and bench: the table they compare with, the errors they would find, what they print."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

import write_gold
from torchbce.engine import select
from torchbce.engine.numba_cpu import launch
from torchbce.selftest import accuracy, speed


def test_the_table_of_exact_values_is_mpmaths():
    assert write_gold.table() == write_gold.FILE.read_text()


def test_every_engine_of_this_machine_is_within_its_limits():
    found = list(accuracy.errors())
    assert {one.engine for one in found} >= {"reference", "cpu"}
    assert len(found) == 8 * len(accuracy.engines())
    assert all(one.passed for one in found)
    torchs = max(one.value_of_torch for one in found if one.dtype == torch.float32)
    assert torchs > 1e6  # confident negatives: torch's digits are lost


def test_a_wrong_kernel_is_found(monkeypatch):
    monkeypatch.setattr(select, "_node", lambda: None)
    right = launch.forward
    monkeypatch.setattr(launch, "forward", lambda *a, **k: ((found := right(*a, **k))[0] * (1 + 1e-6), *found[1:]))
    wrong = [one for one in accuracy.errors() if not one.passed]
    assert {(one.engine, one.dtype) for one in wrong} == {("cpu", torch.float32), ("cpu", torch.float64)}


def test_units_of_the_last_place():
    assert accuracy.ulps(1.0, Fraction(1), torch.float32) == 0
    assert accuracy.ulps(1.0, Fraction(1) + Fraction(2) ** -23, torch.float32) == 1
    assert accuracy.ulps(0.5, Fraction(1, 2) - Fraction(2) ** -25, torch.float32) == 1
    assert accuracy.ulps(0.0, Fraction(2) ** -149, torch.float32) == 1
    assert accuracy.ulps(float("inf"), Fraction(10) ** 39, torch.float32) == 0
    assert accuracy.ulps(float("nan"), Fraction(1), torch.float32) == float("inf")


FEW = {"logits, hard, forward", "probabilities, hard, weight, forward + backward"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if str(case) in FEW else pytest.mark.combination, id=str(case))
        for case in speed.CASES
    ],
)
def test_a_case_is_timed(case):
    found = speed.compare(case, 1000, seconds=0.0)
    assert list(found) == ["torchbce", "torch", "bytes"]
    assert all(time > 0 for time in found.values())


def test_cases_are_what_they_say():
    assert len({str(case) for case in speed.CASES}) == len(speed.CASES)
    assert {str(case) for case in speed.CASES} >= FEW
    inputs = speed.make(speed.Case("logits", "soft", torch.bfloat16, weighted=("pos_weight",)), 1000)
    assert inputs.input.shape == (100, 10)
    assert inputs.options["pos_weight"].shape == (10,)


def test_the_command_selftest(command):
    result = command("selftest")
    assert result.exit_code == 0
    assert "ours are within their limits" in result.output
    assert result.output.count("binary_cross_entropy_with_logits") == 4 * len(accuracy.engines())


def test_the_command_selftest_fails_loudly(command, monkeypatch):
    wrong = lambda x, y, call, **_: (torch.ones_like(x, dtype=call.result_dtype), None, True)  # noqa: E731
    monkeypatch.setattr(launch, "forward", wrong)
    monkeypatch.setattr(select, "_node", lambda: None)
    result = command("selftest")
    assert result.exit_code == 1
    assert "NOT within" in result.output
    assert "above 3: WRONG" in result.output


def test_the_command_bench(command, monkeypatch):
    monkeypatch.setattr(speed, "CASES", speed.CASES[1:2])
    monkeypatch.setattr("torchbce.cli.selftest.run.bench", lambda seconds: speed.bench(seconds=0.0))
    result = command("bench")
    assert result.exit_code == 0, result.output
    assert "probabilities, hard, forward + backward" in result.output
    assert "10,000,000" in result.output
