"""Comparisons of models beside SciPy, statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import stats

import torchbce
from paired_models import compare, losses, models
from torchbce.comparison.compare import comparison
from torchbce.comparison.pairs import Pairs


def test_the_test_is_students_for_pairs():
    a, b, y = models(500)
    found, theirs = compare(a, 1.3 * b, y), stats.ttest_rel(losses(1.3 * b, y), losses(a, y))
    assert found.difference == pytest.approx((losses(1.3 * b, y) - losses(a, y)).mean())
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert tuple(found.interval) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_the_interval_is_near_the_bootstraps():
    a, b, y = models(300, seed=1)
    change = losses(1.5 * b, y) - losses(a, y)
    theirs = stats.bootstrap((change,), np.mean, method="percentile", rng=0).confidence_interval
    assert tuple(compare(a, 1.5 * b, y).interval) == pytest.approx(tuple(theirs), abs=0.15 * (theirs[1] - theirs[0]))


def test_clusters_have_the_errors_of_statsmodels():
    a, b, y = models(600)
    patient = np.random.default_rng(0).integers(0, 60, 600)
    change = losses(1.4 * b, y) - losses(a, y)
    theirs = sm.OLS(change, np.ones(600)).fit(cov_type="cluster", cov_kwds={"groups": patient}, use_t=True)
    found = compare(a, 1.4 * b, y, cluster=patient)
    assert found.clusters == 60
    # Ours leaves out one cluster at a time, and counts them as if of one size.
    assert tuple(found.interval) == pytest.approx(tuple(theirs.conf_int()[0]), rel=1e-2)
    assert found.evidence.standard_error == pytest.approx(theirs.bse[0], rel=1e-2)
    sizes = np.bincount(patient)
    assert found.evidence.freedom == pytest.approx(600**2 / (sizes @ sizes) - 1)


def test_weights_have_the_errors_of_statsmodels():
    a, b, y = models(600)
    weight = np.random.default_rng(0).exponential(1, 600)
    change = losses(1.4 * b, y) - losses(a, y)
    theirs = sm.WLS(change, np.ones(600), weights=weight).fit(cov_type="HC1", use_t=True)
    found = compare(a, 1.4 * b, y, weight=weight)
    assert found.difference == pytest.approx(np.average(change, weights=weight))
    count = weight.sum() ** 2 / (weight @ weight)  # of equal weight
    factor = math.sqrt(count / (count - 1) / (600 / 599))
    assert found.evidence.standard_error == pytest.approx(factor * theirs.bse[0], rel=1e-6)


def test_the_parts_add_up_to_the_difference():
    a, b, y = models(4000)
    found = compare(a, 2 * b + 0.3, y)
    assert found.parts.separation.nats + found.parts.calibration.nats == pytest.approx(found.difference, rel=1e-9)


def test_models_that_rank_alike_differ_in_calibration_alone():
    a, _, y = models(5000)
    for slope, shift in ((1.5, 0.0), (0.4, 1.0), (1.0, -0.5)):
        found = compare(a, slope * a + shift, y)
        assert abs(found.parts.separation.nats) < 1e-6
        assert found.parts.calibration.nats == pytest.approx(found.difference, abs=1e-6)
        assert found.verdict.endswith(": its calibration, not its ranking.")
        assert found.parts.auc.nats == pytest.approx(0, abs=1e-12)


def test_the_verdict_names_the_part_that_differs():
    a, _, y = models(20_000)
    rng = np.random.default_rng(5)
    assert "is worse by" in compare(a, 2 * a, y).verdict
    assert compare(a, 2 * a, y).verdict.endswith(": its calibration, not its ranking.")
    slope = torchbce.explain(a, y, from_logits=True).calibration.slope
    blurred = a + rng.normal(0, 1.5, len(a))
    refit = torchbce.explain(blurred, y, from_logits=True).calibration
    right = (slope * a, refit.slope * blurred + refit.shift)  # both calibrated
    assert compare(*right, y).verdict.endswith(": its ranking, not its calibration.")
    assert compare(right[0], 2 * blurred, y).verdict.endswith(": both its ranking and its calibration.")


def test_the_auc_difference_has_the_variance_of_delong():
    a, b, y = models(300)
    variance = 0.0
    placed = []
    for z in (a, b):
        pairs = (np.sign(z[y == 1][:, None] - z[y == 0][None]) + 1) / 2
        placed.append((pairs.mean(1), pairs.mean(0)))
    for in_a, in_b in zip(*placed, strict=True):
        variance += np.var(in_b - in_a, ddof=1) / len(in_a)
    part = compare(a, b, y).parts.auc
    assert part.nats == pytest.approx(placed[1][0].mean() - placed[0][0].mean())
    reach = stats.t.ppf(0.975, 299) * math.sqrt(variance)
    assert part.interval.high - part.nats == pytest.approx(reach, rel=1e-6)


@pytest.mark.parametrize("sets", [40, pytest.param(400, marks=pytest.mark.combination)])
@pytest.mark.parametrize(("n", "rate"), [(100, 0.5), (2000, 0.03)])
def test_equally_good_models_differ_5_times_of_100(n, rate, sets):
    found = [compare(*models(n, rate, seed), names=("a", "b")).p_value for seed in range(sets)]
    given = [p for p in found if p is not None]
    assert len(given) > 0.9 * sets
    assert stats.binomtest(sum(p < 0.05 for p in given), len(given), 0.05).pvalue > 1e-3


def test_shards_add_up():
    a, b, y = (torch.from_numpy(values) for values in models(5000))
    groups = (np.arange(5000) % 3, ["u", "v", "w"])
    clusters = (np.arange(5000) // 10, [str(i) for i in range(500)])
    rows = np.arange(1, 5001)
    whole, first, second = (Pairs((True, True)) for _ in range(3))
    for pairs, part in ((whole, slice(None)), (first, slice(0, 1234)), (second, slice(1234, None))):
        pairs.add(
            (a[part], b[part]),
            y[part],
            rows=rows[part],
            groups=(groups[0][part], groups[1]),
            clusters=(clusters[0][part], clusters[1]),
        )
    first.merge(second)
    one, other = comparison(whole).to_dict(), comparison(first).to_dict()

    def same(x, z):
        if isinstance(x, dict):
            assert x.keys() == z.keys()
            for name in x:
                same(x[name], z[name])
        elif isinstance(x, list):
            assert len(x) == len(z)
            for left, right in zip(x, z, strict=True):
                same(left, right)
        elif isinstance(x, float):
            assert x == pytest.approx(z, rel=1e-7, abs=1e-12)
        else:
            assert x == z

    same(one, other)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1, -18), (20, 0), (0.02, 0)])
def test_errors_of_parts_of_many_pairs_are_those_of_a_sample_of_them(scale, shift):
    rng = np.random.default_rng(3)
    true = rng.normal(0, 1.5, 100_000)
    y = (rng.random(100_000) < 1 / (1 + np.exp(-true))).astype(float)
    a, b = (scale * (true + blur * rng.normal(size=100_000)) + shift for blur in (0.5, 0.45))
    found = compare(a, b, y).parts.auc
    variance = 0.0
    for label in (0, 1):  # DeLong's placements by ranks
        placed = []
        for z in (a, b):
            mine, others = z[y == label], np.sort(z[y != label])
            placed.append(np.searchsorted(others, mine) / len(others))
        variance += np.var(placed[1] - placed[0], ddof=1) / len(placed[0])
    reach = stats.norm.ppf(0.975) * math.sqrt(variance)
    assert found.interval.high - found.nats == pytest.approx(reach, rel=0.05)


def test_groups_and_bands_add_up_to_the_difference():
    a, b, y = models(3000)
    found = compare(a, 1.3 * b, y, groups=np.where(np.arange(3000) % 2, "odd", "even"))
    for slots in (found.bands, found.groups):
        assert sum(slot.share for slot in slots) == pytest.approx(1)
        assert sum(slot.count * slot.difference for slot in slots) / 3000 == pytest.approx(found.difference)


def test_the_items_that_changed_most_are_named():
    a, b, y = models(3000)
    change = losses(b, y) - losses(a, y)
    found = compare(a, b, y)
    assert [item.row - 1 for item in found.gained[:5]] == np.argsort(change)[:5].tolist()
    assert [item.row - 1 for item in found.lost[:5]] == np.argsort(-change)[:5].tolist()
    assert found.lost[0].change == pytest.approx(change.max())


def test_how_many_more_items_would_decide():
    a, b, y = models(200, seed=3)
    found = compare(a, b, y)
    change = losses(b, y) - losses(a, y)
    wanted = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * change.std(ddof=1) / change.mean()) ** 2
    assert found.more_items == pytest.approx(wanted - 200, abs=1)
    a, b, y = models(2000)
    assert compare(a, 3 * b, y).more_items == 0


@pytest.mark.parametrize(
    ("n", "ones", "reason"),
    [(20, 10, "20 items are too few"), (1000, 12, "12 items of the rarer class: too few")],
)
def test_too_few_items_give_no_p_and_say_so(n, ones, reason):
    rng = np.random.default_rng(0)
    y = np.zeros(n)
    y[:ones] = 1
    found = compare(rng.normal(0, 1, n), rng.normal(0, 1, n), y)
    assert found.p_value is None
    assert reason in found.verdict
    assert math.isfinite(found.interval.low)
    assert found.to_dict()["p_value"] is None


@pytest.mark.parametrize("n", [20, 300])
def test_a_verdict_that_does_not_say_which_is_better_names_no_better_one(n):
    a, _, y = models(n)
    b = a + np.random.default_rng(1).normal(0, 0.05, n)
    found = compare(a, b, y)
    assert (found.p_value is None) == (n == 20)
    assert found.interval.low < 0 < found.interval.high
    assert found.verdict.startswith("These items do not show whether a or b is better: ")
    assert found.verdict.count("better") == 1
    assert f"the BCE of b is {'lower' if found.difference < 0 else 'higher'} by" in found.verdict.replace("The", "the")
    verdict = torchbce.compare_all({"a": a, "b": b}, y, from_logits=True).verdict
    assert "has the least loss; these items do not show that it is better" in verdict


def test_clusters_without_the_rarer_class_give_no_p():
    a, b, y = models(400)
    patient = np.where(y == 1, 0, np.arange(400))
    found = compare(a, b, y, cluster=patient)
    assert found.p_value is None
    assert "1 cluster with items of the rarer class" in found.verdict


def test_the_same_predictions_are_called_the_same():
    a, _, y = models(300)
    found = compare(a, a, y)
    assert found.p_value == 1.0
    assert found.verdict == "a and b give every item the same loss."


def test_probabilities_and_logits_may_be_mixed():
    a, b, y = models(300)
    mixed = torchbce.compare(a, 1 / (1 + np.exp(-b)), y, from_logits=(True, False))
    assert mixed.difference == pytest.approx(compare(a, b, y).difference, rel=1e-9)
    assert mixed.p_value == pytest.approx(compare(a, b, y).p_value, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_items_is_told_without_figures_that_cannot_be(n):
    for a, b, y in ((np.zeros(n), np.ones(n), np.ones(n)), models(n)):
        text = str(compare(a, b, y))
        assert "nan" not in text
        assert "too few" in text or "every item differs by the same" in text
        assert "nan" not in str(torchbce.compare_all({"a": a, "b": b}, y, from_logits=True))


def test_an_infinite_loss_is_said():
    a, b, y = models(100)
    b[0], y[0] = -np.inf, 1
    assert compare(a, b, y).verdict == "The losses cannot be compared: one of them is infinite."


def test_tables_of_all_kinds_are_taken():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    a, b, y = models(100)
    expected = compare(a, b, y).difference
    for kind in (list, torch.from_numpy, pandas.Series, polars.Series):
        assert compare(kind(a), kind(b), kind(y)).difference == pytest.approx(expected), kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": [0.5, 0.5]}, r"b has the shape \(2,\) and targets \(3,\)"),
        ({"b": [0.5, 1.5, 0.5]}, r"b: item 2 is 1\.5 \(1 such item\); probabilities lie in \[0, 1\]"),
        ({"targets": [0, 2, 1]}, "targets: item 2 is 2"),
        ({"a": [], "b": [], "targets": []}, "there are no items"),
        ({"groups": ["u"]}, "groups has 1 values"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"a": [0.1, 0.2, 0.3], "b": [0.2, 0.3, 0.4], "targets": [0, 0, 1]} | change
    with pytest.raises(ValueError, match=message):
        torchbce.compare(**given, from_logits=False)
