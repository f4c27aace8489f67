"""torchbce train, predict and explain, end to end, and that what is printed is true."""

from __future__ import annotations

import csv
import json
import re
from importlib.metadata import version

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from torchbce.training.predict import predict
from torchbce.training.run_folder import load_model

FILES = ["history.csv", "model.json", "model.safetensors", "predictions.parquet", "report.html"]


@pytest.fixture(scope="module")
def demo(breast_cancer, tmp_path_factory):
    """The demo's command with default flags: its output and its run folder."""
    from typer.testing import CliRunner

    from torchbce.cli.app import app

    folder = tmp_path_factory.mktemp("demo") / "run"
    result = CliRunner().invoke(app, ["train", str(breast_cancer), "--target", "benign", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return result.output, folder


def number(pattern: str, text: str) -> float:
    return float(re.search(pattern, text).group(1))


def parts(folder) -> dict[str, tuple[torch.Tensor, torch.Tensor, pl.DataFrame]]:
    table = pl.read_parquet(folder / "predictions.parquet")
    return {
        split: (torch.tensor(part["logit"].to_list()).double(), torch.tensor(part["target"].to_list()).double(), part)
        for split in ("train", "valid")
        for part in [table.filter(pl.col("split") == split)]
    }


def test_the_printed_losses_are_the_mean_over_the_predictions(demo):
    output, folder = demo
    best = int(number(r"best\s+epoch (\d+)", output))
    printed = {
        "valid": [number(r"best\s+epoch \d+: valid (\S+)", output), number(rf"epoch +{best}  .*valid (\S+)", output)],
        "train": [number(r"best .*train (\S+)", output), number(rf"epoch +{best}  .* train (\S+)", output)],
    }
    for split, (logits, target, part) in parts(folder).items():
        exact = F.binary_cross_entropy_with_logits(logits, target).item()
        assert printed[split] == pytest.approx([exact, exact], abs=1e-6)
        assert part["loss"].mean() == pytest.approx(exact, rel=1e-12)
        assert part["probability"].to_numpy() == pytest.approx(torch.sigmoid(logits).numpy(), rel=1e-12)


def test_every_number_of_the_summary_is_true(demo, breast_cancer):
    output, folder = demo
    logits, target, part = parts(folder)["valid"]
    assert part.height == 114
    total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum").item()
    assert number(r"explain\s+total (\S+) over 114 items", output) == pytest.approx(total, abs=1e-3)
    assert number(r"AUC (\S+);", output) == pytest.approx(roc_auc_score(target, logits), abs=1e-4)
    table = pl.read_csv(breast_cancer)
    x, y = table.drop("benign").to_numpy(), table["benign"].to_numpy()
    valid = pl.read_parquet(folder / "predictions.parquet")["split"].to_numpy() == "valid"
    assert (y[valid] == part["target"].to_numpy()).all()
    share = y[~valid].mean()
    baseline = -np.where(y[valid] == 1, np.log(share), np.log1p(-share)).mean()
    assert number(r"always answering \S+ % costs (\S+) nats", output) == pytest.approx(baseline, abs=1e-4)
    scaler = StandardScaler().fit(x[~valid])
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(x[~valid]), y[~valid])
    expected = log_loss(y[valid], model.predict_proba(scaler.transform(x[valid])))
    assert number(r"logistic regression (\S+):", output) == pytest.approx(expected, rel=1e-3)
    worst = part.sort("loss", descending=True)
    assert f"the item that costs most is row {worst['row'][0]}:" in output


def test_the_demo_is_near_logistic_regressions_cross_validated_loss(demo):
    output, _ = demo
    assert number(r"best\s+epoch \d+: valid (\S+)", output) <= 1.1 * 0.074


def test_the_run_folder_is_whole_and_safe(demo):
    _, folder = demo
    assert sorted(path.name for path in folder.iterdir()) == FILES
    card = json.loads((folder / "model.json").read_text())
    assert len(card["columns"]) == 30
    assert card["versions"]["torch"] == version("torch")
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert float(rows[card["result"]["best_epoch"] - 1]["valid"]) == card["result"]["valid_bce"]
    assert (folder / "model.safetensors").read_bytes()[8:9] == b"{"  # the safetensors header; a pickle begins otherwise
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_report_needs_nothing_from_outside(demo):
    _, folder = demo
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "The items that cost most" in page
    assert not re.search(r"""(?:src|href)=["']?(?!#)""", page.replace("xlink:href", "href").replace('href="#', ""))
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)


def test_a_seed_gives_the_same_run_bit_for_bit(command, mixed):
    arguments = ["train", mixed, "--target", "bought", "--epochs", "3", "--seed", "5", "--out"]
    outputs = [command(*arguments, name) for name in ("a", "b")]
    assert [result.exit_code for result in outputs] == [0, 0]
    from pathlib import Path

    for name in ("model.safetensors", "predictions.parquet", "report.html"):
        assert (Path("a") / name).read_bytes() == (Path("b") / name).read_bytes(), name
    other = command(*arguments[:-2], "6", "--out", "c")
    assert other.exit_code == 0
    assert Path("c/model.safetensors").read_bytes() != Path("a/model.safetensors").read_bytes()


def test_a_mixed_table_is_described_and_learnt(command, mixed):
    result = command("train", mixed, "--target", "bought", "--exclude", "since", "--epochs", "15")
    assert result.exit_code == 0, result.output
    assert "1,000 rows, 2 numeric and 1 categorical columns; bought = yes in" in result.output
    assert "id (all different), nothing (empty), same (constant), since (excluded)" in result.output
    best = number(r"best\s+epoch \d+: valid (\S+)", result.output)
    logistic = number(r"logistic regression (\S+):", result.output)
    baseline = number(r"always answering \S+ % costs (\S+) nats", result.output)
    assert best < min(1.05 * logistic, 0.8 * baseline)


