"""Labels that count unequally, of few items and of none that can be told; the command `labels`."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from noisy_labels import ANY, noisy, sigmoid
from torchbce import InputError
from torchbce.cli.labels.options import LabelsOptions
from torchbce.explanation.sketch.points import Points
from torchbce.labels.find_label_errors import find_label_errors, label_errors
from torchbce.labels.noise import Bins, fitted, spread
from torchbce.labels.suspects import Contradicted
from torchbce.labels.tails import Labelled, surest


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
