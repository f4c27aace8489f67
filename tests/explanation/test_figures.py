"""Every figure under every option has an interval that holds, or a reason why it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from torchbce import compare, explain
from torchbce.comparison.periods import what_changed
from torchbce.explanation.data.summarize import sketched
from torchbce.explanation.explain import explanation
from torchbce.explanation.statistics.clustered import estimate, sizes_of
from torchbce.explanation.statistics.verdict import verdict_on

FIGURES = ("mean", "base rate", "D2", "AUC", "slope", "shift", "separation", "miscalibration")
NAN = (math.nan, math.nan)


def visits(sizes, seed=0):
    """Logits that are right but for what patients have in common."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(len(sizes)), sizes)
    n = len(patient)
    z = 0.6 * rng.normal(size=len(sizes))[patient] + rng.normal(-0.6, 1, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-z - rng.normal(size=len(sizes))[patient]))).astype(float)
    return z, y, patient, rng.random(n) + 0.1


def intervals(found):
    line, parts = found.calibration, found.decomposition
    return {
        "mean": found.intervals["weighted_mean"],
        "base rate": found.intervals.get("base_rate", NAN),
        "D2": found.intervals.get("d2", NAN),
        "AUC": found.intervals.get("auc", NAN),
        "slope": line.slope_interval if line else NAN,
        "shift": line.shift_interval if line else NAN,
        "separation": parts.discrimination_interval if parts else NAN,
        "miscalibration": parts.miscalibration_interval if parts else NAN,
    }


def value(found, figure):
    return {
        "mean": lambda: found.weighted_mean,
        "base rate": lambda: found.base_rate,
        "D2": lambda: found.d2,
        "AUC": lambda: found.auc,
        "slope": lambda: found.calibration.slope,
        "shift": lambda: found.calibration.shift,
        "separation": lambda: found.decomposition.discrimination,
        "miscalibration": lambda: found.decomposition.miscalibration,
    }[figure]()