def test_no_run_is_overwritten(command, mixed):
    from pathlib import Path

    for _ in range(2):
        assert command("train", mixed, "--target", "bought", "--epochs", "1").exit_code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["shop", "shop-2"]
    result = command("train", mixed, "--target", "bought", "--epochs", "1", "--out", "runs/shop")
    assert result.exit_code == 4
    assert "runs/shop exists already; name another folder with --out" in result.stderr


@pytest.mark.parametrize("flags", [["--hidden", "8,8"], ["--hidden", "0"], ["--optimizer", "sgd", "--lr", "0.05"]])
def test_the_network_and_the_optimizer_can_be_chosen(command, mixed, flags):
    result = command("train", mixed, "--target", "bought", "--epochs", "4", "--batch-size", "64", "--out", "r", *flags)
    assert result.exit_code == 0, result.output
    assert "batches of 64, at most 4 epochs" in result.output
    assert number(r"best\s+epoch \d+: valid (\S+)", result.output) < 0.62


def test_large_tables_cut_numbers_into_pieces(command):
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 3000)
    y = (rng.random(3000) < np.where(np.abs(x) > 1.5, 0.95, 0.05)).astype(int)  # no line separates this
    pl.DataFrame({"x": x, "y": y}).write_parquet("bump.parquet")
    result = command("train", "bump.parquet", "--target", "y", "--epochs", "10", "--out", "r")
    assert result.exit_code == 0, result.output
    assert number(r"logistic regression (\S+):", result.output) > 0.6
    assert number(r"best\s+epoch \d+: valid (\S+)", result.output) < 0.35
    from pathlib import Path

    _, network = load_model(Path("r"))
    assert network.pieces is not None


# Targets


@pytest.mark.parametrize(
    ("values", "flags", "positive"),
    [
        (["0", "1"], [], "1"),
        (["true", "false"], [], "true"),
        (["yes", "no"], [], "yes"),
        (["<=50K", ">50K"], [], ">50K"),
        (["<=50K", ">50K"], ["--positive", "<=50K"], "<=50K"),
        (["1", "2"], [], "2"),
        (["0.0", "1.0"], ["--positive", "0"], "0"),
        (["-1", "1"], [], "1"),
    ],
)
def test_the_positive_value_is_known_named_or_the_later(command, values, flags, positive):
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 2, 60)
    pl.DataFrame({"x": rng.normal(size=60), "y": [values[a] for a in answers]}).write_csv("t.csv")
    result = command("train", "t.csv", "--target", "y", "--epochs", "1", *flags)
    assert result.exit_code == 0, result.output
    assert f"y = {positive} in" in result.output


# Predict


def test_predictions_of_the_training_file_are_those_of_the_run(trained, mixed):
    again = predict(trained, mixed)
    kept = pl.read_parquet(trained / "predictions.parquet")
    assert again.table["logit"].to_numpy() == pytest.approx(kept["logit"].to_numpy(), abs=1e-5)
    assert again.bce == pytest.approx(kept["loss"].mean(), abs=1e-6)
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


def test_unseen_categories_and_new_gaps_are_missing_values_and_said(trained, mixed_table, command):
    new = mixed_table.head(4).with_columns(colour=pl.Series(["red", "purple", None, "pink"]), member=None)
    new.write_csv("new.csv")
    result = command("predict", trained, "new.csv", "--out", "out.parquet")
    assert result.exit_code == 0, result.stderr
    assert "colour: 2 rows with categories not seen in training, treated as missing" in result.stderr
    assert "member: 4 missing values, none in training; the mean is used" in result.stderr
    assert pl.read_parquet("out.parquet").columns == ["row", "target", "logit", "probability", "loss"]


def test_predicting_without_the_models_columns_names_them(trained, mixed_table, command):
    mixed_table.select("age", "since").write_csv("new.csv")
    result = command("predict", trained, "new.csv")
    assert result.exit_code == 3
    assert "new.csv: the model needs the columns 'colour', 'member'; add what is missing" in result.stderr


# Explain


def test_a_run_is_explained_by_its_validation_rows(demo, command):
    output, folder = demo
    result = command("explain", folder, "--json")
    found = json.loads(result.stdout)
    assert found["count"] == 114
    assert found["mean"] == pytest.approx(number(r"best\s+epoch \d+: valid (\S+)", output), abs=1e-6)
    table = pl.read_parquet(folder / "predictions.parquet")
    for item in found["items"]:
        assert table["loss"][item["row"] - 1] == pytest.approx(item["loss"], rel=1e-6)


def test_files_of_probabilities_and_of_logits_are_explained(demo, command):
    _, folder = demo
    file = folder / "predictions.parquet"
    means = [
        json.loads(command("explain", file, *flags, "--json").stdout)["mean"]
        for flags in (["--prob", "probability"], ["--logit", "logit"])
    ]
    assert means[0] == pytest.approx(means[1], rel=1e-6)
    weighted = command("explain", file, "--logit", "logit", "--weight", "target", "--only", "split=train")
    assert "torch's mean divides by the items" in weighted.stdout


def test_the_articles_table_on_the_command_line(command):
    pl.DataFrame({"target": [1, 0, 1], "output": [0.6, 0.2, 0.7]}).write_csv("three.csv")
    result = command("explain", "three.csv", "--prob", "output")
    for text in ("0.51", "0.22", "0.36", "1.09", "0.3635"):
        assert text in result.stdout
