"""find_label_errors: SciPy's own optimum, flips that are known, and errors that name the item."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import differential_evolution
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from torchbce import InputError
from torchbce.explanation.sketch.points import Points
from torchbce.labels.find_label_errors import find_label_errors, label_errors
from torchbce.labels.noise import BINS, DEVIANCE, Bins, Curve, fitted, least_rates, spread
from torchbce.labels.suspects import Contradicted
from torchbce.labels.tails import FRACTIONS, LEVEL, Labelled, surest

ANY = (0.0, 0.45)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def noisy(n: int, false_ones: float, false_zeros: float, seed: int = 0, spread: float = 4.0):
    """Logits that know the true classes as well as can be, the labels, and which of those are wrong."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-0.5, spread, n)
    true = rng.random(n) < sigmoid(z)
    wrong = rng.random(n) < np.where(true, false_zeros, false_ones)
    return z, (true ^ wrong).astype(float), wrong


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


def thinned(seed, n=4_000, kept=0.2):
    """Labels 0 were kept one time in five, and stand for five each."""
    z, y, wrong = noisy(n, 0.02, 0.05, seed=seed)
    here = (y == 1) | (np.random.default_rng(seed + 100).random(n) < kept)
    return z[here], y[here], wrong[here], np.where(y == 1, 1.0, 1 / kept)[here]


def unequal(seed, n=2_000):
    z, y, wrong = noisy(n, 0.03, 0.03, seed=seed)
    return z, y, wrong, np.random.default_rng(seed + 100).lognormal(0, 1, n)


@pytest.mark.slow
@pytest.mark.parametrize("made", [thinned, unequal])
def test_the_interval_holds_the_weight_of_the_flips(made):
    """Of 10 tables, three counts each: at 95 % fewer than 25 of 30 less than once in 100 times."""
    held = []
    for seed in range(10):
        z, y, wrong, weight = made(seed)
        found = find_label_errors(z, y, from_logits=True, weight=weight, top=0)
        for errors, those in ((found, slice(None)), (found.ones, y == 1), (found.zeros, y == 0)):
            held.append(errors.interval[0] <= (weight * wrong)[those].sum() <= errors.interval[1])
    assert sum(held) >= 25


@pytest.mark.parametrize("heavy", [(1.0, 4.0), (4.0, 1.0)])
def test_of_thinned_labels_each_class_counts_its_own_items(heavy):
    """The odds of the limit are those of the items themselves, times what an item of either label stands for."""
    z, y = np.linspace(-9, -8, 1_000), (np.arange(1_000) % 20 == 10).astype(float)
    odds = []
    for zero, one in ((1.0, 1.0), heavy):
        limit = surest(z, Labelled(zero * (1 - y), zero**2 * (1 - y)), Labelled(one * y, one**2 * y)).limit
        odds.append(limit / (1 - limit))
    assert odds[1] == pytest.approx(odds[0] * heavy[1] / heavy[0], rel=0.05)  # the tail is cut at another item


def test_the_lower_limit_of_a_rate_allows_for_unequal_weights():
    """Weights by chance leave a rate's variance as the unit has it; where zeros were thinned, ones tell more."""
    z, y, _ = noisy(5_000, 0.05, 0.1)
    by_chance, by_label = np.random.default_rng(2).lognormal(0, 0.3, 5_000), np.where(y == 1, 1.0, 5.0)
    ratios = []
    for weight in (np.ones(5_000), by_chance, by_label):
        points = Points.of(z, y, weight * weight.sum() / (weight**2).sum())
        these = Bins.of(points.logits, points.total_weight, points.total_positive, points.squares)
        ratios.append(spread(these, fitted(these, ANY, ANY)))
    assert ratios[0] == pytest.approx((1, 1))
    assert ratios[1] == pytest.approx((1, 1), abs=0.15)
    assert ratios[2][0] < 0.4


def test_without_flips_the_number_is_near_zero_and_the_interval_begins_there():
    for seed in range(3):
        z, y, _ = noisy(4_000, 0.0, 0.0, seed=seed)
        found = find_label_errors(z, y, from_logits=True)
        assert found.interval[0] == 0
        assert found.expected_count < 0.01 * len(z)


def test_the_order_of_items_does_not_matter():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    z = z.round(1)  # with ties
    order = np.random.default_rng(3).permutation(2_000)
    one = find_label_errors(z, y, from_logits=True)
    other = find_label_errors(z[order], y[order], from_logits=True, rows=order + 1)
    assert one == other


