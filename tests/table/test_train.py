"""torchbce train, predict and explain, end to end, and that what is printed is true."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from once import once
from torchbce.table.run.folder import load_model
from train_runs import number

FILES = ["MODEL_CARD.md", "history.csv", "model.json", "model.safetensors", "predictions.parquet", "report.html"]


@pytest.fixture(scope="module")
def demo(breast_cancer, tmp_path_factory):
    """The demo's command with default flags: its output and its run folder."""
    from typer.testing import CliRunner

    from torchbce.cli.app import app

    def train(folder):
        result = CliRunner().invoke(app, ["train", str(breast_cancer), "--target", "benign", "--out", f"{folder}/run"])
        assert result.exit_code == 0, result.output
        (folder / "output").write_text(result.output)

    folder = once(tmp_path_factory, "demo", train)
    return (folder / "output").read_text(), folder / "run"


def kept(folder) -> tuple[torch.Tensor, torch.Tensor, pl.DataFrame]:
    """The logits, the targets and the whole of the predictions of a run."""
    table = pl.read_parquet(folder / "predictions.parquet")
    return torch.from_numpy(table["logit"].to_numpy(writable=True)), table["target"].to_torch().double(), table


def test_the_estimate_is_the_mean_over_predictions_out_of_fold(demo):
    output, folder = demo
    logits, target, table = kept(folder)
    exact = F.binary_cross_entropy_with_logits(logits, target).item()
    assert number(r"estimate\s+(\S+) \+-", output) == pytest.approx(exact, abs=1e-6)
    assert table["loss"].mean() == pytest.approx(exact, rel=1e-12)
    assert table["probability"].to_numpy() == pytest.approx(torch.sigmoid(logits).numpy(), rel=1e-12)
    assert table["row"].to_list() == list(range(1, 570))
    for fold in range(1, 6):
        printed = number(rf"fold +{fold}  of 5: (\S+)", output)
        assert table.filter(pl.col("fold") == fold)["loss"].mean() == pytest.approx(printed, abs=1e-6)


def test_every_number_of_the_summary_is_true(demo, breast_cancer):
    output, folder = demo
    logits, target, part = kept(folder)
    total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum").item()
    assert number(r"explain\s+total (\S+) over 569 items", output) == pytest.approx(total, abs=1e-3)
    assert number(r"AUC (\S+)", output) == pytest.approx(roc_auc_score(target, logits), abs=1e-4)
    error = part["loss"].std() / 569**0.5
    assert number(r"estimate\s+\S+ \+- (\S+) nats", output) == pytest.approx(error, rel=1e-4)
    table = pl.read_csv(breast_cancer)
    x, y = table.drop("benign").to_numpy(), table["benign"].to_numpy()
    assert (y == part["target"].to_numpy()).all()
    constant, logistic = np.zeros(569), np.zeros(569)
    for fold in range(1, 6):
        aside = part["fold"].to_numpy() == fold
        constant[aside] = y[~aside].mean()
        scaler = StandardScaler().fit(x[~aside])
        model = LogisticRegression(max_iter=1000).fit(scaler.transform(x[~aside]), y[~aside])
        logistic[aside] = model.predict_proba(scaler.transform(x[aside]))[:, 1]
    assert number(r"base rate costs (\S+) on the same rows", output) == pytest.approx(log_loss(y, constant), abs=1e-6)
    # Values beyond those of the training rows are taken for the nearest, so a few rows differ.
    assert number(r"logistic regression costs (\S+) on", output) == pytest.approx(log_loss(y, logistic), rel=0.03)
    worst = part.sort("loss", descending=True)
    assert f"the item that costs most is row {worst['row'][0]}:" in output


def test_the_demo_is_near_logistic_regressions_cross_validated_loss(demo):
    output, _ = demo
    assert number(r"estimate\s+(\S+) \+-", output) <= 1.1 * 0.074


def test_what_is_chosen_on_is_told_from_what_is_estimated_on(demo):
    output, folder = demo
    card = json.loads((folder / "model.json").read_text())
    epochs = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    chosen = int(number(r"chosen\s+epoch (\d+) of", output))
    assert min(range(len(epochs)), key=lambda i: float(epochs[i]["valid"])) == chosen - 1
    assert number(r"did not learn from: (\S+);", output) == pytest.approx(card["result"]["valid_bce"], abs=1e-6)
    assert card["result"]["valid_bce"] != card["result"]["estimated_bce"]


