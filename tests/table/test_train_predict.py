"""The command `predict`: batches, keys, decisions, standard input, dates."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked
from predicting import predict
from torchbce import load
from torchbce.table.columns.drift import AVERAGE
from train_runs import number

# Predict


def test_predictions_of_the_training_file_are_better_than_those_out_of_fold(trained, mixed):
    again = predict(trained, mixed)
    assert again.bce < pl.read_parquet(trained / "predictions.parquet")["loss"].mean()
    assert again.notes == []


def test_parquet_and_csv_give_the_same_predictions(trained, mixed, mixed_table, tmp_path):
    mixed_table.write_parquet(tmp_path / "shop.parquet")
    a, b = predict(trained, mixed).table, predict(trained, tmp_path / "shop.parquet").table
    assert a["logit"].to_numpy() == pytest.approx(b["logit"].to_numpy(), abs=1e-5)


def test_rows_without_a_target_in_any_order_of_columns_are_predicted(trained, mixed_table, command):
    mixed_table.select("since", "member", "colour", "age").head(3).write_csv("new.csv")
    result = command("predict", trained, "new.csv")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [list(row) for row in rows] == [["row", "logit", "probability"]] * 3
    assert [row["row"] for row in rows] == ["1", "2", "3"]


def test_unseen_categories_and_new_gaps_are_said(trained, mixed_table, command):
    new = mixed_table.head(4).with_columns(colour=pl.Series(["red", "purple", None, "pink"]), member=None)
    new.write_csv("new.csv")
    result = command("predict", trained, "new.csv", "--out", "out.parquet")
    assert result.exit_code == 0, result.stderr
    text = f"colour: 2 rows with categories not seen in training, or once only, {AVERAGE}: 'purple', 'pink'"
    assert text in result.stderr
    assert f"member: 4 missing values, none in training, {AVERAGE}" in result.stderr
    assert pl.read_parquet("out.parquet").columns == ["row", "target", "logit", "probability", "loss"]


def test_predicting_without_the_models_columns_names_them(trained, mixed_table, command):
    mixed_table.select("age", "since").write_csv("new.csv")
    result = command("predict", trained, "new.csv")
    assert result.exit_code == 3
    assert "new.csv: the model needs the columns 'colour', 'member'; add what is missing" in result.stderr


# Predicting in batches


@pytest.fixture
def small_batches(monkeypatch):
    from torchbce.table.run import predict as module

    monkeypatch.setattr(module, "MAX_BATCH_ROWS", 70)


def test_batches_of_any_size_give_the_same_predictions(trained, mixed, mixed_table, command, small_batches, tmp_path):
    mixed_table.write_parquet(tmp_path / "shop.parquet")
    result = command("predict", trained, mixed, "--out", "out.csv")
    assert result.exit_code == 0, result.stderr
    found = pl.read_csv("out.csv")
    assert found["row"].to_list() == list(range(1, 1001))
    whole = load(trained).predict_proba(mixed_table)[:, 1]
    assert found["probability"].to_numpy() == pytest.approx(whole, abs=1e-7)
    assert f"bce       {found['loss'].mean():.6f}" in result.stderr
    for out in ("a.csv", "a.parquet"):
        assert command("predict", trained, tmp_path / "shop.parquet", "--out", out).exit_code == 0
    assert pl.read_csv("a.csv")["logit"].to_numpy() == pytest.approx(
        pl.read_parquet("a.parquet")["logit"].to_numpy(), rel=1e-12
    )


def test_a_bad_value_in_a_later_batch_is_named_by_its_row(trained, mixed_table, command, small_batches):
    bad = mixed_table.with_columns(age=pl.when(pl.int_range(1000) == 499).then(pl.lit("old")).otherwise("age"))
    bad.write_csv("bad.csv")
    result = command("predict", trained, "bad.csv", "--out", "out.csv")
    assert result.exit_code == 3
    assert "bad.csv: row 500 of column 'age' is 'old'" in result.stderr
    from pathlib import Path

    assert not Path("out.csv").exists()


def test_keys_stand_beside_the_predictions(trained, mixed, mixed_table, command):
    result = command("predict", trained, mixed, "--key", "id", "--key", "colour", "--out", "out.csv")
    assert result.exit_code == 0, result.stderr
    found = pl.read_csv("out.csv")
    assert found.columns == ["row", "id", "colour", "target", "logit", "probability", "loss"]
    assert found["id"].to_list() == mixed_table["id"].to_list()
    result = command("predict", trained, mixed, "--key", "nowhere")
    assert result.exit_code == 3
    assert "no column 'nowhere' (--key)" in result.stderr


def test_decisions_follow_the_threshold_or_the_costs(trained, mixed, command):
    assert command("predict", trained, mixed, "--threshold", "0.3", "--out", "a.csv").exit_code == 0
    found = pl.read_csv("a.csv")
    assert (found["decision"] == np.where(found["probability"] > 0.3, "yes", "no")).all()
    result = command("predict", trained, mixed, "--cost", "1,3", "--out", "b.csv")
    costs = pl.read_csv("b.csv")
    assert (costs["decision"] == np.where(costs["probability"] > 0.25, "yes", "no")).all()
    wrong_yes = ((costs["decision"] == "yes") & (costs["target"] == 0)).mean()
    wrong_no = ((costs["decision"] == "no") & (costs["target"] == 1)).mean()
    printed = number(r"decision  yes above a probability of 0.25, (\S+) per row", result.stderr)
    assert printed == pytest.approx(wrong_yes + 3 * wrong_no, rel=1e-5)


@pytest.mark.parametrize("flags", [["--cost", "1"], ["--cost", "0,1"], ["--cost", "1,2", "--threshold", "0.5"]])
def test_costs_without_sense_are_refused(trained, mixed, command, flags):
    result = command("predict", trained, mixed, *flags)
    assert result.exit_code == 2


def test_standard_input_is_predicted(trained, mixed):
    run = forked.run(forked.COMMAND, "predict", trained, "-", given=Path(mixed).read_bytes())
    assert len(run.stdout.splitlines()) == 1001


def test_dates_are_calendar_parts_too(command):
    rng = np.random.default_rng(0)
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2023, 12, 31), "1d", eager=True).sample(1200, seed=0)
    weekend = (days.dt.weekday() >= 6).to_numpy()
    y = (rng.random(1200) < np.where(weekend, 0.9, 0.1)).astype(int)
    pl.DataFrame({"day": days, "y": y}).write_csv("t.csv")
    out = command("train", "t.csv", "--target", "y", "--epochs", "20", "--folds", "2", "--out", "run").stdout
    assert (
        number(r"estimate\s+(\S+) \+-", out) < 0.4
    )  # 0.325 is the least there is; the weekday is all there is to know
    assert command("predict", "run", "t.csv", "--out", "p.csv").exit_code == 0
    found = pl.read_csv("p.csv")["probability"].to_numpy()
    assert found[weekend].min() > found[~weekend].max()
