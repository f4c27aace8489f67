"""Ensembles: torch's schedule, scaling of maximum likelihood, repeated bits, epochs chosen on rows kept aside."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from mpmath import mp
from scipy.optimize import minimize

from torchbce import InputError
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.ensemble.calibration import AS_IT_IS, bce, calibrate, fit_scaling, loss_after_calibration
from torchbce.table.ensemble.config import EnsembleConfig, UserOptions, default_config
from torchbce.table.ensemble.ensemble import mean_logits, pool_logits
from torchbce.table.ensemble.fit import fit_ensemble
from torchbce.table.ensemble.linear import fit_linear
from torchbce.table.ensemble.schedule import Schedule, one_cycle

SMALL = EnsembleConfig((8,), 4, 0.1, 2, 2, 2, 64, 6, 10, "adamw", 1e-2, 0.1)


def table(count: int = 400, seed: int = 0) -> TrainingMatrix:
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((count, 3))
    codes = rng.integers(0, 4, (count, 1))
    logits = numbers[:, 0] - 2 * (codes[:, 0] == 2)
    target = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    return TrainingMatrix(np.concatenate([numbers, codes], 1).astype(np.float32), target, [4])


def halves(count: int = 400) -> list[tuple[np.ndarray, np.ndarray]]:
    rows = np.arange(count)
    return [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])]


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 97, 1000])
def test_the_schedule_is_torchs_one_cycle(steps):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=5e-3)
    expected = []
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps + 1)
    for _ in range(steps + 1):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(expected) <= steps:
            scheduler.step()
    found = 5e-3 * one_cycle(torch.arange(steps + 1, dtype=torch.float64), steps + 1)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_a_budget_of_seconds_ends_the_schedule():
    schedule = Schedule(1.0, 10**9, cycle=True, budget=0.05)
    first = schedule.rates(0, 1).item()
    time.sleep(0.06)
    assert schedule.is_over
    assert schedule.rates(1, 1).item() < 1e-4 < first


def test_sgds_rate_is_constant():
    assert set(Schedule(0.1, 100, cycle=False).rates(7, 5).tolist()) == {0.1}


@pytest.mark.parametrize("weighted", [False, True])
def test_scaling_is_the_likeliest(weighted):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 500)
    target = (rng.random(500) < 1 / (1 + np.exp(-(0.6 * logits - 0.4)))).astype(float)
    weight = rng.random(500) if weighted else None
    found = fit_scaling(logits, target, weight)
    w = np.ones(500) if weight is None else weight

    def cost(p: np.ndarray) -> float:
        return float((w * bce(p[0] * logits + p[1], target)).sum())

    expected = minimize(cost, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert tuple(found) == pytest.approx(tuple(expected.x), abs=1e-5)
    assert loss_after_calibration(logits, target, weight) == pytest.approx(expected.fun / w.sum(), rel=1e-9)


def test_scaling_leaves_what_has_no_finite_answer():
    assert fit_scaling(np.array([-1.0, 1.0]), np.array([0.0, 1.0])) == AS_IT_IS
    assert fit_scaling(np.zeros(5), np.array([0.0, 1, 0, 1, 1])) == AS_IT_IS


def test_calibration_is_used_only_where_it_helps_on_other_rows():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, 4000)
    target = (rng.random(4000) < 1 / (1 + np.exp(-truth))).astype(float)
    kept = calibrate(truth, target, None, seed=0)
    assert kept.scaling == AS_IT_IS
    assert kept.after == kept.before
    mended = calibrate(3 * truth, target, None, seed=0)
    assert mended.scaling.slope == pytest.approx(1 / 3, rel=0.1)
    assert mended.after < mended.before
    assert "logits are multiplied by 0.3" in mended.summary()


@pytest.mark.parametrize("logits", [[1.0, 2.0], [-30.0, 30.0], [800.0, 801.0], [-800.0, -799.0, -2000.0], [0.0]])
def test_the_logit_of_a_mean_probability_keeps_its_digits(logits):
    mp.dps = 1000
    yes = sum(1 / (1 + mp.exp(-z)) for z in logits) / len(logits)
    expected = mp.log(yes) - mp.log(1 - yes)
    assert mean_logits(np.array([logits]))[0] == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


def test_logits_of_one_row_by_several_members_are_averaged():
    row = np.array([2, 0, 1, 2, 0, 1])
    logits = np.array([5.0, 1.0, 3.0, 6.0, 2.0, 4.0])
    found = pool_logits(logits, row, 3)
    assert found == pytest.approx(mean_logits(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])))
    assert pool_logits(logits[:3], row[:3], 3).tolist() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_seed_gives_the_same_bits_with_any_number_of_threads(threads):
    data, before = table(), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = fit_ensemble(data, halves(), SMALL, seed=1)
        logits = found.ensemble.logits(data.rows)
    finally:
        torch.set_num_threads(before)
    again = fit_ensemble(data, halves(), SMALL, seed=1)
    assert (logits == again.ensemble.logits(data.rows)).all()
    assert found.history[2].running == again.history[2].running
    other = fit_ensemble(data, halves(), SMALL, seed=2)
    assert (logits != other.ensemble.logits(data.rows)).any()


def test_the_epoch_is_that_of_the_least_loss_on_rows_not_learnt_from():
    data = table()
    found = fit_ensemble(data, halves(), SMALL, seed=1)
    best = min(found.history, key=lambda epoch: epoch.valid)
    assert found.history.best is best
    assert bce(found.held_out_logits, found.target).mean() == pytest.approx(best.valid, rel=1e-12)
    assert found.chosen_on.tolist() == list(range(400))
    for (_, aside), network in zip(halves(), found.ensemble.networks, strict=True):
        with torch.no_grad():
            logits = mean_logits(network(torch.from_numpy(data.rows[aside])).numpy())
        assert found.held_out_logits[aside] == pytest.approx(logits, abs=1e-5)


def test_rows_that_are_kept_aside_have_no_influence():
    data = table()
    split = [(np.arange(200), np.arange(200, 400))]
    flipped = TrainingMatrix(data.rows, np.where(np.arange(400) < 200, data.target, 1 - data.target), data.levels)
    runs = [fit_ensemble(some, split, SMALL, seed=0).history[0].running for some in (data, flipped)]
    # The start at the base rate and the edges are of all rows; what is learnt is not.
    assert runs[0] == pytest.approx(runs[1], rel=0.05)


def test_a_weight_of_zero_is_as_no_row():
    data = table()
    weight = np.where(np.arange(400) < 300, 1.0, 0.0)
    nonsense = TrainingMatrix(data.rows, np.where(weight > 0, data.target, 1), data.levels, weight)
    rows = np.arange(400)
    found = fit_ensemble(nonsense, [(rows, rows)] * 2, SMALL, seed=0)
    plain = fit_ensemble(data, [(rows, rows)] * 2, SMALL, seed=0)
    truth = data.target[300:]
    assert (
        bce(found.ensemble.logits(data.rows[300:]), truth).mean()
        < 1.3 * bce(plain.ensemble.logits(data.rows[300:]), truth).mean()
    )


def test_a_rate_that_is_too_large_is_said():
    wild = EnsembleConfig((8,), 0, 0.0, 2, 2, 1, 64, 6, 10, "sgd", 1e30, 0.0)
    with pytest.raises(InputError, match=r"the learning rate is too large; try a tenth of it"):
        fit_ensemble(table(), halves(), wild, seed=0)


def test_few_rows_are_learnt_by_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    data = table(80)
    found = fit_linear(data, halves(80), enough=True)
    one_hot = np.concatenate([data.rows[:, :3], np.eye(4)[data.rows[:, 3].astype(int)]], 1)
    expected = LogisticRegression(tol=1e-10, max_iter=10_000).fit(one_hot, data.target)
    assert found.ensemble.logits(data.rows) == pytest.approx(expected.decision_function(one_hot), abs=1e-4)
    again = fit_linear(data, halves(80), enough=True).ensemble.networks[0].state_dict()
    for name, tensor in found.ensemble.networks[0].state_dict().items():
        assert torch.equal(tensor, again[name]), name
    assert default_config(80, UserOptions()).linear
    assert not default_config(80, UserOptions(hidden=(8,))).linear
    assert not default_config(100, UserOptions()).linear


def test_time_is_shared_between_models():
    assert UserOptions(time_budget=60.0).for_each_of(6).time_budget == 10.0
    assert math.isclose(default_config(1000, UserOptions(time_budget=3.0)).time_budget or 0, 3.0)
