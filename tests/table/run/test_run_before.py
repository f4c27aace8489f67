"""Run folders of the version before are read, and give what that version gave.

`run_before/` was written at commit e3a9dae by `torchbce train bought.csv --target bought --out run --members 2
--hidden 4,4 --epochs 2 --test-share 0.2` and `torchbce predict run new.csv --out predicted.csv`. New rows have gaps,
an unknown category, and numbers beyond those of training.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from predicting import predict
from torchbce.table.run.folder import load_model, save_model

BEFORE = Path(__file__).parent / "run_before"


@pytest.fixture
def run(tmp_path) -> Path:
    for name in ("bought.csv", "new.csv"):
        shutil.copy(BEFORE / name, tmp_path)
    return Path(shutil.copytree(BEFORE / "run", tmp_path / "run"))


def test_a_run_of_the_version_before_predicts_what_it_did(run):
    predictions, expected = predict(run, str(run.parent / "new.csv")).table, pl.read_csv(BEFORE / "predicted.csv")
    assert predictions["row"].to_list() == expected["row"].to_list()
    assert predictions["logit"].to_list() == pytest.approx(expected["logit"].to_list(), abs=1e-5)


def test_a_run_of_the_version_before_is_written_as_it_was(run, tmp_path):
    described, model = load_model(run)
    shutil.copy(run / "predictions.parquet", tmp_path)
    save_model(tmp_path, described, model.ensemble)
    assert (tmp_path / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "model.json").read_text()) == json.loads((run / "model.json").read_text())


def test_a_run_of_the_version_before_is_explained_by_the_columns_of_its_table(run, command):
    result = command("explain", run, "--by", "colour")
    assert result.exit_code == 0, result.output
    assert all(f"{colour}:" in result.output for colour in ("red", "blue", "green"))


def test_a_run_that_cannot_answer_unknown_categories_is_refused_with_the_reason(run, command):
    path = run / "model.json"
    path.write_text(path.read_text().replace("torchbce-table-6", "torchbce-table-5"))
    result = command("predict", run, run.parent / "new.csv")
    assert result.exit_code == 5
    message = " ".join(result.stderr.split())
    assert "its format is torchbce-table-5, and this one reads torchbce-table-6" in message
    assert "by which unknown categories are answered" in message
