"""Slices that are found: none in calibrated predictions, planted ones first, and how they are told."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

from slice_tables import LN2, answered, entropy, evidence_of, sigmoid, simulated, table_of
from torchbce.explanation.slices import evidence
from torchbce.explanation.slices.bins import choose_bins
from torchbce.explanation.slices.find import find_slices
from torchbce.explanation.slices.table import SliceTable

# What is found


@pytest.mark.parametrize("base", [0.0, -2.2, -4.6])
def test_calibrated_predictions_give_no_slice(base):
    alarms = 0
    for seed in range(25):
        rng, p, columns = simulated(2000, seed, base)
        found = find_slices(columns, answered(rng, p), p)
        alarms += bool(found.found)
        assert ("none stands out among" in str(found)) == (not found.found)
        assert found.looked_at > 50
    assert alarms <= 4  # more of 25 at 5 % come by chance once in a hundred times


@pytest.mark.parametrize("weighted", [False, True])
def test_a_planted_slice_comes_first_without_those_that_only_hold_it(weighted):
    rng, p, columns = simulated(20_000, base=-1.5)
    bad = (columns["children"] == 2) & (columns["colour"] == "red")
    z = np.log(p / (1 - p))
    losses = answered(rng, p, sigmoid(np.where(bad, z + 1.5, z)))
    weights = rng.uniform(0.5, 1.5, 20_000) if weighted else None
    found = find_slices(columns, losses, p, weights)
    (one,) = found.found
    assert set(one.conditions) == {"children = 2", "colour = red"}
    assert one.count == bad.sum()
    w = np.ones(20_000) if weights is None else weights
    assert one.mean == pytest.approx(np.average(losses[bad], weights=w[bad]))
    assert one.excess == pytest.approx(np.average((losses - entropy(p))[bad], weights=w[bad]))
    assert one.loss_share == pytest.approx((w * losses)[bad].sum() / (w * losses).sum())
    assert one.weight_share == pytest.approx(w[bad].sum() / w.sum())
    assert 0 < one.excess_interval[0] < one.excess < one.excess_interval[1]
    assert one.p_value < 1e-6
    assert one.name in str(found)


def test_p_values_allow_for_all_slices_and_both_sides():
    rng, p, columns = simulated(4000)
    z = np.log(p / (1 - p))
    bad = np.asarray(columns["member"])
    losses = answered(rng, p, sigmoid(np.where(bad, 0.6 * z, z)))
    found = find_slices(columns, losses, p)
    (one,) = found.found
    codes = [choose_bins(name, column).codes(column) for name, column in columns.items()]
    counts = [np.bincount(code, minlength=30) for code in codes]
    counts += [
        np.bincount(30 * first.astype(int) + second) for i, first in enumerate(codes) for second in codes[i + 1 :]
    ]
    assert found.looked_at == sum(int(((count >= 50) & (count <= 3950)).sum()) for count in counts)
    surprise = float(evidence.surprise((losses - entropy(p))[bad].sum(), evidence_of(p[bad])))
    assert one.p_value == pytest.approx(2 * found.looked_at * math.exp(-surprise))
    assert find_slices(columns, losses, p, level=one.p_value * 0.99).found == ()


def test_a_slice_on_one_column_is_not_listed_again_with_others():
    rng, p, columns = simulated(20_000, base=-1.5)
    z = np.log(p / (1 - p))
    bad = np.isnan(columns["number"])
    found = find_slices(columns, answered(rng, p, sigmoid(np.where(bad, 0.2 * z, z))), p)
    assert [one.name for one in found.found] == ["number missing"]


def test_a_copy_of_a_column_is_not_listed_again():
    rng, p, columns = simulated(20_000, base=-1.5)
    z = np.log(p / (1 - p))
    bad = columns["colour"] == "blue"
    columns["copy"] = np.where(rng.random(20_000) < 0.02, "green", columns["colour"].astype(str))
    found = find_slices(columns, answered(rng, p, sigmoid(np.where(bad, 0.2 * z, z))), p)
    assert [one.name for one in found.found] == ["colour = blue"]


def test_a_model_that_is_off_everywhere_has_no_slice_that_stands_out():
    rng, p, columns = simulated(20_000)
    found = find_slices(columns, answered(rng, p, sigmoid(0.6 * np.log(p / (1 - p)))), p)
    assert found.found == ()
    assert found.whole.p_value < 1e-9
    assert found.whole.excess_interval[0] > 0


def test_what_is_hard_as_expected_is_listed_apart():
    rng, p, columns = simulated(10_000, base=-3)
    p = np.where(columns["colour"] == "green", sigmoid(0.3 * rng.normal(size=10_000)), p)
    found = find_slices(columns, answered(rng, p), p)
    assert found.found == ()
    assert [one.name for one in found.hard] == ["colour = green"]
    assert found.hard[0].difference_interval[0] > 0
    assert "hard by nature" in str(found)


def test_what_is_hard_and_worse_than_expected_is_not_hard_by_nature():
    rng, p, columns = simulated(10_000, base=-3)
    green = columns["colour"] == "green"
    p = np.where(green, sigmoid(-1 + 0.3 * rng.normal(size=10_000)), p)
    found = find_slices(columns, answered(rng, p, np.where(green, 0.5, p)), p)
    assert [one.name for one in found.found] == ["colour = green"]
    assert found.hard == ()


def test_the_difference_from_the_rest_has_welchs_interval():
    rng, p, columns = simulated(10_000, base=-3)
    p = np.where(columns["colour"] == "green", sigmoid(0.3 * rng.normal(size=10_000)), p)
    losses = answered(rng, p)
    found = find_slices(columns, losses, p)
    inside = columns["colour"] == "green"
    test = stats.ttest_ind(losses[inside], losses[~inside], equal_var=False)
    interval = test.confidence_interval(1 - 0.05 / found.looked_at)
    assert found.hard[0].difference == pytest.approx(losses[inside].mean() - losses[~inside].mean())
    assert found.hard[0].difference_interval == pytest.approx(tuple(interval), rel=1e-6)


def test_equal_weights_change_nothing_and_weights_of_zero_leave_items_out():
    rng, p, columns = simulated(6000)
    losses = answered(rng, p, sigmoid(np.where(columns["member"], 0.0, np.log(p / (1 - p)))))
    plain = find_slices(columns, losses, p)
    assert plain.found
    same = find_slices(columns, losses, p, np.full(6000, 3.0))
    assert same.looked_at == plain.looked_at
    for one, other in zip(plain.found, same.found, strict=True):
        assert one.conditions == other.conditions
        assert one.p_value == pytest.approx(other.p_value)
        assert one.excess_interval == pytest.approx(other.excess_interval, rel=1e-6)
        assert one.difference_interval == pytest.approx(other.difference_interval)
    half = rng.random(6000) < 0.5
    zeros = table_of(p, losses, columns, half.astype(float), 1.0)
    fewer = SliceTable(zeros.columns)
    fewer.add([b.codes(columns[b.name][half]) for b in zeros.columns], losses[half], p[half])
    assert zeros.ones.count.tolist() == fewer.ones.count.tolist()
    assert zeros.ones.excess == pytest.approx(fewer.ones.excess)


def test_one_item_that_was_called_impossible_is_no_slice():
    rng, p, columns = simulated(20_000, base=-3)
    losses = answered(rng, p)
    p[7], losses[7] = 0.0, 100.0
    assert find_slices(columns, losses, p).found == ()
    p[:2000:40], losses[:2000:40] = 0.0, 100.0
    columns["part"] = np.where(np.arange(20_000) < 2000, "first", "other")
    assert [one.name for one in find_slices(columns, losses, p).found] == ["part = first"]


def test_impossible_answers_and_certain_ones_are_counted_finitely():
    rng, p, columns = simulated(1000)
    losses = answered(rng, p)
    p[:5], losses[:5] = 0.0, [100, 0, 0, 0, 100]
    found = find_slices(columns, losses, p)
    assert math.isfinite(found.whole.excess)
    assert math.isfinite(found.whole.excess_interval[1])


def test_results_are_json_and_name_what_was_left_out():
    rng, p, columns = simulated(500)
    columns |= {"id": np.array([f"row {i}" for i in range(500)]), "same": np.ones(500)}
    found = find_slices(columns, answered(rng, p), p)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["looked_at"] == found.looked_at
    assert found.left_out == (("id", "every value is different"), ("same", "one value only"))
    assert "left out: id (every value is different)" in str(found)
    assert find_slices({"same": np.ones(500)}, answered(rng, p), p).looked_at == 0


def test_tensors_will_do():
    rng, p, columns = simulated(300)
    losses = torch.tensor(answered(rng, p), requires_grad=True)
    assert find_slices(columns, losses, torch.tensor(p).float()).whole.count == 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": [0.5, 0.5]}, r"losses has the shape \(2,\); features has 3 items"),
        ({"losses": ["a", 0.5, 0.5]}, "losses cannot be read as numbers"),
        ({"losses": [LN2, math.nan, LN2]}, "losses: item 2 is nan, of probability 0.5"),
        ({"losses": [LN2, LN2, 2.0]}, "losses: item 3 is 2, of probability 0.5 .*no BCE of its probability"),
        ({"probabilities": [0.5, 1.5, 0.5]}, r"probabilities: item 2 is 1.5.*lie in \[0, 1\]"),
        ({"weights": [1, -1, 1]}, "weights: item 2 is -1.*finite and at least 0"),
        ({"weights": [0, 0, 0]}, "all weights are 0"),
        ({"bins": 1}, "bins is 1; it lies between 2 and 250"),
        ({"level": 0}, "level is 0; it lies between 0 and 1"),
        ({"features": {"x": []}, "losses": [], "probabilities": []}, "there are no items"),
    ],
)
def test_bad_input_is_named(changes, message):
    given = {"features": {"x": [1, 2, 3]}, "losses": [LN2] * 3, "probabilities": [0.5] * 3} | changes
    with pytest.raises(ValueError, match=message):
        find_slices(**given)
