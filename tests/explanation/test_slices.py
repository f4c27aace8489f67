"""Slices: exact sums, a bound that holds in the far tail, false alarms within the level, and planted slices found."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from slice_tables import answered, bce, entropy, evidence_of, sigmoid, simulated, table_of
from torchbce.explanation.slices import evidence
from torchbce.explanation.slices.bins import Ranges, Values, choose_bins
from torchbce.explanation.slices.choose import chosen
from torchbce.explanation.slices.features import columns_of
from torchbce.explanation.slices.table import SliceTable

# Columns


def test_every_container_gives_the_same_columns():
    plain = {"a": [1.5, math.nan, 2.0], "b": ["x", None, "z"], "c": [True, False, True]}
    frames = [plain, pd.DataFrame(plain), pl.DataFrame(plain), {k: pd.Series(v) for k, v in plain.items()}]
    for features in frames:
        found = columns_of(features)
        assert list(found) == ["a", "b", "c"]
        assert choose_bins("b", found["b"]) == Values("b", ("x", "z"))
        assert choose_bins("b", found["b"]).codes(found["b"]).tolist() == [0, 3, 1]
        assert choose_bins("a", found["a"]) == Values("a", (1.5, 2.0))
        assert choose_bins("c", found["c"]) == Values("c", (True, False))


def test_pandas_own_missing_values_are_missing():
    frame = pd.DataFrame({"n": pd.array([1, None, 3], "Int64"), "c": pd.Categorical(["x", None, "y"])})
    found = columns_of(frame)
    assert choose_bins("n", found["n"]).codes(found["n"]).tolist() == [0, 3, 1]
    assert choose_bins("c", found["c"]).codes(found["c"]).tolist() == [0, 3, 1]


def test_columns_of_an_array_are_numbered():
    assert list(columns_of(np.zeros((4, 2)))) == ["x0", "x1"]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros(3), r"features is a ndarray of shape \(3,\); give a DataFrame"),
        ({}, "features has no columns"),
        ({"a": [1, 2], "b": [1]}, "column 'b' has 1 values and 'a' has 2"),
        ({"a": np.zeros((2, 2))}, r"column 'a' has the shape \(2, 2\)"),
    ],
)
def test_features_that_are_no_table_are_named(features, message):
    with pytest.raises(ValueError, match=message):
        columns_of(features)


# Bins


@pytest.mark.parametrize("seed", range(5))
def test_the_words_of_a_range_say_which_values_it_holds(seed):
    rng = np.random.default_rng(seed)
    values = [rng.lognormal(3, 2, 500), rng.integers(-9, 60, 500), rng.normal(size=500) * 1e-7][seed % 3]
    bins = choose_bins("x", values)
    codes = bins.codes(values)
    for code in range(bins.size - 1):
        condition = bins.words(code)
        assert (codes == code).tolist() == [eval(condition, {"x": value}) for value in values.tolist()]


def test_ranges_hold_equal_parts_and_equal_values_stay_together():
    values = np.random.default_rng(0).normal(size=1000)
    bins = choose_bins("x", values, 8)
    assert np.bincount(bins.codes(values)).tolist() == [125] * 8
    tied = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], [600, 100, 100, 100, 100])
    assert choose_bins("x", tied, 4) == Ranges("x", (2.0, 3.0))  # 1 fills two of the bins


def test_missing_rare_and_unseen_values_have_bins():
    words = np.array([f"w{i:02}" for i in range(25) for _ in range(30 - i)] + [None] * 7, object)
    bins = choose_bins("word", words)
    codes = bins.codes(words)
    assert bins.size == 22
    assert [bins.words(code) for code in (0, 20, 21)] == [
        "word = w00",
        "word = none of the 20 most frequent values",
        "word missing",
    ]
    assert (codes == 20).sum() == sum(30 - i for i in range(20, 25))
    assert (codes == 21).sum() == 7
    assert bins.codes(np.array(["never", None, "w03"], object)).tolist() == [20, 21, 3]
    ranges = choose_bins("x", np.append(np.arange(50.0), math.nan))
    assert ranges.words(ranges.codes(np.array([math.nan]))[0]) == "x missing"
    assert ranges.codes(np.array([-math.inf, math.inf])).tolist() == [0, 9]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (np.ones(60), "one value only"),
        (np.full(60, math.nan), "missing everywhere"),
        (np.array([f"id{i}" for i in range(60)]), "every value is different"),
        (np.arange(60).astype("datetime64[D]"), "a date; give it as a number or a category"),
    ],
)
def test_columns_that_tell_nothing_are_left_out(column, why):
    assert choose_bins("x", column) == why


def test_a_column_of_numbers_that_turns_into_words_is_named():
    bins = choose_bins("x", np.arange(50.0))
    with pytest.raises(ValueError, match="column 'x' was of numbers and now has another value: .*'many'"):
        bins.codes(np.array([1.0, "many"], object))


# Sums


@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_those_of_the_rows_in_a_slice(weighted):
    rng, p, columns = simulated(400)
    losses = answered(rng, p)
    weights = rng.choice([0.0, 0.5, 2.0, 7.0], 400) if weighted else None
    table = table_of(p, losses, columns, weights, 2.0 if weighted else None)
    codes = [bins.codes(columns[bins.name]) for bins in table.columns]
    w = np.ones(400) if weights is None else weights / 2
    for i, first in enumerate(table.columns):
        for a in range(first.size):
            masks = [(codes[i] == a, table.ones[table.starts[i] + a])]
            for j in range(i + 1, len(codes)):
                for b in range(table.columns[j].size):
                    found = table.pair(table.starts[j] + b, table.starts[i] + a)
                    masks.append(((codes[i] == a) & (codes[j] == b), found))
            for inside, found in masks:
                inside = inside & (w > 0)
                wl = (w * losses)[inside]
                assert found.count == inside.sum()
                assert found.weight == pytest.approx(w[inside].sum())
                assert found.loss == pytest.approx(wl.sum())
                assert found.excess == pytest.approx((w * (losses - entropy(p)))[inside].sum())
                assert found.excess_squared == pytest.approx(((w * (losses - entropy(p)))[inside] ** 2).sum())
                variance = (w**2 * p * (1 - p) * np.log(p / (1 - p)) ** 2)[inside].sum()
                assert found.spread[0] == pytest.approx(variance)
                if inside.sum() > 1:
                    m = wl.sum() / w[inside].sum()
                    square = (w[inside] ** 2 * (losses[inside] - m) ** 2).sum() / w[inside].sum() ** 2
                    count = w[inside].sum() ** 2 / (w[inside] ** 2).sum()
                    assert found.error_squared == pytest.approx(square * count / (count - 1))


def test_batches_and_shards_add_up_to_the_table_of_all_rows():
    rng, p, columns = simulated(50_000)
    losses = answered(rng, p)
    whole = table_of(p, losses, columns)
    codes = [bins.codes(columns[bins.name]) for bins in whole.columns]
    shards = [SliceTable(whole.columns) for _ in range(2)]
    for batch, start in enumerate(range(0, 50_000, 7_000)):
        part = slice(start, start + 7_000)
        shards[batch % 2].add([code[part] for code in codes], losses[part], p[part])
    shards[0].merge(shards[1])
    for column in range(len(codes)):
        assert shards[0].pairs(column).rows == pytest.approx(whole.pairs(column).rows, rel=1e-10)
    assert shards[0].ones.rows == pytest.approx(whole.ones.rows, rel=1e-10)
    assert chosen(shards[0]).looked_at == chosen(whole).looked_at
    with pytest.raises(ValueError, match="the same bins"):
        shards[0].merge(SliceTable(whole.columns[:1]))
    with pytest.raises(ValueError, match="takes weights"):
        shards[0].add([code[:5] for code in codes], losses[:5], p[:5], np.ones(5))


def test_more_pairs_of_bins_than_can_be_kept_are_refused():
    with pytest.raises(ValueError, match="500 columns of 5,500 bins make 15,094,750 pairs of bins; at most 10,000,000"):
        SliceTable([Ranges(f"x{i}", tuple(range(9))) for i in range(500)])


@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.2, 0.45, 0.9])
@pytest.mark.parametrize("n", [60, 3000])
def test_the_bound_holds_and_is_near_the_exact_tail(n, rate):
    p = np.full(n, rate)
    spread, z = evidence_of(p), math.log(rate / (1 - rate))
    rarer = min(rate, 1 - rate)
    for count in range(math.ceil(n * rarer) + 1, n + 1, max(1, n // 60)):
        total = (count - n * rarer) * abs(z)
        bound = float(evidence.surprise(np.array(total), spread))
        exact = -stats.binom.logsf(count - 1, n, rarer)
        if exact < 600:
            assert bound <= exact + 1e-6
            # Chernoff gives away a factor of about sqrt(2 pi variance), the steps between the knots a tenth.
            assert bound >= 0.88 * exact - 0.5 * math.log(2 * math.pi * n * 0.25) - 1 or count / n > 1 - rarer


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.9])
def test_the_bound_holds_where_the_loss_is_less_than_expected(rate):
    n, rarer = 3000, min(rate, 1 - rate)
    spread, z = evidence_of(np.full(n, rate)), math.log(rate / (1 - rate))
    for count in range(0, math.floor(n * rarer), max(1, round(n * rarer / 10))):
        bound = float(evidence.surprise(np.array((count - n * rarer) * abs(z)), spread))
        exact = -stats.binom.logcdf(count, n, rarer)
        assert 0.4 * exact - 4 <= bound <= exact  # it holds with the variance alone, far below 0 by half


@pytest.mark.parametrize("weighted", [False, True])
def test_the_bound_is_chernoffs_of_the_items(weighted):
    rng = np.random.default_rng(1)
    p = sigmoid(-2 + 2 * rng.normal(size=500))
    w = rng.lognormal(0, 1, 500) if weighted else np.ones(500)
    z = np.log(p / (1 - p))
    spread = evidence_of(p, w if weighted else None)
    for total in (1.0, 30.0, 100.0, 200.0, 400.0):

        def exponent(t, total=total):
            cumulant = np.logaddexp(np.log(p) - t * w * z * (1 - p), np.log1p(-p) + t * w * z * p).sum()
            return -(t * total - cumulant)

        best = -minimize_scalar(exponent, bounds=(0, 5), method="bounded").fun
        found = float(evidence.surprise(np.array(total), spread))
        assert 0.85 * best <= found <= best + 1e-6


def test_the_spread_grows_up_to_kearns_and_sauls_constant():
    p = np.concatenate([10.0 ** np.arange(-40, -1), np.linspace(0.01, 0.99, 99), 1 - 10.0 ** np.arange(-9.0, -1)])
    a, q = evidence.rarer_side(p)
    spread = np.stack(evidence.spreads(a, q, None), -1)
    assert (np.diff(spread, axis=-1) >= -1e-12 * spread[:, :1]).all()
    assert spread[:, -1] == pytest.approx(a * np.tanh(a / 2) / 2, rel=1e-9)
    fine = np.linspace(1e-3, 2.0, 400)[:, None]
    curve = 2 * (np.log1p(q * np.expm1(fine * a)) - fine * a * q) / fine**2
    assert (np.diff(curve, axis=0) >= -1e-9 * a).all()


def test_the_gain_is_what_the_best_factor_of_the_logits_saves():
    rng = np.random.default_rng(2)
    for slope in (0.2, 0.6, 0.9):
        z = -1 + 1.5 * rng.normal(size=2000)
        y = rng.random(2000) < sigmoid(slope * z)

        def cost(factor, z=z, y=y):
            return float(np.logaddexp(0, np.where(y, -factor * z, factor * z)).sum())

        p = sigmoid(z)
        excess = np.array((bce(p, y) - entropy(p)).sum())
        best = minimize_scalar(cost, bounds=(-3, 3), method="bounded")
        tilt, gained = evidence.best_tilt(excess, evidence_of(p))
        assert float(gained) == pytest.approx(cost(1.0) - best.fun, rel=0.02)
        assert 1 - float(tilt) == pytest.approx(best.x, abs=0.05)


@pytest.mark.parametrize("slope", [0.9, 0.5, 1.0])
def test_the_interval_holds_what_is_expected_where_the_logits_are_off_by_a_factor(slope):
    rng = np.random.default_rng(3)
    z = -2 + rng.normal(size=800)
    p, truth = sigmoid(z), sigmoid(slope * z)
    expected = float((-truth * np.log(p) - (1 - truth) * np.log(1 - p) - entropy(p)).sum())
    losses = np.stack([answered(rng, p, truth) for _ in range(400)])
    totals = (losses - entropy(p)).sum(1)
    low, high = evidence.interval(totals, np.tile(evidence_of(p), (400, 1)), math.log(2 / 0.05))
    inside = ((low <= expected) & (expected <= high)).mean()
    assert inside >= 0.95
    assert (high - low).mean() < 2 * 2.72 * totals.std() * 1.1  # 2.72 deviations: where exp(-x^2 / 2) is 0.025


def test_the_interval_leaves_out_zero_where_the_bound_does():
    spread = evidence_of(np.full(300, 0.02))
    totals = np.linspace(0.5, 90, 60)
    surprises = evidence.surprise(totals, np.tile(spread, (60, 1)))
    for drop in (3.0, 10.0, 15.0):
        low, _ = evidence.interval(totals, np.tile(spread, (60, 1)), drop)
        assert (low[surprises > drop] > 0).all()