def test_the_run_folder_is_whole_and_safe(demo):
    _, folder = demo
    assert sorted(path.name for path in folder.iterdir()) == FILES
    card = json.loads((folder / "model.json").read_text())
    assert len(card["columns"]) == 30
    assert card["versions"]["torch"] == version("torch")
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert float(rows[card["result"]["epoch"] - 1]["valid"]) == card["result"]["valid_bce"]
    assert (folder / "model.safetensors").read_bytes()[8:9] == b"{"  # the safetensors header; a pickle begins otherwise
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_report_needs_nothing_from_outside(demo):
    _, folder = demo
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "The items that cost most" in page
    assert not re.search(r"""(?:src|href)=["']?(?!#)""", page.replace("xlink:href", "href").replace('href="#', ""))
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)


def test_a_seed_gives_the_same_run_bit_for_bit(command, mixed, pictures):
    small = ["--epochs", "2", "--folds", "2", "--members", "2", "--hidden", "4"]
    arguments = ["train", mixed, "--target", "bought", *small, "--seed", "5", "--out"]
    outputs = [command(*arguments, name) for name in ("a", "b")]
    assert [result.exit_code for result in outputs] == [0, 0]
    from pathlib import Path

    for name in ("model.safetensors", "predictions.parquet", "report.html", "MODEL_CARD.md"):
        assert (Path("a") / name).read_bytes() == (Path("b") / name).read_bytes(), name
    other = command(*arguments[:-2], "6", "--out", "c")
    assert other.exit_code == 0
    assert Path("c/model.safetensors").read_bytes() != Path("a/model.safetensors").read_bytes()


def test_a_mixed_table_is_described_and_learnt(command, mixed):
    result = command("train", mixed, "--target", "bought", "--exclude", "since", "--epochs", "15")
    assert result.exit_code == 0, result.output
    assert "1,000 rows, 2 numeric and 1 categorical columns; bought = yes in" in result.output
    assert "id (all different), nothing (empty), same (constant), since (excluded)" in result.output
    best = number(r"estimate\s+(\S+) \+-", result.output)
    logistic = number(r"logistic regression costs (\S+) on", result.output)
    baseline = number(r"base rate costs (\S+) on", result.output)
    assert best < min(1.05 * logistic, 0.8 * baseline)


def test_no_run_is_overwritten(command, mixed):
    from pathlib import Path

    small = ("--epochs", "1", "--test-share", "0.2", "--no-trees", "--members", "1")
    for _ in range(2):
        assert command("train", mixed, "--target", "bought", *small).exit_code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["shop", "shop-2"]
    result = command("train", mixed, "--target", "bought", "--epochs", "1", "--out", "runs/shop")
    assert result.exit_code == 4
    assert "runs/shop exists already; name another folder with --out" in result.stderr


@pytest.mark.parametrize("flags", [["--hidden", "8,8"], ["--hidden", "0"], ["--optimizer", "sgd", "--lr", "0.05"]])
def test_the_network_and_the_optimizer_can_be_chosen(command, mixed, flags):
    small = ("--epochs", "4", "--batch-size", "64", "--folds", "2", "--no-trees")
    result = command("train", mixed, "--target", "bought", *small, "--out", "r", *flags)
    assert result.exit_code == 0, result.output
    assert "batches of 64, at most 4 epochs" in result.output
    assert number(r"estimate\s+(\S+) \+-", result.output) < 0.62


def test_large_tables_cut_numbers_into_pieces(command):
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 3000)
    y = (rng.random(3000) < np.where(np.abs(x) > 1.5, 0.95, 0.05)).astype(int)  # no line separates this
    pl.DataFrame({"x": x, "y": y}).write_parquet("bump.parquet")
    small = ("--epochs", "10", "--test-share", "0.2", "--no-trees")
    result = command("train", "bump.parquet", "--target", "y", *small, "--out", "r")
    assert result.exit_code == 0, result.output
    assert number(r"logistic regression costs (\S+) on", result.output) > 0.6
    assert number(r"estimate\s+(\S+) \+-", result.output) < 0.35
    from pathlib import Path

    _, model = load_model(Path("r"))
    assert model.ensemble.networks[0].spec.binned == [0]


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
    small = ("--epochs", "1", "--test-share", "0.2", "--no-trees", "--members", "1")
    result = command("train", "t.csv", "--target", "y", *small, *flags)
    assert result.exit_code == 0, result.output
    assert f"y = {positive} in" in result.output