OPTIONS = {
    "none": {},
    "weight": {"weight": True},
    "cluster": {"cluster": True},
    "both": {"weight": True, "cluster": True},
    "few clusters": {"cluster": True, "sizes": [30] * 6},
    "one cluster is most": {"cluster": True, "sizes": [900] + [5] * 30},
    "few items": {"sizes": [1] * 20},
    "few ones": {"ones": 3},
    "few clusters with ones": {"cluster": True, "ones": 7},
    "soft": {"soft": True},
    "soft clusters": {"soft": True, "cluster": True},
    "infinite": {"infinite": True},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("labels", [False, True])
def test_a_figure_has_an_interval_or_a_reason(option, labels):
    given = OPTIONS[option]
    z, y, patient, weight = visits(given.get("sizes", [20] * 60))
    if given.get("soft"):
        y = 0.1 + 0.8 * y
    if "ones" in given:
        y[:] = 0
        y[:: len(y) // given["ones"]] = 1
    if given.get("infinite"):
        z[0], y[0] = -math.inf, 1.0
    told = {"weight": weight if given.get("weight") else None, "cluster": patient if given.get("cluster") else None}
    found = explain(z, y, from_logits=True, **told)
    if labels:
        told["weight"] = None if told["weight"] is None else np.stack([told["weight"]] * 2, 1)
        both = explain(np.stack([z, z], 1), np.stack([y, y], 1), from_logits=True, labels=["a", "b"], **told)
        assert intervals(both.labels["b"])["mean"] == pytest.approx(intervals(found)["mean"], nan_ok=True)
        found = both.labels["b"]
    for figure, (low, high) in intervals(found).items():
        assert math.isnan(low) == (figure in found.withheld), figure
        if low == low:
            assert low <= value(found, figure) <= high, figure
        else:
            assert len(found.withheld[figure]) > 20
            if not labels:
                assert found.withheld[figure] in str(found)
    assert set(found.withheld) <= set(FIGURES)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_is_that_of_leaving_out_each_cluster(weighted):
    z, y, patient, weight = visits([12, 20, 30, 9] * 10)
    weight = weight if weighted else np.ones(len(z))
    whole = explain(z, y, from_logits=True, cluster=patient, weight=weight)
    left_out = []
    for one in range(40):
        rest = patient != one
        left_out.append(explain(z[rest], y[rest], from_logits=True, cluster=patient[rest], weight=weight[rest]))
    for figure in FIGURES[:-1]:  # what a cross-fit gains jumps
        values = np.array([value(found, figure) for found in left_out])
        jackknife = math.sqrt(39 / 40 * ((values - values.mean()) ** 2).sum())
        low, high = intervals(whole)[figure]
        reach = stats.t.ppf(0.975, sizes_of(np.bincount(patient, weight)).equal - 1) * jackknife
        # That of some is corrected for skewness, and moves its ends.
        bound = 0.25 if figure in ("mean", "D2", "separation") else 0.1
        assert (high - low) / 2 == pytest.approx(reach, rel=bound), figure


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_spread_of_clusters_is_that_of_the_jackknife(rate):
    rng = np.random.default_rng(1)
    sizes, sums = rng.integers(1, 40, 15).astype(float), rng.normal(size=15)
    sums += rate * sizes
    mean = sums.sum() / sizes.sum()
    found = estimate(mean, sums - mean * sizes, sizes)
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    assert found.standard_error == pytest.approx(math.sqrt(14 / 15 * ((left_out - mean) ** 2).sum()))
    assert found.freedom == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum() - 1)


def test_weights_that_differ_by_class_count_each_class_by_itself():
    """Ones that stand for a thousand each do not make zeros fewer."""
    z, y, _, _ = visits([1] * 3000)
    plain = explain(z, y, from_logits=True).calibration
    heavy = explain(z, y, from_logits=True, weight=np.where(y > 0, 1000.0, 1.0)).calibration
    assert heavy.shift == pytest.approx(plain.shift + math.log(1000), abs=0.7)
    (a, b), (c, d) = plain.shift_interval, heavy.shift_interval
    assert 0.3 < (d - c) / (b - a) < 4


def test_no_end_lies_where_a_figure_cannot():
    rng = np.random.default_rng(3)
    for seed in range(40):
        n = int(rng.integers(30, 90))
        z = rng.normal(0, 6, n)
        y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
        found = explain(
            z, y, from_logits=True, by=np.arange(n) % 2, weight=rng.exponential(size=n) if seed % 2 else None
        )
        ends = intervals(found)
        assert not ends["mean"][0] < 0
        assert not ends["D2"][1] > 1
        assert not min(ends["base rate"][0], ends["AUC"][0], ends["miscalibration"][0]) < 0
        assert not max(ends["base rate"][1], ends["AUC"][1]) > 1
        if found.decomposition:
            assert ends["separation"][1] <= found.decomposition.uncertainty
        assert not any(group.interval.low < 0 for group in found.groups)


def coverage(draw, sets, truths):
    """Each interval holds 95 times of 100 of those that are given; the bound allows for chance."""
    inside, given = dict.fromkeys(truths, 0), dict.fromkeys(truths, 0)
    for seed in range(sets):
        for name, (low, high) in draw(seed).items():
            inside[name] += low <= truths[name] <= high
            given[name] += low == low
    for name, count in inside.items():
        assert given[name] > 0.8 * sets
        assert stats.binomtest(count, given[name], 0.95, alternative="less").pvalue > 1e-3, (name, count / given[name])


@pytest.mark.slow
@pytest.mark.parametrize("sets", [30, pytest.param(100, marks=pytest.mark.combination)])
@pytest.mark.parametrize("sizes", [[20] * 40, [4, 9, 16, 80] * 10], ids=["equal", "unequal"])
def test_intervals_of_clusters_hold(sizes, sets):
    """Groups and base rates of patients, of whom all visits have one answer."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(len(sizes)), sizes)
        y = (rng.random(len(sizes)) < 0.4).astype(float)[patient]
        z = (2 * y - 1) + 1.4 * rng.normal(size=len(patient))
        z = 2 * z / 1.4**2 + math.log(0.4 / 0.6)
        sex = rng.choice(["f", "m"], len(sizes))[patient]
        found = explain(z, y, from_logits=True, by=sex, cluster=patient, top=0)
        change = rng.normal(size=len(sizes))[patient]
        both = compare(z + 0.5 * change, z - 0.5 * change, y, from_logits=True, groups=sex, cluster=patient)
        return {
            "base rate": found.intervals["base_rate"],
            **{f"group {group.name}": group.interval for group in found.groups},
            **{f"difference {slot.name}": slot.interval for slot in both.groups},
        }

    wide = np.random.default_rng(10**6)
    y = (wide.random(10**6) < 0.4).astype(float)
    z = 2 * ((2 * y - 1) + 1.4 * wide.normal(size=10**6)) / 1.4**2 + math.log(0.4 / 0.6)
    mean = (np.logaddexp(0, z) - y * z).mean()
    truths = {"base rate": 0.4, "group f": mean, "group m": mean, "difference f": 0.0, "difference m": 0.0}
    coverage(draw, sets, truths)


@pytest.mark.slow
@pytest.mark.parametrize("sets", [30, pytest.param(100, marks=pytest.mark.combination)])
def test_periods_of_the_same_patients_are_no_change(sets):
    def draw(seed):
        z, y, patient, _ = visits([30] * 40, seed)
        early = np.arange(len(z)) % 2 == 0
        first, second = (
            explain(z[part], y[part], from_logits=True, cluster=patient[part], by=patient[part] % 3, top=0)
            for part in (early, ~early)
        )
        found = what_changed(first, second)
        named = {"total": found.total, "base rate": found.base_rate, "separation": found.separation}
        named |= {"calibration": found.calibration, "mix": found.mix, "within": found.within}
        return {name: part.interval for name, part in named.items()}

    names = ("total", "base rate", "separation", "calibration", "mix", "within")
    coverage(draw, sets, dict.fromkeys(names, 0.0))


@pytest.mark.slow
def test_chance_does_not_deal_out_all_samples_alike():
    """The folds of a cross-fit are other ones for other items: their luck must not befall every sample."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=300)
        y = (rng.random(300) < 1 / (1 + np.exp(-0.5 * z))).astype(float)
        whole = explain(z, y, from_logits=True, top=0)
        found.append(whole.decomposition.miscalibration - whole.calibration.gain)
    # In sample a line gains 1 / n too much, and on items not seen 1 / 0.8 n too little.
    assert np.mean(found) == pytest.approx(-(1 + 1 / 0.8) / 300, abs=0.0035)


@pytest.mark.parametrize("bend", [lambda z: z + 1.2 * np.sin(2.2 * z), lambda z: 0.9 * np.sign(z) + 0.25 * z])
def test_what_no_line_mends_is_miscalibration(bend):
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1.5, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-bend(z)))).astype(float)
    found = explain(z, y, from_logits=True)
    assert found.miscalibrated.is_off
    assert not found.miscalibrated.by_line
    assert "off, and not as a line is" in found.verdict


