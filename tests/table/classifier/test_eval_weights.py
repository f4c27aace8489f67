"""Weights count wherever rows judge: in the choice of an epoch, in scaling, in the estimate and what is said of it."""

from __future__ import annotations

import re
import warnings

import numpy as np
import polars as pl
import pytest

from torchbce import BCEClassifier
from torchbce.table.importance import importances

QUICK = {"epochs": 6, "members": 2, "random_state": 0}


def rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    return x, rng.random(count) < 1 / (1 + np.exp(-2 * x[:, 0]))


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, ...]:
    """Rows to learn from, others to choose by, and whole weights of these from 0 to 3."""
    return *rows(400, 0), *rows(150, 1), np.random.default_rng(2).integers(0, 4, 150).astype(float)


def logits(fitted: BCEClassifier, data) -> list[float]:
    return fitted.decision_function(data[2]).tolist()


def test_a_weight_of_an_eval_row_is_as_so_many_rows(data):
    x, y, more, answers, w = data
    copies = np.repeat(np.arange(150), w.astype(int))
    weighted = BCEClassifier(**QUICK).fit(x, y, eval_set=(more, answers, w))
    copied = BCEClassifier(**QUICK).fit(x, y, eval_set=(more[copies], answers[copies]))
    ours, theirs = (np.array([epoch.valid for epoch in model.history_]) for model in (weighted, copied))
    plain = BCEClassifier(**QUICK).fit(x, y, eval_set=(more, answers))
    assert ours == pytest.approx(theirs, rel=0.02)  # columns are scaled with those rows too
    assert np.abs(ours - [epoch.valid for epoch in plain.history_]).max() > 0.005


def test_the_choice_and_the_scaling_follow_the_weights(data):
    """Where only rows count whose classes are right, the scaling is another than without weights."""
    x, y, more, answers, _ = data
    turned = np.where(np.arange(150) < 75, answers, ~answers)
    right = np.where(np.arange(150) < 75, 1.0, 1e-9)
    told = BCEClassifier(**QUICK).fit(x, y, eval_set=(more, turned, right))
    lied = BCEClassifier(**QUICK).fit(x, y, eval_set=(more, turned, np.ones(150)))
    assert told.history_.best.valid < lied.history_.best.valid - 0.05
    assert np.std(logits(told, data)) > 2 * np.std(logits(lied, data))


def test_only_the_ratios_of_weights_count(data):
    x, y, more, answers, w = data
    own = np.random.default_rng(3).integers(1, 5, 400).astype(float)
    found = [
        logits(BCEClassifier(**QUICK).fit(x, y, one, eval_set=(more, answers, other)), data)
        for one, other in ((own, w), (1024 * own, w), (own, 1024 * w))
    ]
    assert found[0] == found[1] == found[2]


def test_an_eval_set_without_weights_beside_weighted_rows_is_said_and_counts_alike(data):
    x, y, more, answers, _ = data
    own = np.random.default_rng(3).integers(1, 5, 400).astype(float)
    with pytest.warns(UserWarning, match="eval_set has no weights: each row of eval_set counts the same"):
        silent = BCEClassifier(**QUICK).fit(x, y, 64 * own, eval_set=(more, answers))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meant = BCEClassifier(**QUICK).fit(x, y, own, eval_set=(more, answers, np.ones(150)))
        BCEClassifier(**QUICK).fit(x, y, eval_set=(more, answers))
    assert logits(silent, data) == logits(meant, data)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(149), "X has 150 rows, eval_set's weight has 149"),
        (np.full(150, -1.0), "eval_set's weight of row 1 is -1, negative"),
        (np.full(150, np.nan), "missing"),
        (np.zeros(150), "zero in all rows"),
    ],
)
def test_weights_of_an_eval_set_that_cannot_be_used_are_refused(data, weight, message):
    x, y, more, answers, _ = data
    with pytest.raises(ValueError, match=message):
        BCEClassifier(**QUICK).fit(x, y, eval_set=(more, answers, weight))


def test_parts_without_sense_are_refused(data):
    x, y, more, answers, w = data
    with pytest.raises(ValueError, match=r"eval_set is a tuple of 4; eval_set is \(X, y\) or \(X, y, weight\)"):
        BCEClassifier(**QUICK).fit(x, y, eval_set=(more, answers, w, w))
    with pytest.raises(ValueError, match="groups and eval_set were both given"):
        BCEClassifier(**QUICK).fit(x, y, groups=np.arange(400) // 2, eval_set=(more, answers))


def test_the_worth_of_a_column_is_a_mean_by_weight():
    values, weight = np.array([0.1, 0.5, 0.2, 0.9, 0.3]), np.array([1.0, 2.0, 0.0, 3.0, 1.0])
    (one,) = importances([{"a": values[:2]}, {"a": values[2:]}], [weight[:2], weight[2:]])
    assert one.nats == pytest.approx(np.average(values, weights=weight))
    assert one.error == pytest.approx(np.sqrt((weight**2 * (values - one.nats) ** 2).sum() * 5 / 4) / 7)


@pytest.fixture
def tables() -> pl.DataFrame:
    """t.parquet, new.parquet: one half of the rows is right and one has its classes turned; w says which counts."""
    for name, count, seed in (("t", 600, 0), ("new", 300, 1)):
        x, y = rows(count, seed)
        counts = np.random.default_rng(seed).random(count) < 0.5
        table = {f"x{i}": x[:, i] for i in range(3)} | {"y": np.where(counts, y, ~y).astype(int)}
        pl.DataFrame(table | {"w": np.where(counts, 2.0, 1e-6)}).write_parquet(f"{name}.parquet")
    return pl.read_parquet("new.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("memory", [(), ("--memory", "1K")], ids=["memory", "blocks"])
@pytest.mark.parametrize("by", [("--test", "new.parquet"), ("--test-share", 0)], ids=str)
def test_the_weights_of_rows_that_judge_come_from_the_same_column(command, tables, memory, by):
    small = ("--epochs", 5, "--no-trees", "--batch-size", 32, "--hidden", 8, "--members", 1)
    said = command("train", "t.parquet", "--target", "y", "--weight", "w", "--out", "run", *small, *by, *memory)
    assert said.exit_code == 0, said.output

    def number(pattern: str) -> float:
        return float(re.search(pattern, said.stdout).group(1))

    kept = pl.read_parquet("run/predictions.parquet")
    judged = tables if "--test" in by else pl.read_parquet("t.parquet")
    weight = judged["w"].gather(kept["row"] - 1).to_numpy()
    expected = np.average(kept["loss"].to_numpy(), weights=weight)
    assert abs(expected - kept["loss"].mean()) > 0.01
    assert number(r"explain .*mean (\S+): it is") == pytest.approx(expected, abs=1e-5)
    printed = r"estimate\s+(\S+) " if "--test" in by else r"that its networks did not learn from: (\S+);"
    assert number(printed) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("memory", [(), ("--memory", "1K")], ids=["memory", "blocks"])
def test_rows_aside_that_do_not_count_are_refused(command, tables, memory):
    late = pl.Series(np.arange(600))
    pl.read_parquet("t.parquet").with_columns(t=late, w=pl.Series((late < 450) * 1.0)).write_parquet("t.parquet")
    said = command("train", "t.parquet", "--target", "y", "--weight", "w", "--time", "t", "--test-share", 0.2, *memory)
    assert said.exit_code == 3
    assert "0 rows are kept aside" in said.stderr or "test rows: all weights in 'w' are 0" in said.stderr
