"""explain: the article's table, scikit-learn's numbers, and errors that name the item."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import d2_log_loss_score, log_loss

from torchbce import explain
from torchbce.common.text import loss_text, probability_text
from torchbce.explanation.sketch.points import Points
from torchbce.explanation.statistics import calibration as lines
from torchbce.explanation.statistics import isotonic
from torchbce.explanation.statistics.sample import Sample

THREE = ([0.60, 0.20, 0.70], [1, 0, 1])


def predictions(n: int, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets drawn from sigmoid(slope * logit + shift)."""
    rng = np.random.default_rng(0)
    z = rng.normal(-0.5, 1.5, n)
    return z, (rng.random(n) < 1 / (1 + np.exp(-(slope * z + shift)))).astype(float)


def calibration(z, y):
    return lines.calibration(Sample(Points.of(z, y)))


def test_the_articles_table():
    text = str(explain(*THREE, from_logits=False))
    assert text.startswith(
        " item  target  output\n"
        "    1       1    0.60  -log(0.60)     =  0.51\n"
        "    2       0    0.20  -log(1 - 0.20) =  0.22\n"
        "    3       1    0.70  -log(0.70)     =  0.36\n"
        "                                     --------\n"
        "                            total BCE =  1.09\n"
        "\n"
        "mean BCE = 1.0906 / 3 = 0.3635\n"
    )
    assert "reduction='mean' prints this" in text
    assert "reduction='sum' prints this" in text


def test_logits_and_probabilities_of_one_model_cost_the_same():
    z, y = predictions(500)
    a, b = explain(z, y, from_logits=True), explain(1 / (1 + np.exp(-z)), y, from_logits=False)
    assert a.mean == pytest.approx(b.mean, rel=1e-12)
    assert a.calibration.slope == pytest.approx(b.calibration.slope, rel=1e-6)


def test_numbers_equal_scikit_learns():
    z, y = predictions(2000)
    p = 1 / (1 + np.exp(-z))
    found = explain(z, y, from_logits=True)
    assert found.mean == pytest.approx(log_loss(y, p), rel=1e-12)
    assert 1 - found.mean / found.baseline == pytest.approx(d2_log_loss_score(y, p), rel=1e-9)
    assert found.total == pytest.approx(found.mean * 2000)
    assert found.bits == pytest.approx(found.mean / math.log(2))
    assert found.typical_probability == pytest.approx(np.exp(np.mean(np.log(np.where(y == 1, p, 1 - p)))))
    losses = -np.where(y == 1, np.log(p), np.log1p(-p))
    assert found.standard_error == pytest.approx(losses.std(ddof=1) / math.sqrt(2000))
    assert [item.loss for item in found.items] == pytest.approx(np.sort(losses)[::-1][:10])
    assert [item.row for item in found.items] == (np.argsort(-losses)[:10] + 1).tolist()


def test_weights_are_reported_in_both_denominators():
    z, y = predictions(100)
    w = np.linspace(0.5, 3, 100)
    found = explain(z, y, from_logits=True, weight=w)
    p = 1 / (1 + np.exp(-z))
    assert found.total / found.weight_sum == pytest.approx(log_loss(y, p, sample_weight=w))
    assert found.mean == pytest.approx(found.total / 100)
    assert "torch's mean divides by the items" in str(found)
    assert explain(z, y, from_logits=True, weight=2).total == pytest.approx(2 * explain(z, y, from_logits=True).total)


def test_clamped_items_are_counted_and_priced():
    found = explain([0.0, 1.0, 1.0, 0.5], [1, 0, 1, 1], from_logits=False)
    assert (found.clamped, found.clamped_cost) == (2, 200)
    assert "2 items gave probability 0 to what happened" in str(found)
    assert explain([-200.0], [1], from_logits=True).total == 200


def test_soft_targets_have_a_floor():
    found = explain([0.95, 0.05], [0.95, 0.05], from_logits=False)
    assert found.mean == pytest.approx(found.floor) == pytest.approx(0.1985, abs=5e-5)
    assert "-(0.95 log(0.95) + 0.05 log(1 - 0.95))" in str(found)
    assert found.calibration is None


def test_a_baseline_may_be_given():
    found = explain(*THREE, from_logits=False, baseline=0.5)
    assert found.baseline == pytest.approx(math.log(2))
    assert "always answering 50 %" in str(found)


def test_one_class_only_has_no_baseline():
    assert "no baseline (one class only)" in str(explain([0.9, 0.8], [1, 1], from_logits=False))


def test_any_shape_and_any_container_will_do():
    for convert in (list, np.array, lambda v: torch.tensor(v).reshape(-1, 1), lambda v: torch.tensor(v)[None].half()):
        assert explain(convert(THREE[0]), convert(THREE[1]), from_logits=False).mean == pytest.approx(0.3635, abs=1e-3)


