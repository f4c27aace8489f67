"""The ledger, decisions, labels of several, slices: what explain says beyond the number."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

import browser
import torchbce
from torchbce import explain
from torchbce.explanation.plots import LedgerDisplay


def predictions(n=3000, seed=0, slope=1.0):
    rng = np.random.default_rng(seed)
    true = rng.normal(-1, 1.5, n)
    return slope * true, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)


# The ledger


@pytest.mark.parametrize("weight", [None, "weights"])
@pytest.mark.parametrize("n", [3, 40, 3000])
def test_the_lines_of_each_account_add_up_to_the_mean_exactly(n, weight):
    z, y = predictions(n, slope=1.7)
    w = None if weight is None else np.random.default_rng(1).exponential(1, n)
    found = explain(z, y, from_logits=True, weight=w, by=np.arange(n) % 3)
    for lines in (found.ledger.lines, found.ledger.groups, found.ledger.items):
        assert sum(line.bits for line in lines) == found.ledger.bits
        assert sum(line.nats for line in lines) == found.ledger.nats == found.weighted_mean
    assert found.to_dict()["ledger"]["bits"] == found.ledger.bits


def test_the_ledger_is_the_decomposition_with_its_intervals():
    found = explain(*predictions(slope=1.7), from_logits=True)
    parts = found.decomposition
    rate, separation, lost = found.ledger.lines
    assert rate.nats == pytest.approx(parts.uncertainty, rel=1e-12)
    assert separation.nats == pytest.approx(-parts.discrimination, rel=1e-12)
    assert lost.nats == pytest.approx(parts.miscalibration, rel=1e-12)
    for line in (rate, separation, lost):
        assert line.interval.low <= line.bits <= line.interval.high
    assert "base rate" in str(found)


def test_soft_targets_have_a_ledger_of_two_lines():
    found = explain([0.2, 1.0, -1.0], [0.1, 0.9, 0.4], from_logits=True)
    assert [line.name for line in found.ledger.lines] == ["base rate", "the model"]
    assert sum(line.bits for line in found.ledger.lines) == found.ledger.bits


def test_the_waterfall_ends_at_the_mean():
    found = explain(*predictions(), from_logits=True)
    display = LedgerDisplay.from_explanation(found).plot()
    last = display.ax_.patches[-1]
    assert last.get_width() == found.ledger.bits
    with pytest.raises(ValueError, match="infinite"):
        LedgerDisplay.from_explanation(explain([-np.inf, 0.0], [1, 0], from_logits=True))


@pytest.mark.parametrize(
    ("z", "y", "words"),
    [
        ([-np.inf, 1.0], [1, 0], "The loss is infinite"),
        ([1.0, 2.0], [1, 1], "Every target is 1"),
        (*predictions(3000), "is saved"),
        (3 * predictions(3000)[0] + 4, predictions(3000)[1], "Worse than always answering"),
        (np.random.default_rng(7).normal(-0.75, 0.1, 300), predictions(300)[1], "No better than always answering"),
    ],
)
def test_the_verdict_says_what_to_conclude(z, y, words):
    assert words in explain(z, y, from_logits=True).verdict


# Decisions


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.999, 1.0])
def test_decisions_are_scikit_learns(threshold):
    z, y = predictions()
    found = explain(z, y, from_logits=True).decide(threshold)
    yes = 1 / (1 + np.exp(-z)) > threshold
    (tn, fp), (fn, tp) = confusion_matrix(y, yes, labels=[0, 1])
    assert (found.true_positive, found.false_positive) == (tp, fp)
    assert (found.false_negative, found.true_negative) == (fn, tn)
    if yes.any():
        assert found.precision == pytest.approx(precision_score(y, yes))
    assert found.recall == pytest.approx(recall_score(y, yes))
    assert found.cost == pytest.approx((fp + fn) / len(y))


def test_costs_imply_the_threshold_that_is_best_in_the_long_run():
    z, y = predictions(200_000)
    found = explain(z, y, from_logits=True).decide(cost=(1, 4))
    assert found.decision.threshold == pytest.approx(0.2)
    thresholds, costs = found.curve
    assert thresholds[costs.argmin()] == pytest.approx(0.2, abs=0.05)
    assert found.cost == pytest.approx(costs.min(), rel=0.01)
    assert found.best_cost <= costs.min()
    assert found.cost_of_none == pytest.approx(4 * y.mean())
    assert found.cost_of_all == pytest.approx(1 - y.mean())


def test_decisions_that_cannot_be_are_refused():
    found = explain(*predictions(50), from_logits=True)
    for given in ({}, {"threshold": 0.5, "cost": (1, 2)}, {"threshold": 1.5}, {"cost": (0, 1)}):
        with pytest.raises(ValueError, match=r"threshold|cost"):
            found.decide(**given)
    with pytest.raises(ValueError, match="soft"):
        explain([0.5], [0.5], from_logits=False).decide(0.5)


# Several labels of each sample


def test_each_label_has_a_result_of_its_own():
    z, y = predictions(3000)
    z, y = z.reshape(1000, 3), y.reshape(1000, 3)
    found = explain(z, y, from_logits=True, labels=["a", "b", "c"])
    for column, name in enumerate("abc"):
        alone = explain(z[:, column], y[:, column], from_logits=True)
        one = found.labels[name]
        assert (one.mean, one.base_rate, one.calibration) == (alone.mean, alone.base_rate, alone.calibration)
        assert f"\n{name:<5}  " in str(found)
    assert np.mean([one.mean for one in found.labels.values()]) == pytest.approx(found.mean)
    sample, label = found.items[0].place.split(", ")
    losses = np.logaddexp(0, z) - y * z
    assert (int(sample) - 1, "abc".index(label)) == np.unravel_index(losses.argmax(), losses.shape)
    with pytest.raises(ValueError, match=r"there are 2 labels and outputs has the shape \(1000, 3\)"):
        explain(z, y, from_logits=True, labels=["a", "b"])


# Pages


@pytest.mark.skipif(not browser.CHROMIUM, reason="needs chromium")
@pytest.mark.parametrize("width", [360, 1200])
def test_pictures_take_the_colours_of_the_screen_and_fit_it(tmp_path, width):
    z, y = predictions()
    explain(z, y, from_logits=True).to_html(tmp_path / "explained.html")
    torchbce.compare(z, 2 * z, y, from_logits=True).to_html(tmp_path / "compared.html")
    for name in ("explained", "compared"):
        with browser.page(tmp_path / f"{name}.html", tmp_path / name) as page:
            page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                page.call("Emulation.setEmulatedMedia", features=features)
                ink = page.value("getComputedStyle(document.body).color")
                fills = "[...document.querySelectorAll('figure svg text')].map((t) => getComputedStyle(t).fill)"
                assert set(page.value(fills)) == {ink}
                assert ink == {"light": "rgb(28, 28, 28)", "dark": "rgb(232, 232, 230)"}[scheme]
            assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert page.problems == []


# Slices


def planted(n=8000):
    rng = np.random.default_rng(0)
    table = {"country": rng.choice(["DE", "FR", "IT"], n), "age": rng.integers(18, 80, n), "noise": rng.random(n)}
    z = rng.normal(-1, 1, n)
    true = z + 1.0 * (table["country"] == "FR")
    return table, z, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(int)


def test_explain_finds_the_slice_that_was_planted():
    table, z, y = planted()
    found = explain(z, y, from_logits=True, features=table)
    assert [one.name for one in found.slices.found] == ["country = FR"]
    assert "country = FR" in str(found)
    assert found.to_dict()["slices"]["found"][0]["conditions"] == ["country = FR"]
    for kind in (pl.DataFrame, pytest.importorskip("pandas").DataFrame):
        same = explain(z, y, from_logits=True, features=kind(table)).slices
        assert [one.name for one in same.found] == ["country = FR"]
        assert same.looked_at == found.slices.looked_at
    p = 1 / (1 + np.exp(-z))
    assert explain(p, y, from_logits=False, features=table).slices.found[0].name == "country = FR"
    assert explain(z, y, from_logits=True).slices is None


def test_the_command_finds_it_in_files(command):
    table, z, y = planted()
    frame = pl.DataFrame(table | {"z": z, "y": y})
    frame.write_csv("t.csv")
    frame.write_parquet("t.parquet")
    expected = explain(z, y, from_logits=True, features=table).slices.to_dict()
    for file in ("t.csv", "t.parquet"):
        result = command("explain", file, "--target", "y", "--logit", "z", "--slices", "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["slices"]
        assert [one["conditions"] for one in found["found"]] == [one["conditions"] for one in expected["found"]]
        assert found["looked_at"] == expected["looked_at"]
    result = command("explain", "t.csv", "--target", "y", "--logit", "z", "--slices", "--save", "x")
    assert "--slices reads all rows in one process" in result.output


def test_the_command_decides(command):
    z, y = predictions()
    pl.DataFrame({"z": z, "y": y}).write_csv("t.csv")
    result = command("explain", "t.csv", "--target", "y", "--logit", "z", "--cost", "1,4", "--json")
    expected = explain(z, y, from_logits=True).decide(cost=(1, 4))
    assert json.loads(result.stdout)["decided"]["cost"] == pytest.approx(expected.cost)
    assert "precision" in command("explain", "t.csv", "--target", "y", "--logit", "z", "--threshold", "0.3").output
    both = command("explain", "t.csv", "--target", "y", "--logit", "z", "--threshold", "0.3", "--cost", "1,4")
    assert both.exit_code == 2


def test_a_run_is_explained_by_the_columns_of_its_table(command, tmp_path):
    table, z, y = planted(400)
    pl.DataFrame(table | {"x": z, "y": y}).write_csv("table.csv")
    trained = command(
        "train", "table.csv", "--target", "y", "--folds", "2", "--members", "1", "--no-trees", "--epochs", "2",
        "--exclude", "country", "--out", "run",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    found = json.loads(command("explain", "run", "--by", "country", "--json").stdout)
    made = pl.read_parquet("run/predictions.parquet")
    for group in found["groups"]:
        mine = made.filter(pl.Series(table["country"])[made["row"].to_numpy() - 1] == group["name"])
        assert group["count"] == mine.height
        assert group["mean"] == pytest.approx(mine["loss"].mean())
    assert "slices of" in command("explain", "run", "--slices").output
    clustered = json.loads(command("explain", "run", "--slices", "--cluster", "age", "--json").stdout)["slices"]
    assert clustered["clusters"] == len(set(table["age"]))
    assert "age" not in clustered["columns"]
    (tmp_path / "table.csv").rename(tmp_path / "moved.csv")
    lost = command("explain", "run", "--by", "country")
    assert lost.exit_code == 3, lost.output
    assert "table.csv, which is not here" in lost.output
    assert "--table FILE" in lost.output
    assert command("explain", "run", "--by", "country", "--table", "moved.csv").exit_code == 0


def test_labels_of_a_file_and_of_a_run(command):
    z, y = predictions(2000)
    flipped = np.random.default_rng(2).random(2000) < 0.05
    labelled = np.where(flipped, 1 - y, y)
    pl.DataFrame({"z": z, "y": labelled}).write_csv("t.csv")
    result = command("labels", "t.csv", "--target", "y", "--logit", "z", "--json", "--out", "suspects.csv")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    expected = torchbce.find_label_errors(z, labelled, from_logits=True).to_dict()
    assert [item["row"] for item in found["items"][:20]] == [item["row"] for item in expected["items"][:20]]
    assert pl.read_csv("suspects.csv")["row"].to_list() == [item["row"] for item in found["items"]]
    soft = command("labels", "t.csv", "--target", "z", "--logit", "z")
    assert soft.exit_code == 3


# What a review found


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_item_at_the_threshold_is_a_no(dtype):
    p = np.repeat(np.arange(1, 10) / 10, 3).astype(dtype)
    y = np.arange(27) % 2
    for threshold in p.tolist():
        found = explain(p, y, from_logits=False).decide(round(threshold, 1))
        assert found.true_positive + found.false_positive == (p > dtype(round(threshold, 1))).sum()


def test_labels_keep_clusters_and_groups_of_samples():
    rng = np.random.default_rng(0)
    patient = np.arange(4000) % 40
    z = np.repeat(rng.normal(size=40)[patient][:, None], 2, 1)
    y = (rng.random((4000, 2)) < 0.5).astype(float)
    alone = explain(z[:, 0], y[:, 0], from_logits=True, cluster=patient, by=patient % 2)
    for cluster, by in ((patient, patient % 2), (np.stack([patient] * 2, 1), np.stack([patient % 2] * 2, 1))):
        found = explain(z, y, from_logits=True, cluster=cluster, by=by, labels=["a", "b"])
        assert found.labels["a"].clusters == found.clusters == 40
        assert found.labels["a"].standard_error == pytest.approx(alone.standard_error)
        assert [group.name for group in found.labels["a"].groups] == [group.name for group in alone.groups]
    with pytest.raises(ValueError, match="names one column twice"):
        explain(z, y, from_logits=True, labels=["a", "a"])
    table = {"noise": rng.random(4000)}
    assert explain(z, y, from_logits=True, features=table, labels=["a", "b"]).slices.whole.count == 8000


def test_estimates_lie_in_their_intervals():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.4).astype(float)
    for z, weight in ((np.zeros(2000), rng.gamma(1, 1, 2000)), (np.where(y == 1, 40.0, -40.0), None)):
        parts = explain(z, y, from_logits=True, weight=weight).decomposition
        assert parts.discrimination_interval.low <= parts.discrimination <= parts.discrimination_interval.high
        assert parts.miscalibration_interval.low <= parts.miscalibration <= parts.miscalibration_interval.high


def test_an_infinite_loss_makes_no_nonsense():
    z, y = predictions(200)
    z[np.argmax(y)] = -np.inf
    found = explain(z, y, from_logits=True)
    assert found.calibration is None
    assert "none: the loss is not finite" in str(found)
    assert "nan" not in str(found)


def test_a_run_is_not_joined_with_another_table(command):
    table, z, y = planted(400)
    frame = pl.DataFrame(table | {"x": z, "y": y})
    frame.write_csv("table.csv")
    trained = command(
        "train", "table.csv", "--target", "y", "--folds", "2", "--members", "1", "--no-trees", "--epochs", "1",
        "--out", "run",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    frame.with_columns(y=1 - pl.col("y")).write_csv("other.csv")
    refused = command("explain", "run", "--by", "country", "--table", "other.csv")
    assert refused.exit_code == 3
    assert "other.csv has other targets" in refused.output
    missing = command("explain", "run", "--by", "nothing")
    assert "run: no column" in missing.output.replace("\n", " ") or "run" in missing.output.split(":")[1]
