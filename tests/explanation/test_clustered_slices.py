"""Slices of items that belong together or have weights: none is false, planted ones are found, few clusters say so."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import norm

from torchbce import explain
from torchbce.explanation.slices import clustered, table
from torchbce.explanation.slices.bins import choose_bins
from torchbce.explanation.slices.collect import SliceCollector
from torchbce.explanation.slices.find import find_slices
from torchbce.explanation.slices.lanes import Lanes
from torchbce.explanation.slices.table import SliceTable


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def bce(p, y):
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


def patients(seed, count=40, each=100, shift=0.8, skewed=False):
    """Calibrated probabilities of items whose patients are alike, of equal or very unequal numbers."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(count), each)
    if skewed:
        share = np.r_[np.full(count - 1, 0.8 / (count - 1)), 0.2]
        of = np.sort(rng.choice(count, count * each, p=share))
    alike, x = rng.normal(size=count)[of], rng.normal(size=len(of))
    y = (norm.cdf(x + shift * alike - 0.3) > rng.random(len(of))).astype(float)
    return rng, of, norm.cdf((x - 0.3) / math.hypot(1, shift)), y


def noise(rng, of):
    """Columns that have nothing to do with the answers: four of the patient, two of the item."""
    count = of.max() + 1
    of_patient = {
        "sex": rng.choice(["m", "f"], count),
        "region": rng.choice(list("abcd"), count),
        "bmi": rng.normal(size=count),
        "old": rng.random(count) < 0.5,
    }
    columns = {name: values[of] for name, values in of_patient.items()}
    return columns | {"hour": rng.normal(size=len(of)), "colour": rng.choice(["red", "green"], len(of))}


# The bound


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_holds_for_few_clusters_of_any_size(seed):
    sizes = np.random.default_rng(seed).pareto(1.5, 12) + (seed % 2)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=12)))
    sums = signs @ sizes
    bound = np.exp(-clustered.surprise(clustered.ratio(signs * sizes)))
    for i in np.argsort(sums)[-60:]:
        assert (sums >= sums[i] - 1e-9).mean() <= bound[i] * (1 + 1e-9)
    assert clustered.ratio(np.ones(12)) == pytest.approx(12)
    drop = float(clustered.surprise(np.array(17.0)))
    assert clustered.least_ratio(drop) == pytest.approx(17.0)


def test_the_bound_gives_away_a_factor_of_three_of_the_normal_tail():
    x = np.array([2.0, 4.0, 6.0])
    assert np.exp(-clustered.surprise(x**2)) == pytest.approx(norm.sf(x) / (4 * norm.sf(math.sqrt(2))))


def test_the_interval_holds_the_rate_and_leaves_out_zero_where_the_bound_does():
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(0, 0.7, (2000, 25))
    parts = 0.4 * sizes + sizes * rng.normal(size=sizes.shape)
    drop = math.log(2 / 0.05)
    low, high = clustered.interval(parts, sizes, drop)
    known = np.isfinite(low)
    assert known.mean() > 0.9
    missed = ((low > 0.4) | (high < 0.4))[known].sum()
    assert missed <= 0.05 * known.sum()
    surprising = (clustered.surprise(clustered.ratio(parts)) > drop) & (parts.sum(-1) > 0)
    assert ((low > 0) == surprising)[known].all()
    few = clustered.interval(parts[0, :5], sizes[0, :5], drop)
    assert (float(few[0]), float(few[1])) == (-math.inf, math.inf)


# Sums by cluster


