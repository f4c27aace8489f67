"""Three models and more, and the change between two periods."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import torchbce
from paired_models import compare, losses, models
from torchbce.comparison.evidence import holm
from torchbce.comparison.periods import what_changed

# Three and more


def test_holm_is_statsmodels():
    p = [0.01, 0.04, 0.03, 0.005, 0.7]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_each_model_is_tested_against_the_best():
    a, b, y = models(800)
    others = {"twice": 2 * a, "other": b, "plain": a}
    found = torchbce.compare_all(others, y, from_logits=True)
    means = {name: losses(z, y).mean() for name, z in others.items()}
    assert [model.name for model in found.models] == sorted(means, key=means.get)
    best, *rest = found.models
    pairs = itertools.combinations([model.name for model in found.models], 2)
    p = [stats.ttest_rel(*(losses(others[name], y) for name in pair)).pvalue for pair in pairs]
    assert [one.p_value for one in rest] == pytest.approx(multipletests(p, method="holm")[1][:2].tolist(), rel=1e-6)
    for one in rest:
        change = losses(others[one.name], y) - losses(others[best.name], y)
        reach = stats.t.ppf(1 - 0.025 / 3, 799) * stats.sem(change)  # three pairs
        assert one.interval.high - one.difference == pytest.approx(reach, rel=1e-6)
    assert "twice" in str(found)


def test_many_models_with_weights_and_clusters_are_what_two_are():
    a, b, y = models(600)
    weight = np.random.default_rng(0).exponential(1, 600)
    patient = np.arange(600) // 6
    found = torchbce.compare_all({"a": a, "b": 1.5 * b}, y, from_logits=True, weight=weight, cluster=patient)
    two = compare(a, 1.5 * b, y, weight=weight, cluster=patient)
    assert found.models[1].name == "b"
    assert found.models[1].difference == pytest.approx(two.difference)
    assert tuple(found.models[1].interval) == pytest.approx(tuple(two.interval))
    assert found.models[1].p_value == pytest.approx(two.p_value)


@pytest.mark.parametrize(("count", "sets"), [(5, 150), pytest.param(30, 50, marks=pytest.mark.combination)])
def test_of_equally_good_models_one_is_called_better_at_most_5_times_of_100(count, sets):
    called = held = best = 0
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        true = rng.normal(-0.5, 1.2, 500)
        y = (rng.random(500) < 1 / (1 + np.exp(-true))).astype(float)
        found = torchbce.compare_all(
            {str(i): true + 0.5 * rng.normal(size=500) for i in range(count)}, y, from_logits=True
        )
        called += any(model.p_value < 0.05 for model in found.models[1:])
        held += all(model.interval.low <= 0 <= model.interval.high for model in found.models)
        best += found.verdict.endswith("is the best.")
    most = stats.binom.ppf(0.999, sets, 0.05)
    assert called <= most
    assert held >= sets - most
    assert best <= called


def test_a_model_that_is_far_better_is_the_best_of_many():
    a, b, y = models(2000)
    others = {f"blurred {n}": b + np.random.default_rng(n).normal(0, 2, 2000) for n in range(9)}
    assert torchbce.compare_all({"clear": a, **others}, y, from_logits=True).verdict == "clear is the best."


@pytest.mark.parametrize("far", [1e9, np.inf])
def test_a_model_that_is_far_out_disturbs_no_other(far):
    a, b, y = models(500)
    huge = np.where(np.arange(500) % 2 == 0, far, -far)
    alone = torchbce.compare_all({"a": a, "b": 2 * b}, y, from_logits=True)
    for names in (["h", "a", "b"], ["a", "b", "h"]):
        given = {name: {"h": huge, "a": a, "b": 2 * b}[name] for name in names}
        found = torchbce.compare_all(given, y, from_logits=True)
        assert [model.name for model in found.models] == ["a", "b", "h"]
        assert found.models[1].difference == pytest.approx(alone.models[1].difference)
        looked_at = 3 if math.isinf(far) else 1  # Holm's factor; of a finite one the p-value is the least
        assert found.models[1].p_value == pytest.approx(looked_at * alone.models[1].p_value, rel=1e-6)


def test_tables_of_models_are_taken_and_what_is_none_is_named():
    a, b, y = models(300)
    expected = str(torchbce.compare_all({"0": a, "1": b}, y, from_logits=True))
    for kind in (pytest.importorskip("pandas").DataFrame, pytest.importorskip("polars").DataFrame):
        assert str(torchbce.compare_all(kind({"0": a, "1": b}), y, from_logits=True)) == expected
    assert str(torchbce.compare_all({0: a, 1: b}, y, from_logits=True)) == expected
    for models_, options, words in (
        ([a, b], {}, "models is a list"),
        ({"a": a}, {}, "there are 1 models"),
        ({"a": a, "b": b}, {"weight": 0}, "all weights are 0"),
    ):
        with pytest.raises(ValueError, match=words):
            torchbce.compare_all(models_, y, from_logits=True, **options)


@pytest.mark.parametrize("given", ["yes", 1, (True,), (True, False, True), None])
def test_what_the_outputs_are_is_never_guessed(given):
    a, b, y = models(50)
    with pytest.raises(ValueError, match="from_logits is"):
        torchbce.compare(a, b, y, from_logits=given)


def test_clusters_without_weight_do_not_count():
    a, b, y = models(600)
    patient = np.arange(600) // 10
    weight = (patient < 30).astype(float)
    some = compare(a, 1.5 * b, y, weight=weight, cluster=patient)
    fewer = compare(a[:300], 1.5 * b[:300], y[:300], cluster=patient[:300])
    assert some.p_value == pytest.approx(fewer.p_value)
    assert tuple(some.interval) == pytest.approx(tuple(fewer.interval))


# Periods


def test_the_change_of_a_weighted_mean_has_the_error_of_the_ratio():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.4).astype(float)
    w = rng.gamma(1, 1, 2000)
    same = [torchbce.explain(np.zeros(2000), y, from_logits=True, weight=k * rng.permutation(w)) for k in (1, 3)]
    found = what_changed(*same)
    assert found.total.interval == pytest.approx((0, 0), abs=1e-9)  # every item costs log 2
    a, _, y = models(400)
    mask = np.arange(400) < 150
    weighted, dropped = (
        torchbce.explain(a[rows], y[rows], from_logits=True, weight=weight)
        for rows, weight in ((slice(None), mask.astype(float)), (mask, None))
    )
    assert weighted.intervals["weighted_mean"] == pytest.approx(dropped.intervals["mean"], rel=0.01)


def test_an_infinite_mean_is_not_called_unchanged():
    a, _, y = models(300)
    far = a.copy()
    far[np.argmax(y)] = -np.inf
    before, after = (torchbce.explain(z, y, from_logits=True) for z in (far, a))
    assert what_changed(before, after).verdict == "The means cannot be compared: one of them is infinite."
