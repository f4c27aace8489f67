"""find_label_errors: SciPy's own optimum, flips that are known, and errors that name the item."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import differential_evolution
from scipy.stats import binomtest

from noisy_labels import ANY, noisy, sigmoid
from torchbce.explanation.sketch.points import Points
from torchbce.labels.find_label_errors import find_label_errors
from torchbce.labels.noise import BINS, DEVIANCE, Bins, Curve, fitted, least_rates
from torchbce.labels.tails import FRACTIONS, LEVEL, Labelled, surest


def bins(z, y):
    points = Points.of(z, y)
    return Bins.of(points.logits, points.total_weight, points.total_positive, points.squares)


def by_hand(z, y, at):
    """The loss of the curve, item by item."""
    below, above, shift, zero, one = at
    p = zero + (1 - zero - one) * sigmoid(np.where(z < 0, below, above) * z + shift)
    return -np.log(np.where(y == 1, p, 1 - p)).sum()


def parameters(curve: Curve):
    return curve.below, curve.above, curve.shift, curve.false_ones, curve.false_zeros


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.05, 0.1), (0.2, 0.01)])
def test_the_curve_is_as_good_as_a_global_search_finds(rates):
    z, y, _ = noisy(600, *rates)
    curve = fitted(bins(z, y), ANY, ANY)
    box = [(0.2, 5), (0.2, 5), (-3, 3), ANY, ANY]
    searched = differential_evolution(lambda at: by_hand(z, y, at), box, seed=0, maxiter=150, tol=1e-10)
    assert by_hand(z, y, parameters(curve)) == pytest.approx(searched.fun, abs=0.02)


def test_bins_of_equal_weight_change_nothing_that_matters():
    z, y, _ = noisy(60_000, 0.03, 0.08)
    points = Points.of(z, y)
    coarse = bins(z, y)
    assert len(coarse.logits) == BINS
    assert coarse.weight.sum() == len(z)
    assert coarse.positive.sum() == y.sum()
    exact = Bins(points.logits, points.total_weight, points.total_positive, points.squares)
    assert fitted(coarse, ANY, ANY).rates == pytest.approx(fitted(exact, ANY, ANY).rates, abs=2e-4)


def test_the_lower_limit_of_a_rate_is_where_its_profile_has_fallen_by_the_deviance():
    z, y, _ = noisy(5_000, 0.05, 0.1)
    all_of_it = bins(z, y)
    best = fitted(all_of_it, ANY, ANY)
    zero, one = least_rates(all_of_it, best, ANY, ANY)
    for bounds in (((zero, zero), ANY), (ANY, (one, one))):
        assert 2 * (fitted(all_of_it, *bounds).loss - best.loss) == pytest.approx(DEVIANCE, abs=0.02)
    assert 0 < zero < best.false_ones
    assert 0 < one < best.false_zeros


def test_chances_are_bayes_theorem():
    z = np.linspace(-6, 6, 25)
    curve = Curve(0.04, 0.15, 1.2, 0.7, 0.3, 0.0)
    true = sigmoid(np.where(z < 0, 1.2, 0.7) * z + 0.3)
    label = 0.04 * (1 - true) + 0.85 * true
    of_ones, of_zeros = curve.chances(z)
    assert of_ones == pytest.approx(0.04 * (1 - true) / label)
    assert of_zeros == pytest.approx(0.15 * true / (1 - label))


def test_without_noise_no_label_is_wrong_however_far_out():
    of_ones, of_zeros = Curve(0.0, 0.0, 1.0, 1.0, 0.0, 0.0).chances(np.array([-1e30, -700.0, 700.0, 1e30]))
    assert of_ones.tolist() == of_zeros.tolist() == [0, 0, 0, 0]


def test_a_tail_has_the_exact_binomial_limit_that_is_least():
    rng = np.random.default_rng(1)
    z = np.sort(rng.normal(0, 3, 2_000))
    y = (rng.random(2_000) < 0.04 + 0.9 * sigmoid(z)).astype(float)
    side = int((z < 0).sum())
    limits = []
    for fraction in FRACTIONS:
        n = math.ceil(fraction * side)
        test = binomtest(int(y[:n].sum()), n, alternative="less")
        limits.append(test.proportion_ci(1 - LEVEL / len(FRACTIONS), method="exact").high)
    zeros, ones = Labelled(1 - y, 1 - y), Labelled(y, y)
    tail = surest(z, zeros, ones)
    assert tail.limit == pytest.approx(min(limits))
    n = math.ceil(FRACTIONS[int(np.argmin(limits))] * side)
    assert tail.share == pytest.approx((y[:n].sum() + 0.5) / (n + 1))  # Jeffreys: none seen does not mean none


@pytest.mark.parametrize("rates", [(0.01, 0.01), (0.1, 0.1), (0.02, 0.12)])
def test_the_interval_holds_the_number_of_flips_and_the_first_suspects_are_flipped(rates):
    held, precision = [], []
    for seed in range(6):
        z, y, wrong = noisy(3_000, *rates, seed=seed)
        found = find_label_errors(z, y, from_logits=True, top=1_000)
        for errors, those in ((found, slice(None)), (found.ones, y == 1), (found.zeros, y == 0)):
            held.append(errors.interval[0] <= wrong[those].sum() <= errors.interval[1])
        first = [item.row - 1 for item in found.items[: wrong.sum()]]
        precision.append(wrong[first].mean() / wrong.mean())
    assert np.mean(held) >= 0.9
    assert np.mean(precision) > 5


def test_chances_are_calibrated():
    chances, wrong = [], []
    for seed in range(4):
        z, y, flipped = noisy(8_000, 0.06, 0.06, seed=seed)
        found = find_label_errors(z, y, from_logits=True, top=8_000)
        chances += [item.chance for item in found.items]
        wrong += flipped[[item.row - 1 for item in found.items]].tolist()
    chances, wrong = np.array(chances), np.array(wrong)
    for low in (0.2, 0.4, 0.6, 0.8):
        here = (chances >= low) & (chances < low + 0.2)
        assert here.sum() > 100
        assert wrong[here].mean() == pytest.approx(chances[here].mean(), abs=0.08)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.01, 0.01), (0.08, 0.0)])
def test_the_number_is_the_sum_of_all_chances(rates, weighted):
    z, y, _ = noisy(3_000, *rates)
    weight = np.random.default_rng(1).lognormal(size=3_000) if weighted else None
    found = find_label_errors(z, y, from_logits=True, weight=weight, top=len(z))
    assert found.expected_count == pytest.approx(found.ones.expected_count + found.zeros.expected_count)
    for errors in (found, found.ones, found.zeros):
        those = [item for item in found.items if errors is found or item.target == errors.target]
        assert sum(item.weight * item.chance for item in those) == pytest.approx(errors.expected_count, rel=1e-9)


def test_the_likeliest_come_first_and_the_text_says_how_many_of_all_they_hold():
    """Where the labels of one class only are wrong, the largest savings may all be of the other, with no chance."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(-2, 1.2, 2_000), np.linspace(6, 8, 1_000)])
    y = (rng.random(3_000) < sigmoid(z)).astype(float)
    wrong = (z > 6) & (rng.random(3_000) < 0.05)
    y[wrong] = 0
    found = find_label_errors(z, y, from_logits=True, top=60)
    chances = [item.chance for item in found.items]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.5
    held = sum(chances)
    assert held > 0.6 * found.expected_count
    assert f"about {found.expected_count:,.0f} of 3,000 labels" in str(found)
    assert f"; the 60 listed hold about {held:.0f} of them" in str(found)
    assert all(not line.endswith(" 0 %") for line in str(found).splitlines())


def test_of_several_labels_the_order_is_told_and_not_the_number():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    both = find_label_errors(z.reshape(-1, 2), y.reshape(-1, 2), from_logits=True)
    assert "several labels of each row" in both.reason
    assert math.isnan(both.expected_count)
    savings = [item.saving for item in both.items]
    assert savings == sorted(savings, reverse=True)
    assert find_label_errors(z[:, None], y[:, None], from_logits=True) == find_label_errors(z, y, from_logits=True)