def lanes_of(p, y, columns, of, weights, parts):
    bins = [choose_bins(name, column) for name, column in columns.items()]
    found = SliceTable(bins, unit=None if weights is None else 2.0, clustered=True)
    for part in parts:
        codes = [one.codes(columns[one.name][part]) for one in bins]
        w = None if weights is None else weights[part]
        found.add(codes, bce(p, y)[part], p[part], w, (of[part], [f"patient {i}" for i in range(of.max() + 1)]))
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_every_slice_has_the_sums_of_each_cluster(weighted):
    rng, of, p, y = patients(0, 7, 60)
    columns, order = noise(rng, of), rng.permutation(len(of))
    weights = rng.choice([0.0, 1.0, 5.0], len(of)) if weighted else None
    found = lanes_of(p, y, columns, of, weights, np.array_split(order, 3))
    w = np.ones(len(of)) if weights is None else weights / 2
    lane = {name: i for i, name in enumerate(dict.fromkeys(of[order].tolist()))}
    inside = (columns["sex"] == "m") & (columns["colour"] == "red")
    codes = [next(code for code, value in enumerate(found.columns[i].values) if value == what)
             for i, what in ((0, "m"), (5, "red"))]  # fmt: skip
    sums = found.pair(found.starts[0] + codes[0], found.starts[5] + codes[1])
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    logit = np.log(p / (1 - p))
    values = [w * (bce(p, y) - entropy), w * p * (1 - p) * logit**2, w * bce(p, y), w]
    for patient, place in lane.items():
        mine = inside & (of == patient)
        assert sums.lanes[place] == pytest.approx([value[mine].sum() for value in values], abs=1e-9)
    assert sums.slope == pytest.approx(values[1][inside].sum())
    assert found.ones.lanes.sum(-2)[..., 3] == pytest.approx(found.ones.weight)


def test_beyond_the_bound_clusters_share_sums(monkeypatch):
    monkeypatch.setattr(table, "LANES", (8, 16))
    rng, of, p, y = patients(1, 100, 40)
    columns = noise(rng, of)
    found = lanes_of(p, y, columns, of, None, [slice(0, 1000), slice(1000, None)])
    assert found.ones.lanes.shape[-2] == len(found.clusters) == 16
    assert found.clusters.shared
    assert found.whole.lanes[:, 3].sum() == 4000
    lanes = Lanes(4)
    names = [f"p{i}" for i in range(50)]
    first = lanes.of((np.arange(50), names))
    assert first[:4].tolist() == [0, 1, 2, 3]
    assert lanes.of((np.arange(50)[::-1], names)).tolist() == first[::-1].tolist()
    slices = find_slices(columns, bce(p, y), p, clusters=of)
    assert slices.clusters_shared
    assert slices.clusters == 16
    with pytest.raises(ValueError, match="tables of clusters do not add up"):
        found.merge(found)
    with pytest.raises(ValueError, match="takes the cluster of each row"):
        found.add([], p, p)


def test_more_pairs_of_bins_than_clusters_leave_room_for_are_refused(monkeypatch):
    monkeypatch.setattr(table, "MOST_CELLS", 64 * 100)
    rng, of, p, y = patients(2, 5, 20)
    with pytest.raises(ValueError, match="at most 100 can be kept where clusters are given"):
        find_slices(noise(rng, of), bce(p, y), p, clusters=of)


# What is found


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_noise_gives_no_slice_where_clusters_are_given(skewed, weighted):
    alarms, unknown, looked_at = 0, 0, 0
    for seed in range(12):
        rng, of, p, y = patients(seed, shift=1.5, skewed=skewed)
        columns = noise(rng, of)
        weights = np.exp(rng.uniform(0, np.log(10), len(of))) if weighted else None
        found = find_slices(columns, bce(p, y), p, weights, clusters=of)
        alarms += bool(found.found or found.hard)
        looked_at += found.looked_at
        unknown += bool(find_slices(columns, bce(p, y), p, weights).found)
    assert alarms <= 3  # more of 12 at 5 % come by chance less than once in a hundred times
    assert looked_at > 12 * 10
    assert unknown >= 5  # what it would be without


def test_one_label_for_all_of_a_patient_gives_no_slice():
    alarms = 0
    for seed in range(12):
        rng, of, _, _ = patients(seed)
        p = np.full(len(of), 0.42)
        y = (rng.random(40) < 0.42)[of].astype(float)
        alarms += bool(find_slices(noise(rng, of), bce(p, y), p, clusters=of).found)
    assert alarms <= 3


