"""Calibration beside unpenalised logistic regression, at any base rate, and where items depend on each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from torchbce import check_predictions, explain
from torchbce.explanation.statistics.calibration import Calibration


def predictions(base_rate, n, slope, shift, seed=0):
    """Logits that `slope * logit + shift` would make right."""
    rng = np.random.default_rng(seed)
    right = rng.normal(math.log(base_rate / (1 - base_rate)) - 0.5, 1.2, n)
    return (right - shift) / slope, (rng.random(n) < expit(right)).astype(float)


@pytest.mark.grid
@pytest.mark.parametrize(("base_rate", "n"), [(0.0005, 300_000), (0.003, 20_000), (0.05, 20_000), (0.5, 20_000)])
@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (1.0, -math.log(10)), (0.5, 0.3), (2.0, 1.0)])
def test_the_line_is_that_of_logistic_regression_without_penalty(base_rate, n, slope, shift):
    z, y = predictions(base_rate, n, slope, shift)
    assert y.sum() >= 50
    found = explain(z, y, from_logits=True).calibration
    exact = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:, None], y)
    assert found.slope == pytest.approx(exact.coef_[0, 0], rel=0.03)
    assert found.shift == pytest.approx(exact.intercept_[0], abs=0.1)


def test_separable_data_have_a_line_all_the_same():
    z = np.r_[np.linspace(-3, -1, 100), np.linspace(1, 3, 100)]
    found = explain(z, np.repeat([0.0, 1.0], 100), from_logits=True).calibration
    assert 1 < found.slope < 100
    assert abs(found.shift) < 1e-6


def test_over_confidence_about_rare_events_is_called_so():
    z, y = predictions(0.001, 300_000, 0.5, 0.0)
    words = str(explain(z, y, from_logits=True).miscalibrated)
    assert words.startswith("over-confident")
    z, y = predictions(0.001, 300_000, 1.0, -math.log(3))  # as after pos_weight=3
    found = check_predictions(z, y, from_logits=True)
    assert [finding.code for finding in found.issues] == ["BCE028"]
    assert "pos_weight=" in found["BCE028"].fix


def test_what_matters_is_measured_by_the_entropy():
    assert Calibration(1.0, -1.1, gain=0.0012, p_value=1e-100).is_off(entropy=0.0079)
    assert not Calibration(1.0, -0.1, gain=0.0012, p_value=1e-100).is_off(entropy=0.69)


def dependent(rng, clusters=60, size=40):
    """Predictions that are right for each item, of clusters whose items share an effect and their inputs."""
    effect, x = (rng.normal(0, 1, clusters).repeat(size) for _ in range(2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    marginal = (expit(x[:, None] - 1 + nodes) * weights / weights.sum()).sum(1)
    y = (rng.random(len(x)) < expit(x - 1 + effect)).astype(float)
    return marginal, y, np.arange(clusters).repeat(size)


def test_errors_of_dependent_items_are_those_of_their_clusters():
    rng = np.random.default_rng(0)
    alone, clustered, means, errors = 0, 0, [], []
    for _ in range(60):
        p, y, cluster = dependent(rng)
        one = explain(p, y, from_logits=False)
        other = explain(p, y, from_logits=False, cluster=cluster)
        alone += one.calibration.p_value < 0.05
        clustered += other.calibration.p_value < 0.05
        means.append(other.mean)
        errors.append(other.standard_error)
    assert alone > 20  # of 60 right models: what clusters are for
    assert clustered <= 9  # 3 are expected; more than 9 come once in 1,000 times
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.3)


def test_clusters_of_one_item_change_little():
    z, y = predictions(0.2, 5000, 1.0, 0.0)
    one, other = explain(z, y, from_logits=True), explain(z, y, from_logits=True, cluster=np.arange(5000))
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-3)
    assert other.calibration.p_value == pytest.approx(one.calibration.p_value, abs=0.05)
    assert other.design_effect == pytest.approx(1.0, rel=2e-3)


def test_too_few_clusters_say_so():
    z, y = predictions(0.2, 500, 1.0, 0.0)
    found = explain(z, y, from_logits=True, cluster=np.arange(500) % 4)
    assert math.isnan(found.standard_error)
    assert "4 clusters say too little of how far they differ" in str(found)


def test_without_clusters_one_sentence_says_what_is_assumed():
    z, y = predictions(0.2, 500, 1.0, 0.0)
    assert str(explain(z, y, from_logits=True)).count("taking items for independent") == 1
    assert "as 50 clusters of items differ" in str(explain(z, y, from_logits=True, cluster=np.arange(500) // 10))


def test_items_of_two_dimensions_are_named_by_row_and_column():
    found = explain([[0.6, 0.2], [0.7, 0.01]], [[1, 0], [1, 1]], from_logits=False)
    assert [(item.place, item.row) for item in found.items] == [("1, 1", 1), ("1, 2", 1), ("2, 1", 2), ("2, 2", 2)]
    column = explain([[0.6], [0.2]], [[1], [0]], from_logits=False)
    assert [item.place for item in column.items] == ["1", "2"]
    with pytest.raises(ValueError, match="item 2, 1 is 7"):
        explain([[0.5, 0.5], [7, 0.5]], [[1, 0], [1, 1]], from_logits=False)


def test_what_clamped_items_cost_is_said_as_it_is():
    found = str(explain([0.0, 0.5], [0.5, 1], from_logits=False))
    assert "1 item gave probability 0 to what happened; torch takes log(0) for -100, so this costs 50 nats" in found
    weighted = str(explain([0.0, 0.5], [1, 1], from_logits=False, weight=[3.0, 1.0]))
    assert "costs 300 nats" in weighted
