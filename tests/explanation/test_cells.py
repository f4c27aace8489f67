"""Sums at logits: exact while these are few, close where they lie close together, and the same in any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from torchbce import explain
from torchbce.explanation.data.summarize import sketched
from torchbce.explanation.explain import explanation
from torchbce.explanation.sketch import cells, paired_sums
from torchbce.explanation.sketch.cells import CellTable
from torchbce.explanation.sketch.paired_sums import PairedSums, ranked
from torchbce.explanation.sketch.points import LIMIT, PointTable

NUMBERS = st.floats(-1e30, 1e30, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-320, -1e-320])


def table(parts, most_logits=1000, most=1000, fewer=4):
    found = CellTable(1, most_logits, most, fewer)
    for logits, others, weights in parts:
        found.add_items(np.array(logits, float), np.array(others), [np.array(weights, float)])
    return found


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0, 3.0])), min_size=1, max_size=30))
def test_cells_are_sums_by_logit_and_number(items):
    found = table([list(zip(*items, strict=True))]).cells()
    expected = {}
    for logit, other, weight in items:
        expected[logit + 0.0, other] = expected.get((logit + 0.0, other), 0.0) + weight
    expected = {key: weight for key, weight in expected.items() if weight}
    keys = list(zip(found.logits.tolist(), found.others.tolist(), strict=True))
    assert keys == sorted(expected)
    assert found.sums[:, 0] == pytest.approx([expected[key] for key in keys])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([1e-6, 1.0, 50.0]), st.integers(1, 4), st.integers(120, 200))
def test_the_order_and_the_parts_do_not_matter(seed, width, count, most):
    rng = np.random.default_rng(seed)
    items = [rng.normal(2.0, width, 300), rng.integers(0, 3, 300), rng.random(300)]
    whole = table([items], most_logits=most).cells()
    order = rng.permutation(300)
    merged = table([], most_logits=most)
    for part in np.array_split(order, count):
        merged.merge(table([[column[part] for column in items]], most_logits=most))
    for mine, theirs in zip(whole, merged.cells(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    assert len(np.unique(whole.logits)) <= most


def test_rows_that_are_too_many_lose_digits_and_then_numbers():
    rng = np.random.default_rng(0)
    few = table([[rng.normal(size=5000), rng.integers(0, 4, 5000), np.ones(5000)]])
    assert len(few) <= 1000
    assert len(np.unique(few.cells().others)) == 4
    many = table([[rng.normal(size=5000), rng.integers(0, 1 << 32, 5000), np.ones(5000)]])
    assert len(many) <= 1000
    assert many.cells().sums.sum() == 5000
    assert len(np.unique(many.cells().others)) == 4


def test_sums_of_pairs_merge_and_are_kept():
    rng = np.random.default_rng(1)
    first, second, weight = rng.integers(0, 5, 400), rng.integers(0, 1 << 32, 400), rng.random(400)
    found = PairedSums(1, 100, 16)
    found.add(first, second, [weight])
    kept = PairedSums(1, 100, 16)
    kept.restore(found.state())
    for mine, theirs in zip(found.rows(), kept.rows(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len(found) <= 5 * 16
    with pytest.raises(ValueError, match="sums cannot be"):
        kept.restore(found.state() | {"second": -found.state()["second"] - 1})


@given(st.lists(st.integers(-(1 << 40), 1 << 40) | st.integers(0, 50), max_size=20))
def test_ranks_are_those_of_unique(values):
    array = np.array(values, np.int64)
    places, at = ranked(array)
    np.testing.assert_array_equal(places, np.unique(array))
    np.testing.assert_array_equal(places[at], array)


def test_items_are_added_up_before_they_fill_memory(monkeypatch):
    monkeypatch.setattr(paired_sums, "WAITING", 64)
    monkeypatch.setattr(cells, "MOST_DROPPED", 49)
    rng = np.random.default_rng(2)
    points = PointTable()
    for _ in range(40):
        z = torch.from_numpy(rng.normal(size=50).round(2))
        points.add(z, (z > 0).double(), None)
    assert points.points().weight.sum() == 2000


@pytest.mark.parametrize("band", [(2.0, 0.1), (-3.0, 1e-3), (0.0, 1e-6)])
def test_the_grid_follows_outputs_in_a_narrow_band(band):
    middle, width = band
    rng = np.random.default_rng(0)
    n = 3 * LIMIT
    x = rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-1.2 * x))).astype(float)
    z = middle + width * x
    z[:3] = (-40.0, 25.0, 0.0)  # outliers do not make it coarse
    assert explain(z, y, from_logits=True, top=0).auc == pytest.approx(roc_auc_score(y, z), abs=2e-5)


def test_files_that_each_begin_at_row_1_are_what_one_file_is():
    rng = np.random.default_rng(4)
    z = rng.normal(size=900)
    y = (rng.random(900) < 1 / (1 + np.exp(-0.6 * z))).astype(float)
    whole = explain(z, y, from_logits=True)
    first, *others = (
        sketched(a, b, from_logits=True)[0] for a, b in zip(z.reshape(3, -1), y.reshape(3, -1), strict=True)
    )
    for other in others:
        first.merge(other)
    found = explanation(first)
    assert found.decomposition.miscalibration == pytest.approx(whole.decomposition.miscalibration, rel=1e-9)
    assert tuple(found.decomposition.miscalibration_interval) == pytest.approx(
        tuple(whole.decomposition.miscalibration_interval), rel=1e-9
    )