def test_to_dict_is_json_and_the_notebook_form_is_escaped():
    found = explain(*predictions(100), from_logits=True, top=2)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["count"] == 100
    assert len(read["items"]) == 2
    assert read["calibration"]["slope"] == found.calibration.slope
    assert found._repr_html_().startswith("<pre>")


@pytest.mark.parametrize(
    ("outputs", "targets", "error", "message"),
    [
        ([], [], ValueError, "there are no items to explain"),
        ([0.5], [2], ValueError, r"targets: item 1 is 2 \(1 such item\); targets lie in"),
        ([0.5, 0.5], [0, math.nan], ValueError, "targets: item 2 is nan"),
        ([0.5, 1.5], [0, 1], ValueError, "outputs: item 2 is 1.5"),
        ([0.5], [0, 1], ValueError, r"outputs has the shape \(1,\) and targets \(2,\)"),
        (["a"], [0], ValueError, "outputs cannot be read as numbers"),
    ],
)
def test_bad_items_are_named(outputs, targets, error, message):
    with pytest.raises(error, match=message):
        explain(outputs, targets, from_logits=False)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="outputs: item 2 is nan"):
        explain([0.0, math.nan], [0, 1], from_logits=True)
    with pytest.raises(ValueError, match="baseline is 1.5"):
        explain(*THREE, from_logits=False, baseline=1.5)
    with pytest.raises(ValueError, match=r"weight: item 2 is -1 \(1 such item\); weights are finite"):
        explain(*THREE, from_logits=False, weight=[1, -1, 1])
    with pytest.raises(TypeError, match="from_logits"):
        explain(*THREE)


# Calibration


def test_slope_and_shift_are_recovered():
    z, y = predictions(20_000, slope=0.6, shift=-0.3)
    found = calibration(z, y)
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.shift == pytest.approx(-0.3, abs=0.05)
    assert found.is_off(0.69)
    assert found.direction == "over-confident and too high on the whole"


def test_slope_and_shift_are_scikit_learns():
    z, y = predictions(500, slope=1.5)
    model = LogisticRegression(C=math.inf).fit(z[:, None], y)
    found = calibration(z, y)
    assert found.slope == pytest.approx(model.coef_[0, 0], rel=2e-2)  # ours is pulled to 1 a little
    assert found.shift == pytest.approx(model.intercept_[0], abs=2e-2)


def test_calibrated_predictions_raise_no_alarm():
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        z = rng.normal(-1, 2, 400)
        y = (rng.random(400) < 1 / (1 + np.exp(-z))).astype(float)
        found = calibration(z, y)
        alarms += found is not None and found.is_off(0.5)
    assert alarms == 0


def test_separable_data_do_not_send_the_slope_to_infinity():
    z = np.concatenate([np.full(30, -1.0), np.full(30, 1.0)])
    found = calibration(z, (z > 0).astype(float))
    assert 1 < found.slope < 20


def test_turned_around_predictions_are_called_so():
    z, y = predictions(2000, slope=-1)
    assert "flipped" in calibration(z, y).direction


def test_few_items_have_no_calibration():
    assert calibration(*predictions(40)) is None


def test_reliability_curve_is_isotonic_regression():
    z, y = predictions(3000)
    p = np.round(1 / (1 + np.exp(-z)), 3)  # with ties
    curve = isotonic.reliability_curve(Points.of(np.log(p / (1 - p)), y))
    fitted = IsotonicRegression().fit_transform(p, y)
    assert np.unique(curve.observed) == pytest.approx(np.unique(fitted))
    assert curve.count.sum() == 3000
    assert (curve.predicted * curve.count).sum() == pytest.approx(p.sum())
    assert (curve.observed * curve.count).sum() == pytest.approx(y.sum())


def test_texts_show_what_matters():
    assert [loss_text(v) for v in (0.5108, 0.0, 0.0312, 0.00012, 12.345)] == [
        "0.51",
        "0.00",
        "0.031",
        "0.00012",
        "12.35",
    ]
    cases = {
        0.6: "0.60",
        0.9997: "0.9997",
        0.0108: "0.0108",
        0.00030001: "0.0003",
        0.0: "0",
        1.0: "1",
        1e-12: "1.00e-12",
    }
    assert {p: probability_text(p) for p in cases} == cases
    assert probability_text(1 - 1e-12) == "1 - 1.0e-12"


@pytest.mark.parametrize(("method", "package"), [("frame", "polars"), ("plot", "matplotlib"), ("to_html", "jinja2")])
def test_a_missing_package_is_named_with_what_needs_it(method, package, monkeypatch, tmp_path):
    import sys

    found = explain([0.6, 0.2], [1, 0], from_logits=False)
    monkeypatch.setitem(sys.modules, package, None)  # importing it raises ModuleNotFoundError
    arguments = (tmp_path / "r.html",) if method == "to_html" else ()
    with pytest.raises(ModuleNotFoundError, match=rf"{method}\(\) needs .*{package}.*; install it with: pip install"):
        getattr(found, method)(*arguments)