def test_batches_give_what_one_pass_gives():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    seen = Contradicted(True, 50)
    for part in np.array_split(np.arange(2_000), 7):
        seen.add(torch.from_numpy(z[part]), torch.from_numpy(y[part]), None, part + 1)
    assert label_errors(seen) == find_label_errors(z, y, from_logits=True, top=50)


def test_classes_may_change_names():
    z, y, _ = noisy(3_000, 0.02, 0.1)
    one, other = find_label_errors(z, y, from_logits=True), find_label_errors(-z, 1 - y, from_logits=True)
    assert one.expected_count == pytest.approx(other.expected_count, rel=1e-3)
    assert one.ones.noise_rate == pytest.approx(other.zeros.noise_rate, abs=1e-3)
    assert [item.row for item in one.items] == [item.row for item in other.items]


def test_logits_and_probabilities_give_the_same():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    one, other = find_label_errors(z, y, from_logits=True), find_label_errors(sigmoid(z), y, from_logits=False)
    assert one.expected_count == pytest.approx(other.expected_count, rel=1e-6)
    assert [item.row for item in one.items] == [item.row for item in other.items]
    for a, b in zip(one.items, other.items, strict=True):
        assert (a.loss, a.saving, a.logit) == pytest.approx((b.loss, b.saving, b.logit), rel=1e-4)


def test_equal_weights_change_the_unit_only():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    plain, heavy = (find_label_errors(z, y, from_logits=True, weight=w) for w in (None, 2.5))
    assert heavy.labelled == 5_000
    assert heavy.expected_count == pytest.approx(2.5 * plain.expected_count, rel=1e-6)
    assert heavy.interval == pytest.approx([2.5 * end for end in plain.interval], rel=1e-6)
    assert [item.row for item in heavy.items] == [item.row for item in plain.items]


def test_items_of_no_weight_are_as_if_not_there():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    kept = np.arange(2_000) % 2 == 0
    whole = find_label_errors(z, y, from_logits=True, weight=kept.astype(float))
    half = find_label_errors(z[kept], y[kept], from_logits=True, rows=np.flatnonzero(kept) + 1)
    assert whole.items == half.items
    assert whole.interval == half.interval


def test_savings_are_those_of_calibrated_logits():
    z, y, _ = noisy(3_000, 0.0, 0.0)
    line = LogisticRegression(C=1e6).fit(2 * z[:, None], y)
    mended = line.decision_function(2 * z[:, None])
    found = find_label_errors(2 * z, y, from_logits=True)
    assert [item.saving for item in found.items] == pytest.approx(
        [abs(mended[item.row - 1]) for item in found.items], rel=1e-3
    )


def test_of_few_items_savings_and_losses_are_those_of_the_logits():
    z = np.array([-3.0, 2.0, -1.0, 4.0])
    found = find_label_errors(z, [1, 0, 0, 1], from_logits=True)
    assert [(item.row, item.target) for item in found.items] == [(1, 1), (2, 0)]
    assert [item.saving for item in found.items] == pytest.approx([3, 2])
    assert found.items[0].loss == pytest.approx(np.log1p(np.exp(3)))
    assert found.items[0].probability == pytest.approx(sigmoid(-3))
    assert math.isnan(found.items[0].chance)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (noisy(40, 0.05, 0.05)[:2], "there are too few items"),
        (noisy(4_000, 0.0, 0.0, spread=0.3)[:2], "no region is certain: of the items that are surest to be 0"),
    ],
)
def test_what_cannot_be_told_is_said_and_the_order_remains(items, reason):
    found = find_label_errors(*items, from_logits=True, top=5)
    assert reason in found.reason
    assert f"cannot be told: {reason}" in str(found)
    assert math.isnan(found.expected_count)
    assert math.isnan(found.zeros.noise_rate)
    savings = [item.saving for item in found.items]
    assert len(savings) == 5
    assert savings == sorted(savings, reverse=True)


def test_predictions_that_point_the_wrong_way_tell_nothing():
    z, y, _ = noisy(1_000, 0.0, 0.0)
    assert "no region is certain" in find_label_errors(-z, y, from_logits=True).reason


