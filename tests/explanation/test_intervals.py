"""Intervals of what explain prints, beside SciPy, statsmodels, brute force and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from torchbce import explain
from torchbce.explanation.data.summarize import sketched
from torchbce.explanation.explain import explanation
from torchbce.explanation.sketch.points import Points
from torchbce.explanation.statistics.auc import auc, auc_interval
from torchbce.explanation.statistics.intervals import interval_of_difference, interval_of_mean, quantile
from torchbce.explanation.statistics.sample import Sample


def predictions(n, rate=0.3, seed=0, slope=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    true = math.log(rate / (1 - rate)) + rng.normal(0, 1.5, n)
    return slope * true + shift, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)


def losses_of(z, y):
    return np.logaddexp(0, z) - y * z


def test_without_skewness_it_is_students_interval():
    values = np.array([0.1, 0.3, 0.35, 0.5, 0.65, 0.7, 0.9])  # symmetric
    theirs = stats.ttest_1samp(values, 0).confidence_interval()
    ours = interval_of_mean(values.mean(), stats.sem(values), 0.0, len(values))
    assert tuple(ours) == pytest.approx(tuple(theirs))


@pytest.mark.parametrize("skew", [-0.4, -0.01, 0.01, 0.4])
def test_the_correction_for_skewness_undoes_halls_cubic(skew):
    n, error, mean = 80, 0.02, 0.3
    for bound, sign in zip(interval_of_mean(mean, error, skew, n), (1, -1), strict=True):
        t = (mean - bound) / error
        cubic = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
        assert cubic == pytest.approx(sign * quantile(n - 1))


def test_the_interval_of_the_mean_is_that_of_its_losses():
    z, y = predictions(400)
    losses = losses_of(z, y)
    skew = stats.skew(losses) / math.sqrt(len(losses))
    expected = interval_of_mean(losses.mean(), stats.sem(losses), skew, len(losses))
    assert tuple(explain(z, y, from_logits=True).intervals["mean"]) == pytest.approx(tuple(expected))


def test_intervals_add_up_over_shards():
    z, y = predictions(3000)
    by = np.where(np.arange(3000) % 3 == 0, "a", "b")
    whole = explain(z, y, from_logits=True, by=by)
    first, second = (
        sketched(z[part], y[part], from_logits=True, rows=np.arange(1, 3001)[part], by=by[part])[0]
        for part in (slice(0, 700), slice(700, None))
    )
    first.merge(second)
    found = explanation(first)
    for name, interval in whole.intervals.items():
        assert tuple(found.intervals[name]) == pytest.approx(tuple(interval), rel=1e-9), name
    for a, b in zip(found.groups, whole.groups, strict=True):
        assert tuple(a.interval) == pytest.approx(tuple(b.interval), rel=1e-9)


def test_slope_and_shift_have_the_errors_of_statsmodels():
    z, y = predictions(2000, slope=1.5, shift=0.4)
    found = explain(z, y, from_logits=True).calibration
    theirs = sm.Logit(y, np.stack([z, np.ones(2000)], 1)).fit(disp=0, cov_type="HC0").bse
    for interval, error in zip((found.slope_interval, found.shift_interval), theirs, strict=True):
        assert (interval.high - interval.low) / 2 / quantile(1999) == pytest.approx(error, rel=2e-3)


def test_slope_and_shift_of_clusters_have_the_errors_of_statsmodels():
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(150), 8)
    true = rng.normal(-1, 1, 150)[patient] + rng.normal(0, 1, 1200)
    y = (rng.random(1200) < 1 / (1 + np.exp(-true))).astype(float)
    found = explain(true, y, from_logits=True, cluster=patient).calibration
    theirs = sm.Logit(y, np.stack([true, np.ones(1200)], 1)).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": patient}
    )
    # Ours takes the scores where slope is 1 and shift 0, which is near.
    for interval, error in zip((found.slope_interval, found.shift_interval), theirs.bse, strict=True):
        assert (interval.high - interval.low) / 2 / quantile(1199) == pytest.approx(error, rel=0.05)


def test_auc_has_the_variance_of_delong():
    z, y = predictions(300)
    z = z.round(1)  # with ties
    pairs = (np.sign(z[y == 1][:, None] - z[y == 0][None]) + 1) / 2
    variance = pairs.mean(1).var(ddof=1) / (y == 1).sum() + pairs.mean(0).var(ddof=1) / (y == 0).sum()
    points = Points.of(z, y)
    value = auc(points)
    assert value == pytest.approx(pairs.mean())
    low, high = auc_interval(Sample(points))
    odds = [math.log(bound / (1 - bound)) for bound in (low, value, high)]
    reach = quantile(len(z) - 1) * math.sqrt(variance) / (value * (1 - value))
    assert odds[2] - odds[1] == pytest.approx(reach)
    assert odds[1] - odds[0] == pytest.approx(reach)


def test_a_perfect_order_of_few_items_proves_little():
    z, y = np.arange(20.0), (np.arange(20) >= 10).astype(float)
    low, high = auc_interval(Sample(Points.of(z, y)))
    assert high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 10))  # ten independent pairs, all in order
    assert auc_interval(Sample(Points.of(-z, y))) == pytest.approx((0.0, 1 - low))


@pytest.mark.parametrize("sets", [80, pytest.param(400, marks=pytest.mark.combination)])
@pytest.mark.parametrize(("n", "rate"), [(150, 0.5), (150, 0.1), (2000, 0.02)])
def test_intervals_hold_about_95_times_of_100(n, rate, sets):
    far = predictions(400_000, rate, seed=10**6)
    truth = losses_of(*far).mean()
    entropy = stats.bernoulli(far[1].mean()).entropy()
    inside = {"mean": 0, "d2": 0, "base_rate": 0, "slope": 0}
    for seed in range(sets):
        found = explanation(sketched(*predictions(n, rate, seed), from_logits=True)[0], bands=False)
        intervals = found.intervals | {"slope": found.calibration.slope_interval if found.calibration else (0.0, 9.0)}
        true = {"mean": truth, "d2": 1 - truth / entropy, "base_rate": far[1].mean(), "slope": 1.0}
        for name in inside:
            low, high = intervals[name]
            inside[name] += low <= true[name] <= high
    for name, count in inside.items():
        assert stats.binomtest(count, sets, 0.95).pvalue > 1e-3, (name, count)


def test_too_few_of_a_class_give_no_interval():
    found = explain([-2.0, -1.0, -3.0, 1.0], [0, 0, 0, 1], from_logits=True)
    assert all(math.isnan(found.intervals[name].low) for name in ("mean", "d2", "auc"))
    assert "none: there are too few items of one class" in str(found)
    assert found.to_dict()["intervals"]["mean"] == [None, None]


def test_the_difference_of_two_intervals_is_that_of_normal_errors():
    first, second = (interval_of_mean(mean, error, 0.0, math.inf) for mean, error in ((0.3, 0.03), (0.5, 0.04)))
    low, high = interval_of_difference(0.3, first, 0.5, second)
    assert (low, high) == pytest.approx((0.2 - 1.959964 * 0.05, 0.2 + 1.959964 * 0.05))


def test_a_count_beyond_64_bits_has_the_quantile_of_any_large_one():
    from torchbce.explanation.statistics.intervals import quantile

    assert quantile(3 * 10**38) == pytest.approx(quantile(1e9))