def test_no_sign_is_said_only_where_there_is_none():
    """Neither in the interval of the miscalibration nor in the line's p-value."""
    said = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.normal(0, 1.3, 800)
        slope = (1.0, 0.9, 0.78)[seed % 3]
        y = (rng.random(800) < 1 / (1 + np.exp(-slope * z))).astype(float)
        found = explain(z, y, from_logits=True, top=0)
        finding = found.miscalibrated.finding
        said.add(finding)
        if finding == "no sign of miscalibration":
            assert found.decomposition.miscalibration_interval.low == 0
            assert found.calibration.p_value >= 0.05
    assert {"no sign of miscalibration", "a weak sign of miscalibration"} <= said


def test_too_few_clusters_say_so_and_few_are_named():
    z, y, patient, _ = visits([30] * 40)
    few = explain(z, y, from_logits=True, cluster=patient % 12)
    assert "only 12 clusters tell as much as 11.8 of equal size: by Student's t with 10.8 degrees" in str(few)
    none = explain(z, y, from_logits=True, cluster=patient % 5)
    assert "none: 5 clusters say too little of how far they differ" in str(none)
    assert verdict_on(few.calibration, few.baseline).finding
    late = what_changed(none, few)
    assert "cannot be told" in late.verdict


def test_labels_share_what_their_samples_belong_to():
    z, y, patient, _ = visits([10] * 40)
    both = explain(np.stack([z, z], 1), np.stack([y, y], 1), from_logits=True, labels=["a", "b"], cluster=patient)
    one = explain(z, y, from_logits=True, cluster=patient)
    assert tuple(both.intervals["mean"]) == pytest.approx(tuple(one.intervals["mean"]))


def test_errors_of_weighted_items_are_those_of_the_squared_weights():
    z, y, _, weight = visits([1] * 2000)
    weight = weight**4
    found = explain(z, y, from_logits=True, weight=weight)
    rate = np.average(y, weights=weight)
    error = math.sqrt((weight**2 * (y - rate) ** 2).sum()) / weight.sum()
    low, high = found.intervals["base_rate"]
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.05)


@pytest.mark.parametrize("items", [2, 3, 10, 1000])
@pytest.mark.parametrize("clustered", [False, True])
def test_the_unit_of_the_weights_changes_no_figure(items, clustered):
    z, y, _, weight = visits([1] * items)
    groups = {"cluster": np.arange(items) // 2} if clustered else {}
    usual = explain(z, y, from_logits=True, weight=weight, **groups)
    for unit in (1e-6, 1e-3, 1e3):
        other = explain(z, y, from_logits=True, weight=unit * weight, **groups)
        for figure, interval in intervals(usual).items():
            assert intervals(other)[figure] == pytest.approx(interval, rel=1e-5, abs=1e-9, nan_ok=True), figure


def test_the_unit_of_the_weights_changes_no_comparison():
    z, y, _, weight = visits([1] * 500)
    usual, other = (compare(z, 0.5 * z, y, from_logits=True, weight=unit * weight) for unit in (1.0, 1e-3))
    assert tuple(other.interval) == pytest.approx(tuple(usual.interval), rel=1e-5)


def test_groups_in_clusters_merge_in_any_order():
    z, y, patient, _ = visits([20] * 40)
    by = np.where(np.arange(len(z)) < 400, "b", np.where(patient % 2, "a", "b"))
    whole = explain(z, y, from_logits=True, by=by, cluster=patient)
    late, early = (
        sketched(z[part], y[part], from_logits=True, by=by[part], cluster=patient[part])[0]
        for part in (slice(400, None), slice(0, 400))
    )
    late.merge(early)
    for mine, theirs in zip(explanation(late).groups, whole.groups, strict=True):
        assert mine.name == theirs.name
        assert tuple(mine.interval) == pytest.approx(tuple(theirs.interval))


def test_a_mean_that_hangs_on_one_item_has_no_interval_below_0():
    z = np.r_[np.full(400, 6.0), np.full(400, -6.0)]
    y = np.r_[np.ones(400), np.zeros(400)]
    y[:5] = 0
    weight = np.ones(800)
    weight[0] = 300
    found = explain(z, y, from_logits=True, weight=weight)
    assert found.intervals["mean"].low >= 0
    assert found.intervals["weighted_mean"].low >= 0