def test_infinite_logits_are_suspects_and_json_has_no_infinity():
    z, y, _ = noisy(1_000, 0.02, 0.02)
    z[:2], y[:2] = [-np.inf, np.inf], [1, 0]
    found = find_label_errors(z, y, from_logits=True)
    assert {1, 2} <= {item.row for item in found.items[:20]}
    assert math.isfinite(found.expected_count)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["count"] == 1_000


def test_text_table_and_dict_show_the_same():
    z, y, _ = noisy(2_000, 0.05, 0.05)
    found = find_label_errors(z, y, from_logits=True, top=30)
    text, first = str(found), found.items[0]
    assert f"about {found.expected_count:,.0f} of 2,000 labels" in text
    assert "and 10 more" in text
    assert str(first.row) in text.splitlines()[1]
    assert found.to_dict()["items"][0]["chance"] == first.chance
    assert found.frame()["row"].to_list() == [item.row for item in found.items]
    assert find_label_errors([2.0, -2.0], [1, 0], from_logits=True).frame().height == 0
    assert found._repr_html_().startswith("<pre>")


@pytest.mark.parametrize(
    ("outputs", "targets", "more", "message"),
    [
        ([], [], {}, "there are no items"),
        ([0.5, 0.5], [1], {}, r"outputs has the shape \(2,\) and targets \(1,\)"),
        ([0.5, math.nan], [1, 0], {}, "outputs: item 2 is nan"),
        ([0.5, 1.5], [1, 0], {}, "outputs: item 2 is 1.5"),
        ([0.5, 0.5], [1, 2], {}, "targets: item 2 is 2"),
        ([0.5, 0.5], [1, 0.5], {}, "targets: item 2 is 0.5; a label is 0 or 1"),
        ([0.5, 0.5], [1, 1], {}, "every label is 1"),
        ([0.5, 0.5], [0, 0], {}, "every label is 0"),
        ([0.5, 0.5], [1, 0], {"weight": [1, -1]}, "weight: item 2 is -1"),
        ([0.5, 0.5], [1, 0], {"weight": [1, 1, 1]}, r"weight has the shape \(3,\)"),
        ([0.5, 0.5], [1, 0], {"weight": 0}, "all weights are 0"),
        ([0.5, 0.5], [1, 0], {"rows": [1]}, "rows are 1 values"),
        ([0.5, 0.5], [1, 0], {"rows": ["a", "b"]}, "2 integers are needed"),
        ([0.5, 0.5], [1, 0], {"top": -1}, "top is -1"),
    ],
)
def test_bad_input_is_named(outputs, targets, more, message):
    with pytest.raises(ValueError, match=message):
        find_label_errors(outputs, targets, from_logits=False, **more)


@pytest.fixture
def predictions(tmp_path):
    z, y, _ = noisy(2_000, 0.05, 0.05)
    path = tmp_path / "predictions.csv"
    pl.DataFrame({"target": y.astype(int), "logit": z, "part": ["a", "b"] * 1_000}).write_csv(path)
    return path, z, y


def asked(path, **more):
    from torchbce.cli.labels.options import LabelsOptions

    return LabelsOptions(file=str(path), logit="logit", top=10, json=True, **more)


def test_the_command_prints_and_keeps_what_the_function_finds(predictions, tmp_path, capsys):
    from torchbce.cli.labels.run import run

    path, z, y = predictions
    out = tmp_path / "suspects.csv"
    run(asked(path, only="part=b", out=out))
    half = slice(1, None, 2)
    found = find_label_errors(z[half], y[half], from_logits=True, rows=np.arange(2, 2_001, 2), top=10)
    printed = json.loads(capsys.readouterr().out)
    assert printed["expected_count"] == pytest.approx(found.expected_count)
    assert [item["row"] for item in printed["items"]] == [item.row for item in found.items]
    assert pl.read_csv(out)["row"].to_list() == [item.row for item in found.items]


def test_the_command_names_a_label_that_is_none(tmp_path):
    from torchbce.cli.labels.run import run

    path = tmp_path / "soft.csv"
    path.write_text("target,logit\n0,1\n0.5,2\n")
    with pytest.raises(InputError, match="row 2 of column 'target' is 0.5; a label is 0 or 1"):
        run(asked(path))
    path.write_text("target,logit\n0,1\n0,2\n")
    with pytest.raises(InputError, match="every label is 0"):
        run(asked(path))
