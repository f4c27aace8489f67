"""What columns are worth, and what a model makes of them."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest

from torchbce.explanation.plots import EffectDisplay, ImportanceDisplay
from torchbce.io.files import FileRows
from torchbce.table.columns.columns import inputs_of
from torchbce.table.columns.dataset import Dataset
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.importance import importances, permutation_increase
from torchbce.table.model import fit_model
from torchbce.table.partial_dependence import partial_dependence


@pytest.fixture(scope="module")
def learnt():
    """x decides with a known slope, c adds a known amount, noise does nothing."""
    rng = np.random.default_rng(0)
    count = 1500
    x, noise, c = rng.normal(size=count), rng.normal(size=count), rng.choice(["u", "v"], count)
    gap = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
    answers = (rng.random(count) < 1 / (1 + np.exp(-(2 * x + (c == "v"))))).astype(np.uint8)
    frame = pl.DataFrame({"x": x, "noise": noise, "c": c, "gap": pl.Series(gap).fill_nan(None)})
    kinds = {"x": "numeric", "noise": "numeric", "c": "categorical", "gap": "numeric"}
    examples = Dataset(frame=frame, name=FileRows("t"), kinds=kinds, y=answers)
    options = UserOptions(hidden=(), members=2, epochs=10, trees=False)
    encoded = EncodedTable.fit(examples)
    model = fit_model(examples, encoded, options, seed=0).model
    return model, encoded.rows, answers


def test_inputs_of_a_column_are_all_that_is_made_of_it(learnt):
    model, encoded, _ = learnt
    assert inputs_of(model.columns) == {"x": [0], "noise": [1], "gap": [2, 3], "c": [4]}
    assert encoded.shape[1] == 5


def test_a_column_is_worth_what_the_loss_rises_by(learnt):
    """Against the exact mean over all exchanges of a model whose logits are linear."""
    model, encoded, answers = learnt
    found = {
        one.column: one
        for one in importances([permutation_increase(model, encoded, answers, 0)], [np.ones(len(answers))])
    }
    assert list(found)[:2] == ["x", "c"]
    assert abs(found["noise"].nats) < 0.005
    logits = model.ensemble.logits(encoded)
    some = encoded[:300]
    exact = np.empty((300, len(encoded)))
    for i, row in enumerate(some):
        mixed = np.repeat(row[None], len(encoded), 0)
        mixed[:, 0] = encoded[:, 0]
        exact[i] = model.ensemble.logits(mixed)
    sign = np.where(answers[:300] == 1, 1.0, -1.0)
    rise = np.log1p(np.exp(-sign[:, None] * exact)).mean(1) - np.log1p(np.exp(-sign * logits[:300]))
    spread = math.hypot(found["x"].error, rise.std() / 300**0.5)
    assert abs(found["x"].nats - rise.mean()) < 4 * spread


def test_effects_follow_the_model(learnt):
    model, encoded, _ = learnt
    curve = partial_dependence(model, encoded, "x", seed=0)
    assert np.all(np.diff(curve.probabilities) > 0)
    assert np.all(np.diff(curve.values) > 0)
    levels = partial_dependence(model, encoded, "c", seed=0)
    assert levels.values[-1] == "(other)"
    by_level = dict(zip(levels.values, levels.probabilities, strict=True))
    assert by_level["v"] > by_level["u"]


def test_a_column_that_a_fold_does_not_use_is_worth_nothing_there():
    (one,) = importances([{"a": np.full(2, 0.3)}, {}], [np.ones(2), np.ones(4)])
    assert one.nats == pytest.approx(0.1)


def test_displays_show_what_they_are_given():
    bars = ImportanceDisplay(["a" * 50, "b"], [0.2, 0.1], [0.01, 0.02]).plot()
    assert [label.get_text() for label in bars.ax_.get_yticklabels()] == ["a" * 16 + "…" + "a" * 15, "b"]
    assert EffectDisplay("c", ["u", "v"], [0.1, 0.2], base_rate=0.15).plot().ax_.get_ylabel() == "mean probability"


def test_the_report_and_the_summary_name_the_columns(command, tmp_path):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=500), rng.normal(size=500)
    pl.DataFrame({"x": x, "z": z, "y": (x + rng.normal(size=500) > 0).astype(int)}).write_csv("t.csv")
    result = command("train", "t.csv", "--target", "y", "--epochs", "5", "--out", "run")
    assert re.search(r"columns +worth most, in nats per item: x \S+ \+- \S+, z", result.stdout)
    from pathlib import Path

    page = Path("run/report.html").read_text()
    assert "What each column is worth" in page
    assert "The answer as x varies" in page