@pytest.mark.parametrize("where", ["patients", "items"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_planted_slice_is_found_among_clusters(where, weighted):
    hits = 0
    for seed in range(5):
        rng, of, p, _ = patients(seed, 100, 80)
        columns = noise(rng, of)
        bad = columns["sex"] == "m" if where == "patients" else columns["colour"] == "red"
        z = np.log(p / (1 - p)) + 0.3 * rng.normal(size=100)[of]
        y = (rng.random(len(of)) < sigmoid(np.where(bad, z + 1.2, z))).astype(float)
        weights = rng.uniform(0.5, 2, len(of)) if weighted else None
        found = find_slices(columns, bce(p, y), p, weights, clusters=of)
        names = [one.name for one in found.found]
        hits += names == ["sex = m" if where == "patients" else "colour = red"]
        if names:
            assert 0 < found.found[0].excess_interval[0] < found.found[0].excess < found.found[0].excess_interval[1]
            assert found.found[0].p_value < found.level
            assert found.found[0].clusters == (len(set(of[bad])))
            assert "take clusters for independent" in str(found)
            if not weighted:
                excess = bce(p, y) + p * np.log(p) + (1 - p) * np.log1p(-p)
                surprise = clustered.surprise(clustered.ratio(np.bincount(of[bad], excess[bad])))
                assert found.found[0].p_value == pytest.approx(2 * found.looked_at * math.exp(-surprise))
    assert hits >= 4


def test_a_slice_in_one_cluster_only_is_none():
    rng, of, p, y = patients(3, shift=0.0)
    ward = np.where(of == 7, "east", "west")
    z = np.log(p / (1 - p))
    y = (rng.random(len(of)) < sigmoid(np.where(of == 7, z + 3, z))).astype(float)
    assert [one.name for one in find_slices({"ward": ward}, bce(p, y), p).found] == ["ward = east"]
    found = find_slices({"ward": ward}, bce(p, y), p, clusters=of)
    assert (found.found, found.looked_at) == ((), 0)


@pytest.mark.parametrize("clusters", [1, 5, 12])
def test_few_clusters_tell_no_slice_and_it_says_so(clusters):
    rng, of, p, y = patients(4, clusters, 300)
    found = find_slices(noise(rng, of), bce(p, y), p, clusters=of)
    assert (found.found, found.hard) == ((), ())
    if clusters < 10:
        assert f"there are {clusters} cluster" in str(found)
        assert "no slice can be told from chance: it needs 50 items and 10 clusters, inside and outside" in str(found)
        assert ("(too few clusters)" in str(found)) == (found.to_dict()["whole"]["excess_interval"] == [None, None])
        json.dumps(found.to_dict(), allow_nan=False)


def test_hard_slices_count_clusters():
    alone = kept = true = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        of = np.repeat(np.arange(60), 100)
        p = sigmoid(-3 + 2 * rng.normal(size=60)[of] + 0.3 * rng.normal(size=6000))
        y = (rng.random(6000) < p).astype(float)
        columns = noise(rng, of)
        alone += bool(find_slices(columns, bce(p, y), p).hard)
        kept += bool(find_slices(columns, bce(p, y), p, clusters=of).hard)
        p = sigmoid(np.where(columns["old"], 0.5, -4.0) + 0.5 * rng.normal(size=60)[of])
        y = (rng.random(6000) < p).astype(float)
        hard = find_slices(columns, bce(p, y), p, clusters=of).hard
        if hard:
            same = find_slices({"old": columns["old"]}, bce(p, y), p).hard[0]
            assert hard[0].difference == pytest.approx(same.difference)
            assert hard[0].difference_interval[0] < same.difference - 2 * (
                same.difference - same.difference_interval[0]
            )
        true += bool(hard) and hard[0].name == "old = True" and hard[0].difference_interval[0] > 0
    assert alone >= 4
    assert kept <= 1
    assert true >= 3


# Weights


def test_a_few_large_weights_make_no_slice_hard():
    alarms = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        p = sigmoid(-3 + 1.3 * rng.normal(size=1000))
        y = (rng.random(1000) < p).astype(float)
        columns = {f"x{i}": [rng.normal(size=1000), rng.choice(list("abcd"), 1000)][i % 2] for i in range(10)}
        found = find_slices(columns, bce(p, y), p, np.where(rng.random(1000) < 0.01, 100.0, 1.0))
        alarms += bool(found.found or found.hard)
    assert alarms <= 1


@pytest.mark.parametrize("by", [None, 300])
def test_weights_of_a_column_make_no_slice_of_a_model_that_is_off_everywhere(by):
    alarms = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        z = -1 + 1.2 * rng.normal(size=20_000)
        y = (rng.random(20_000) < sigmoid(0.6 * z)).astype(float)
        columns = {"region": rng.choice(list("abcd"), 20_000), "x": rng.normal(size=20_000)}
        weights = np.where(columns["region"] == "a", 100.0, 1.0)
        of = None if by is None else np.arange(20_000) % by
        found = find_slices(columns, bce(sigmoid(z), y), sigmoid(z), weights, clusters=of)
        alarms += bool(found.found)
        assert found.whole.excess_interval[0] > 0
    assert alarms <= 1


def test_a_first_batch_without_weight_is_no_unit_of_weight():
    rng, _, p, y = patients(5, 20, 50)
    columns, weights = {"hour": rng.normal(size=1000)}, np.r_[np.zeros(500), np.ones(500)]
    collector = SliceCollector(from_logits=False)
    for part in (slice(0, 500), slice(500, None)):
        x, t, w = (torch.from_numpy(values[part]) for values in (p, y, weights))
        collector.add(x, t, w, {"hour": columns["hour"][part]})
    found = collector.found()
    assert found.whole.count == 500
    assert found.whole.mean == pytest.approx(bce(p, y)[500:].mean())


# Several labels, soft targets, the command


def test_the_labels_of_a_sample_are_a_cluster():
    alarms = alone = 0
    for seed in range(3):
        rng, _, p, y = patients(seed, 600, 1)
        z, y = (np.repeat(values[:, None], 20, 1) for values in (np.log(p / (1 - p)), y))  # they say the same
        table = {"sex": rng.choice(["m", "f"], 600)} | {f"x{i}": rng.choice(list("abc"), 600) for i in range(6)}
        found = explain(z, y, from_logits=True, features=table).slices
        alarms += bool(found.found)
        assert found.clusters == 512
        each = {name: np.repeat(column, 20) for name, column in table.items()}
        alone += bool(find_slices(each, bce(sigmoid(z), y).ravel(), sigmoid(z).ravel()).found)
    two = {"features": table, "labels": ["one", "two"]}
    assert explain(z[:, :2], y[:, :2], from_logits=True, **two).slices.clusters == 512
    assert explain(z[:, :2], y[:, :2], from_logits=True, **two, cluster=np.arange(600) % 50).slices.clusters == 50
    assert alarms <= 1
    assert alone >= 2
    one_row = {name: column[:60] for name, column in table.items()}
    assert explain(z[:60, 0][None], y[:60, 0][None], from_logits=True, features=one_row).slices.clusters is None


def test_soft_targets_of_patients_give_no_slice():
    alarms = 0
    for seed in range(15):
        rng, of, p, y = patients(seed)
        soft = 0.3 * p + 0.7 * y
        alarms += bool(explain(p, soft, from_logits=False, features=noise(rng, of), cluster=of).slices.found)
    assert alarms <= 3


def test_the_command_and_files_of_several_batches_count_clusters(command):
    rng, of, p, y = patients(0)
    columns = noise(rng, of)
    order = rng.permutation(len(of))
    frame = pl.DataFrame(columns | {"p": p, "y": y, "patient": of})[order]
    expected = explain(
        p[order], y[order], from_logits=False, features={name: column[order] for name, column in columns.items()},
        cluster=of[order],
    ).slices  # fmt: skip
    frame.write_csv("t.csv")
    frame[:1500].write_parquet("a.parquet")
    frame[1500:].write_parquet("b.parquet")
    for files in (["t.csv"], ["a.parquet", "b.parquet"]):
        options = "--target", "y", "--prob", "p", "--slices", "--cluster", "patient", "--json"
        result = command("explain", *files, *options)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["slices"]
        assert found["clusters"] == 40
        assert found["columns"] == list(columns)
        assert found["found"] == []
        if len(files) == 1:  # else the bins are those of the first file
            assert found["whole"]["excess_interval"] == pytest.approx(list(expected.whole.excess_interval))
            assert found["looked_at"] == expected.looked_at