@pytest.mark.parametrize("memory", [(), ("--memory", "1K", "--cache", "cache")], ids=["in memory", "larger"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_card_shows_dates_as_dates_and_the_gaps_of_every_kind_of_column(kind, memory, command):
    chance = np.random.default_rng(0)
    rows = 400
    gaps = pl.Series(chance.random(rows) < 0.1)
    day = pl.Series([dt.date(2020, 1, 31) + dt.timedelta(days=i) for i in range(rows)])
    moment = day.cast(pl.Datetime("us")).dt.offset_by("6h30m")
    text = pl.Series(chance.choice(["a", "b"], rows))
    flag = pl.Series(chance.random(rows) < 0.5)
    whole = {"day": day, "moment": moment, "text": text, "flag": flag, "x": pl.Series(chance.normal(size=rows))}
    inner = gaps & (pl.Series(range(rows)).is_between(1, rows - 2))
    with_gaps = {f"{name}_gaps": values.set(inner, None) for name, values in whole.items() if name != "x"}
    with_gaps["x_gaps"] = whole["x"].zip_with(~inner, pl.Series([None] * rows, dtype=pl.Float64))
    frame = pl.DataFrame({**whole, **with_gaps, "y": chance.integers(0, 2, rows)})
    frame.write_csv("t.csv") if kind == "csv" else frame.write_parquet("t.parquet")
    quick = ("--hidden", "4", "--epochs", "1", "--test-share", "0", "--no-trees")
    result = command("train", f"t.{kind}", "--target", "y", "--out", "run", *quick, *memory)
    assert result.exit_code == 0, result.output
    card = Path("run/MODEL_CARD.md").read_text()
    seen = dict(re.findall(r"^\| `(\w+)` \| (\w+ \| .*) \|$", card, re.M))
    assert [name for name, text in seen.items() if text.endswith(", with gaps")] == list(with_gaps)
    if not memory:  # else the last rows choose the epoch
        assert seen["day"] == "date | 2020-01-31 to 2021-03-05"
        assert seen["moment"] == "date | 2020-01-31T06:30:00 to 2021-03-05T06:30:00"
    assert re.fullmatch(r"date \| 2020-0[12]-\d\d to 2021-0[23]-\d\d, with gaps", seen["day_gaps"])
    assert re.fullmatch(r"date \| 2020-0[12]-\d\dT06:30:00 to 2021-0[23]-\d\dT06:30:00", seen["moment"])


def test_train_predict_report_and_card_say_which_class_the_probability_is_of(command):
    rows = np.random.default_rng(0)
    x = rows.normal(size=200)
    frame = pl.DataFrame({"x": x, "fate": np.where(x + rows.normal(size=200) > 0, "stays", "leaves")})
    frame.write_csv("t.csv")
    quick = ("--hidden", "0", "--epochs", "1", "--folds", "2", "--no-trees", "--members", "1")
    for positive, other in (("stays", "leaves"), ("leaves", "stays")):
        said = f"the probability that fate is {positive}, not {other}"
        made = command("train", "t.csv", "--target", "fate", "--positive", positive, "--out", positive, *quick)
        assert f"\npredicts  {said}\n" in made.stdout
        assert said in Path(positive, "report.html").read_text()
        assert (
            f"Probability that `fate` is `{positive}` and not `{other}`" in Path(positive, "MODEL_CARD.md").read_text()
        )
        result = command("predict", positive, "t.csv", "--threshold", "0.4", "--out", f"{positive}.csv")
        assert f"predicts  {said}\n" in result.stderr
        assert f"decision  {positive} above a probability of 0.4" in result.stderr
        found = pl.read_csv(f"{positive}.csv")
        assert ((found["target"] == 1) == (frame["fate"] == positive)).all()


# Explain


def test_a_run_is_explained_by_the_rows_of_its_estimate(demo, command):
    output, folder = demo
    result = command("explain", folder, "--json")
    found = json.loads(result.stdout)
    assert found["count"] == 569
    assert found["mean"] == pytest.approx(number(r"estimate\s+(\S+) \+-", output), abs=1e-6)
    table = pl.read_parquet(folder / "predictions.parquet")
    for item in found["items"]:
        assert table["loss"][item["row"] - 1] == pytest.approx(item["loss"], rel=1e-6)


def test_a_run_is_checked_by_its_predictions_and_its_history(demo, command):
    _, folder = demo
    result = command("check", folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"]


def test_files_of_probabilities_and_of_logits_are_explained(demo, command):
    _, folder = demo
    file = folder / "predictions.parquet"
    means = [
        json.loads(command("explain", file, *flags, "--json").stdout)["mean"]
        for flags in (["--prob", "probability"], ["--logit", "logit"])
    ]
    assert means[0] == pytest.approx(means[1], rel=1e-6)
    weighted = command("explain", file, "--logit", "logit", "--weight", "target", "--only", "fold=1")
    assert "torch's mean divides by the items" in weighted.stdout


def test_the_articles_table_on_the_command_line(command):
    pl.DataFrame({"target": [1, 0, 1], "output": [0.6, 0.2, 0.7]}).write_csv("three.csv")
    result = command("explain", "three.csv", "--prob", "output")
    for text in ("0.51", "0.22", "0.36", "1.09", "0.3635"):
        assert text in result.stdout
