"""The sketch, the parts of the loss, and what is made of them, beside the libraries that know one of them each."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression
from sklearn.metrics import log_loss, roc_auc_score

import browser
from torchbce import explain
from torchbce.explanation import plots as display
from torchbce.explanation.explain import explanation
from torchbce.explanation.sketch.file import from_bytes, to_bytes
from torchbce.explanation.sketch.groups import MOST as MOST_GROUPS
from torchbce.explanation.sketch.points import LIMIT, Points
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.statistics.recalibration import recalibration


def predictions(n, slope=1.0, shift=0.0, seed=0, mean=-0.5):
    rng = np.random.default_rng(seed)
    z = rng.normal(mean, 1.5, n)
    return z, (rng.random(n) < 1 / (1 + np.exp(-(slope * z + shift)))).astype(float)


def sketch_of(x, y, w=None, *, from_logits=True, first=1, source=""):
    sketch = Sketch(from_logits)
    x, y, w = (None if v is None else torch.as_tensor(v) for v in (x, y, w))
    sketch.add(x, y, w, rows=np.arange(first, first + len(x)), source=source)
    return sketch


# Oracles


def test_the_parts_are_model_diagnostics_decomposition():
    from model_diagnostics import scoring

    z, y = predictions(3000, slope=0.7)
    p = 1 / (1 + np.exp(-np.round(z, 2)))
    for weights in (None, np.linspace(0.5, 2, 3000)):
        found = explain(np.round(z, 2), y, from_logits=True, weight=weights)
        oracle = scoring.decompose(y_obs=y, y_pred=p, weights=weights, scoring_function=scoring.LogLoss())
        parts = found.decomposition
        assert parts.corp_miscalibration == pytest.approx(oracle["miscalibration"][0], rel=1e-9)
        assert parts.corp_discrimination == pytest.approx(oracle["discrimination"][0], rel=1e-9)
        assert parts.uncertainty == pytest.approx(oracle["uncertainty"][0], rel=1e-9)
        assert found.weighted_mean == pytest.approx(oracle["score"][0], rel=1e-9)


def test_the_normalised_entropy_is_torchevals():
    from torcheval.metrics import functional

    z, y = predictions(1000)
    w = np.linspace(0.5, 2, 1000)
    for weight in (None, w):
        theirs = functional.binary_normalized_entropy(
            torch.tensor(z), torch.tensor(y), weight=None if weight is None else torch.tensor(weight), from_logits=True
        )
        assert explain(z, y, from_logits=True, weight=weight).normalized_entropy == pytest.approx(
            theirs.item(), rel=1e-9
        )


def test_auc_and_the_shares_are_scikit_learns_and_scipys():
    z, y = predictions(4000)
    z = np.round(z, 1)
    found = explain(z, y, from_logits=True)
    assert found.auc == pytest.approx(roc_auc_score(y, z), rel=1e-12)
    order = np.argsort(z, kind="stable")
    places, counts = np.unique(z[order], return_counts=True)
    shares = np.add.reduceat(y[order], np.searchsorted(z[order], places)) / counts
    assert np.unique(found.reliability.observed) == pytest.approx(
        np.unique(isotonic_regression(shares, weights=counts.astype(float)).x)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_other_libraries_print_is_known(dtype):
    p, y = np.array([0.0, 1.0, 0.3, 1.0], dtype), np.array([1.0, 0.0, 1.0, 1.0])
    found = explain(p, y, from_logits=False)
    assert found.elsewhere.sklearn == pytest.approx(log_loss(y, p), rel=1e-6)
    assert found.elsewhere.keras == pytest.approx(keras_prints(p, y, from_logits=False), rel=1e-6)
    assert "scikit-learn" in str(found)
    z = np.array([-20.0, 9.0, 0.5, 30.0], dtype)
    assert explain(z, y, from_logits=True).elsewhere.keras == pytest.approx(
        keras_prints(z, y, from_logits=True), rel=1e-6
    )


def keras_prints(outputs, y, from_logits):
    keras = pytest.importorskip("keras")  # on torch, see conftest
    return float(keras.losses.BinaryCrossentropy(from_logits=from_logits)(y, outputs))


# The sketch


@given(st.integers(1, 400), st.integers(0, 400), st.booleans(), st.booleans(), st.integers(0, 10_000))
def test_merged_shards_are_the_whole(n, cut, weighted, soft, seed):
    z, y = predictions(n, seed=seed)
    y = np.random.default_rng(seed).random(n) if soft else y
    w = np.random.default_rng(seed).random(n) + 0.1 if weighted else None
    cut = min(cut, n)
    whole = sketch_of(z, y, w)
    parts = [
        sketch_of(z[part], y[part], None if w is None else w[part], first=1 + part.start)
        for part in (slice(0, cut), slice(cut, n))
    ]
    merged = from_bytes(to_bytes(parts[1]))
    merged.merge(from_bytes(to_bytes(parts[0])))
    a, b = (json.loads(json.dumps(explanation(s).to_dict())) for s in (whole, merged))
    assert_same(a, b)


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-7, abs=1e-9)
    else:
        assert a == b


def test_many_logits_are_rounded_and_the_parts_stay():
    z, y = predictions(3 * LIMIT, slope=0.6)
    whole = sketch_of(z, y)
    assert not whole.points.is_exact
    found, exact = explanation(whole), Points.of(z[:1000], y[:1000])
    assert len(whole.distribution().logits) < LIMIT
    assert exact.logits == pytest.approx(np.sort(z[:1000]))
    assert found.mean == pytest.approx(log_loss(y, 1 / (1 + np.exp(-z))), rel=1e-12)
    assert found.auc == pytest.approx(roc_auc_score(y, z), abs=1e-5)
    assert found.calibration.slope == pytest.approx(0.6, abs=0.02)
    # However it came about, and in whatever order: the same.
    parts = [sketch_of(z[i : i + 50_000], y[i : i + 50_000], first=1 + i) for i in range(0, len(z), 50_000)]
    merged = parts.pop(2)
    for part in parts:
        merged.merge(part)
    assert_same(found.to_dict(), explanation(merged).to_dict())


def test_logits_in_16_bits_are_exact():
    z, y = predictions(300_000)
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.tensor(z).to(dtype)
        found = sketch_of(x, y).distribution()
        assert np.array_equal(found.logits, np.unique(x.double().numpy() + 0.0))
        assert found.total_weight.sum() == len(z)


@pytest.mark.parametrize("n", [50_000, 500_000])
def test_the_share_of_the_worst_items(n):
    z, y = predictions(n)
    losses = np.sort(-np.log(np.where(y == 1, 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z)))))[::-1]
    found = explain(z, y, from_logits=True)
    assert found.worst_share == pytest.approx(losses[: n // 100].sum() / losses.sum(), rel=1e-4)
    assert [item.loss for item in found.items] == pytest.approx(losses[:10])


def test_equal_losses_are_listed_in_order():
    found = explain(np.zeros(300_000), np.ones(300_000), from_logits=True, top=1000)
    assert [item.row for item in found.items] == list(range(1, 1001))


def test_groups_say_who_carries_the_loss():
    z, y = predictions(5000)
    by = np.where(np.arange(5000) % 3 == 0, "a", "b")
    found = explain(z, y, from_logits=True, by=by)
    assert sum(group.share for group in found.groups) == pytest.approx(1)
    for group in found.groups:
        alone = explain(z[by == group.name], y[by == group.name], from_logits=True)
        assert (group.count, group.mean, group.baseline) == pytest.approx((alone.count, alone.mean, alone.baseline))
        assert group.interval == pytest.approx(alone.intervals["mean"], rel=1e-9)
    assert found.groups[0].share >= found.groups[1].share
    assert "group 1     b: " in str(found)
    with pytest.raises(ValueError, match=f"more than {MOST_GROUPS:,} groups"):
        explain(np.zeros(20_000), np.zeros(20_000), from_logits=True, by=np.arange(20_000))
    with pytest.raises(ValueError, match="by has 2 values, one for each item; there are 3 items"):
        explain([0, 0, 0], [0, 0, 0], from_logits=True, by=["a", "b"])


def test_what_is_not_a_sketch_is_refused():
    for content in (b"", b"no", to_bytes(sketch_of([0.0], [1.0]))[:200]):
        with pytest.raises(
            ValueError, match="this (is not a sketch that explain --save of this version made|sketch is damaged)"
        ):
            from_bytes(content)
    with pytest.raises(ValueError, match="one sketch is of logits and the other of probabilities"):
        sketch_of([0.0], [1.0]).merge(sketch_of([0.5], [1.0], from_logits=False))


# The estimate of miscalibration


@pytest.mark.parametrize(
    ("slope", "shift", "n", "truth"), [(1, 0, 500, 0.0), (1, 0, 20_000, 0.0), (0.5, -0.4, 20_000, None)]
)
def test_the_cross_fitted_miscalibration_is_near_the_truth(slope, shift, n, truth):
    found = []
    for seed in range(20):
        z, y = predictions(n, slope, shift, seed)
        found.append(recalibration(Points.of(z, y)).gain)
    if truth is None:
        z, _ = predictions(400_000)
        right, given = (1 / (1 + np.exp(-v)) for v in (slope * z + shift, z))
        truth = (right * np.log(right / given) + (1 - right) * np.log((1 - right) / (1 - given))).mean()
    assert np.mean(found) == pytest.approx(truth, abs=0.002)


def test_the_parts_add_up_and_the_band_holds_what_is_calibrated():
    inside = 0
    for seed in range(40):
        z, y = predictions(1000, seed=seed)
        found = explain(z, y, from_logits=True)
        parts = found.decomposition
        assert found.d2 == pytest.approx((parts.discrimination - parts.miscalibration) / parts.uncertainty)
        assert found.mean == pytest.approx(parts.corp_miscalibration - parts.corp_discrimination + parts.uncertainty)
        inside += parts.corp_miscalibration <= parts.corp_band
    assert inside >= 34


def test_infinite_and_saturated_items():
    found = explain([math.inf, -math.inf, 20.0, 0.0], [0, 0, 1, 1], from_logits=True)
    assert math.isinf(found.total)
    assert found.saturated == 2
    assert found.to_dict()["total"] is None
    assert explain(torch.tensor([7.0, 1.0]).bfloat16(), [1, 1], from_logits=True).saturated == 1
    assert "in bfloat16" in str(explain(torch.tensor([7.0, 1.0]).bfloat16(), [1, 1], from_logits=True))


# Pictures and pages


def test_every_form_of_the_result(tmp_path):
    z, y = predictions(2000)
    found = explain(z, y, from_logits=True, by=np.where(z > 0, "<b>|", "low"), top=5)
    assert found.frame().height == 5
    assert "\\|" in found.to_markdown()
    assert found.plot().axes
    found.to_html(tmp_path / "report.html", title="<script>alert(1)</script>")
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;b&gt;|" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/", "").replace(
        "http://purl.org/", ""
    )
    with pytest.raises(FileNotFoundError):
        found.to_html(tmp_path / "missing" / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_displays_draw_on_given_axes_and_on_their_own():
    from matplotlib.figure import Figure

    z, y = predictions(500)
    for cls in (display.ReliabilityDisplay, display.LossHistogramDisplay, display.ItemLossDisplay):
        ax = Figure().add_subplot()
        shown = cls.from_predictions(z, y, from_logits=True, ax=ax)
        assert shown.ax_ is ax
        assert cls.from_predictions(z, y, from_logits=True).figure_ is not ax.figure
    parts = [explain(*predictions(500, seed=k), from_logits=True).decomposition for k in range(3)]
    assert display.EpochsDisplay(parts).plot().epochs == [1, 2, 3]
    curve = display.LossCurveDisplay({"train": [0.6, 0.5], "validation": [0.6, 0.55]}, levels={"coin": 0.69}, best=2)
    assert len(curve.plot().lines_) == 2
    with pytest.raises(ValueError, match="no reliability diagram of soft targets"):
        display.ReliabilityDisplay.from_predictions([0.2, 0.7], [0.5, 0.5], from_logits=False)


def test_rare_events_have_logit_axes():
    z, y = predictions(5000, mean=-5)
    shown = display.ReliabilityDisplay.from_predictions(z, y, from_logits=True)
    assert "0.001" in [label.get_text() for label in shown.ax_.get_xticklabels()]


@pytest.mark.skipif(not browser.CHROMIUM, reason="needs chromium")
def test_items_are_dragged_along_the_curve_in_a_browser(tmp_path):
    explain([0.60, 0.20, 0.70], [1, 0, 1], from_logits=False).to_html(tmp_path / "report.html")
    with browser.page(tmp_path / "report.html", tmp_path / "profile") as page:
        shown = "document.getElementById('{}').textContent"
        assert page.value(shown.format("total")) == "1.0906"
        assert page.value(shown.format("mean")) == "0.363548"
        assert page.value("document.querySelectorAll('circle.item').length") == 3
        width = page.value("document.getElementById('curve').getBoundingClientRect().width")
        page.drag("circle[data-item='0']", -0.3 * width * (640 - 44 - 12) / 640, 0)
        moved = page.value("+document.querySelector('#item-0 input').value")
        odds = math.log(0.6 / 0.4) - 0.3 * 7.5  # the axis has 7.5 units of log odds
        assert moved == pytest.approx(1 / (1 + math.exp(-odds)), abs=0.01)
        loss = page.value("+document.querySelector('#item-0 .nats').textContent")
        assert loss == pytest.approx(-math.log(moved), abs=0.01)
        assert page.value("+" + shown.format("total")) == pytest.approx(1.0906 + loss - 0.5108, abs=1e-3)
        gradient = page.value("+document.querySelector('#item-0 .gradient').textContent")
        assert gradient == pytest.approx((moved - 1) / 3, rel=0.01)
        page.value("document.getElementById('reset').click()")
        assert page.value(shown.format("total")) == "1.0906"
        page.value("document.querySelector('#items th button').click()")
        assert page.value("document.querySelector('#items th').getAttribute('aria-sort')") in (
            "ascending",
            "descending",
        )
        assert page.problems == []


# What a review found


@pytest.mark.parametrize("k", [1, 30, 1000])
def test_large_logits_keep_their_separation(k):
    rng = np.random.default_rng(0)
    t = 1.5 * rng.normal(size=20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-t))).astype(float)
    right = explain(t, y, from_logits=True).decomposition
    found = explain(k * t, y, from_logits=True)
    assert found.decomposition.discrimination == pytest.approx(right.discrimination, abs=0.003)
    assert found.calibration.slope == pytest.approx(1 / k, rel=0.05)


def test_outliers_do_not_bend_the_line():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1.5, 20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(-z))).astype(float)
    z[:400] = np.where(y[:400] == 1, -200, 200)
    found = explain(z, y, from_logits=True)
    assert found.decomposition.discrimination > 0.1
    assert found.decomposition.miscalibration < found.mean


def test_parts_may_be_empty():
    z, y = predictions(100_000)
    whole, empty = sketch_of(z, y), from_bytes(to_bytes(Sketch(True)))
    before = explanation(whole).mean
    whole.merge(empty)
    empty.merge(whole)
    assert explanation(whole).mean == explanation(empty).mean == before
    weights = np.append(np.zeros(131_072), np.ones(1000))
    found = explain(
        np.append(np.zeros(131_072), z[:1000]), np.append(np.zeros(131_072), y[:1000]), from_logits=True, weight=weights
    )
    assert found.weighted_mean == pytest.approx(explain(z[:1000], y[:1000], from_logits=True).mean)


def test_items_without_weight_cost_nothing():
    found = explain([-math.inf, 2.0, 1.0], [1, 1, 0], from_logits=True, weight=[0, 1, 1])
    assert found.weighted_mean == pytest.approx(explain([2.0, 1.0], [1, 0], from_logits=True).mean)
    with pytest.raises(ValueError, match="all weights are 0"):
        explain([0.0, 1.0], [1, 0], from_logits=False, weight=[0, 0])
    with pytest.raises(ValueError, match=r"weight has the shape \(2,\) and targets \(3,\)"):
        explain([0.5] * 3, [1, 0, 1], from_logits=False, weight=[1, 2])


def test_groups_are_not_lost_in_a_merge():
    with_groups = Sketch(True)
    x, y = torch.zeros(3), torch.ones(3)
    with_groups.add(x, y, rows=np.arange(3), groups=(np.zeros(3, int), ["a"]))
    with pytest.raises(ValueError, match="one sketch has groups"):
        with_groups.merge(sketch_of(np.zeros(3), np.ones(3)))


def test_the_page_knows_the_losses_of_large_logits(tmp_path):
    explain([40.0, 200.0, 3.0], [0, 0, 1], from_logits=True).to_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    explored = json.loads(text.split('id="explored" type="application/json">')[1].split("</script>")[0])
    assert [item["loss"] for item in explored["items"]] == [40.0, 200.0, pytest.approx(0.0485873516)]
    explain([-math.inf] + [1.0] * 20, [1] * 21, from_logits=True).to_html(tmp_path / "infinite.html")
    assert ": NaN" not in (tmp_path / "infinite.html").read_text()
