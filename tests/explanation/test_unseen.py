"""Near separation an interval reaches up to what may not have been seen, and says so; the verdict boasts of nothing."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchbce import explain
from torchbce.explanation.sketch.points import Points
from torchbce.explanation.statistics.intervals import Interval, interval_of_mean
from torchbce.explanation.statistics.unseen import ENOUGH, unseen


def leaked(n: int, wrong: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits around -7 and 7, as a column that holds the answer gives them, but for a share of the rows."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    z = np.where(y, 1, -1) * np.abs(rng.normal(7, 1.5, n))
    return z, (y ^ (rng.random(n) < wrong)).astype(float)


def steep(n: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right, near 0 and 1 for most."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, spread, n)
    return z, (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)


def losses_of(z, y):
    return np.logaddexp(0, z) - y * z


CASES = [(leaked, 150, 5e-4), (leaked, 500, 5e-4), (leaked, 500, 3e-3), (leaked, 2000, 1e-3), (leaked, 500, 1e-2)]
CASES += [(steep, 150, 10.0), (steep, 500, 30.0), (steep, 500, 6.0)]


def interval_of(z, y) -> tuple[Interval, float]:
    """By Student's t without skewness, and how far it has to reach."""
    losses = losses_of(z, y)
    rest = losses - losses.mean()
    skew = (rest**3).sum() / (rest @ rest) ** 1.5
    around = interval_of_mean(losses.mean(), losses.std(ddof=1) / math.sqrt(len(z)), skew, len(z))
    return around, losses.mean() + unseen(Points.of(z, y), len(z), len(z)).reach


@pytest.mark.parametrize(("source", "n", "how"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_the_interval_holds_near_separation(source, n, how):
    sets, truth = 400, losses_of(*source(1_000_000, how, 10**6)).mean()
    inside = 0
    for seed in range(sets):
        around, far = interval_of(*source(n, how, seed))
        low, high = around.holding(far)
        inside += low <= truth <= high
    assert inside >= 0.93 * sets


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_has_this_interval_by_weight_too(seed):
    z, y = leaked(500, 3e-3, seed)
    around, far = interval_of(z, y)
    for found in (explain(z, y, from_logits=True), explain(z, y, from_logits=True, weight=np.full(500, 3.0))):
        assert tuple(found.intervals["weighted_mean"]) == pytest.approx(
            tuple(around.within(0.0, math.inf).holding(far))
        )
    assert found.intervals["mean"].high == pytest.approx(3 * max(far, around.high))


def test_the_reach_is_that_of_the_rule_of_three():
    z, y = np.array([6.0, -5.0, 4.0, -7.0, 6.0, 5.0, 1.0, -4.0, -6.0, -5.0]), np.zeros(10)
    y[[0, 2, 4, 5]] = 1  # the one of 1.0 is wrong
    found = unseen(Points.of(z, y), 10, 10)
    assert found.errors == pytest.approx(1)
    assert found.reach == pytest.approx(-math.log(0.025) / 10 * np.logaddexp(0, np.abs(z)).mean())
    assert unseen(Points.of(z, 1 - y), 10, 10) == ENOUGH
    shown = explain(np.tile(z, 3), np.tile(y, 3), from_logits=True)
    assert shown.errors == pytest.approx(3)
    assert shown.intervals["mean"].high >= shown.mean + found.reach / 3


def test_a_loss_that_could_be_infinite_has_no_upper_bound():
    y = np.arange(60) % 2
    found = explain(np.where(y, math.inf, -math.inf), y, from_logits=True)
    assert (found.mean, found.intervals["mean"].high) == (0.0, math.inf)
    assert found.to_dict()["intervals"]["mean"][1] is None
    sure = explain(y.astype(float), y, from_logits=False)  # each logarithm is at least -100
    assert sure.intervals["mean"].high == pytest.approx(-math.log(0.025) / 60 * 100)


def test_clusters_are_what_could_have_been_seen():
    z, y = leaked(400, 0.0, 0)
    alone = explain(z, y, from_logits=True)
    together = explain(z, y, from_logits=True, cluster=np.arange(400) // 10)
    assert together.intervals["mean"].high == pytest.approx(
        together.mean + 10 * (alone.intervals["mean"].high - alone.mean)
    )


@pytest.mark.parametrize("wrong", [0.1, 0.02])
def test_where_enough_items_are_wrong_nothing_changes(wrong):
    z, y = leaked(1000, wrong, 0)
    found, (around, far) = explain(z, y, from_logits=True), interval_of(z, y)
    assert tuple(found.intervals["mean"]) == pytest.approx(tuple(around))
    assert far == pytest.approx(found.mean)
    assert found.errors is None
    assert "too few to tell" not in str(found)


def test_what_rests_on_a_handful_says_so_and_d2_and_its_parts_are_as_unsure():
    z, y = leaked(1000, 0.0, 0)
    found = explain(z, y, from_logits=True)
    reach = found.intervals["mean"].high - found.mean
    assert reach > 20 * found.standard_error
    assert "the truth of 0 of 1,000 items was given at most 1/2, too few to tell what others cost" in str(found)
    assert f"+- {found.standard_error:.4f}" not in str(found)
    assert found.intervals["d2"].low == pytest.approx(found.d2 - reach / found.baseline)
    parts = found.decomposition
    assert parts.discrimination_interval.low == pytest.approx(parts.discrimination - reach)
    assert parts.miscalibration_interval.high == pytest.approx(parts.miscalibration + reach)


def test_a_verdict_on_a_leak_neither_boasts_nor_calms():
    found = explain(*leaked(4000, 0.0001, 0), from_logits=True)
    assert found.auc > 0.999
    assert found.verdict.startswith("The classes are told apart almost without error (AUC ")
    for text in (found.verdict, str(found)):
        assert "no sign of miscalibration" not in text
        assert "is saved" not in text
    assert "cannot be told, as almost no item contradicts the model" in str(found)
    ordinary = explain(*steep(1000, 2.0, 0), from_logits=True)
    assert "no sign of miscalibration" in ordinary.verdict
    assert "is saved" in ordinary.verdict


def test_training_on_a_leaked_column_prints_how_far_the_estimate_may_be_off(command):
    rng = np.random.default_rng(0)
    y = (np.arange(600) % 2)[rng.permutation(600)]
    table = {"leak": y + rng.normal(0, 0.05, 600), "x": rng.normal(size=600), "y": y}
    pl.DataFrame(table).write_parquet("t.parquet")
    quick = ("--epochs", 10, "--hidden", 8, "--lr", 0.05, "--members", 2, "--no-trees", "--test-share", 0.3)
    said = command("train", "t.parquet", "--target", "y", "--out", "run", *quick)
    assert said.exit_code == 0, said.output
    numbers = re.search(r"estimate\s+(\S+) \(from (\S+) to (\S+), 95 %\) nats", said.stdout)
    mean, low, high = map(float, numbers.groups())
    assert low <= mean < high
    assert high - mean > 0.01
    card = Path("run/MODEL_CARD.md").read_text()
    for text in (said.stdout, card):
        assert "was given at most 1/2, too few to tell" in text
        assert f"from {numbers.group(2)} to {numbers.group(3)}" in text
        assert "no sign of miscalibration" not in text
    assert float(re.search(r"AUC (\S+)", said.stdout).group(1)) > 0.999
