"""A table in several files is one, whether it is read into memory or in blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchbce import InputError
from torchbce.io.scan import open_sources, read_batches
from torchbce.io.whole import read_whole
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.memory_table import prepare as prepare_in_memory
from torchbce.table.packed_table import prepare as prepare_in_blocks
from torchbce.table.splits.holdout import Holdout
from torchbce.table.train_args import TrainArgs


@pytest.mark.parametrize("stored", [pl.Int64, pl.UInt8, pl.Float64, pl.String])
@pytest.mark.parametrize("first", [True, False])
def test_a_target_of_booleans_beside_numbers_is_as_in_memory(tmp_path, stored, first):
    """Shards that other tools wrote: in one true and false, in another 1 and 0."""
    answers = pl.Series("y", [True, False, False] * 10)
    numbers = answers.cast(pl.Int8).cast(stored) if stored != pl.String else answers.cast(pl.String)
    (tmp_path / "t").mkdir()
    for i, column in enumerate((answers, numbers) if first else (numbers, answers)):
        pl.DataFrame([pl.Series("x", range(30)).cast(pl.Float64), column]).write_parquet(
            tmp_path / "t" / f"{i}.parquet"
        )
    args = TrainArgs(str(tmp_path / "t"), ColumnRoles("y"), Holdout(share=0), seed=1)
    whole, blocks = prepare_in_memory(args).outline, prepare_in_blocks(args, tmp_path / "c").outline
    assert (whole.target, whole.whole) == (blocks.target, blocks.whole)
    assert blocks.target.positive == ("true" if stored == pl.String else "1")


@pytest.fixture
def tree(tmp_path) -> Path:
    """A year's folders, as Spark writes them: what they are named after is not in the files."""
    for year, month in ((2023, "01"), (2023, "11"), (2024, "01"), (2024, "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "data" / f"year={year}" / f"mon%20th={month}"
        folder.mkdir(parents=True)
        chance = np.random.default_rng(year)
        x = chance.normal(size=100)
        pl.DataFrame({"x": x, "y": (x + (year == 2024) > 0).astype(int), "p": 1 / (1 + np.exp(-x))}).write_parquet(
            folder / "part.parquet"
        )
    return tmp_path / "data"


def test_what_folders_are_named_after_are_columns(tree, tmp_path):
    pattern = str(tree / "**" / "*.parquet")
    args = TrainArgs(pattern, ColumnRoles("y"), Holdout(share=0), seed=1)
    whole, blocks = prepare_in_memory(args).outline, prepare_in_blocks(args, tmp_path / "c").outline
    expected = {"x": "numeric", "p": "numeric", "year": "numeric", "mon th": "categorical"}
    assert whole.kinds == expected
    assert {**blocks.kinds, **blocks.left_out} == expected
    table = read_whole(pattern).frame
    assert table["year"].to_list() == [2023] * 200 + [2024] * 200
    assert table["mon th"].to_list() == ["01"] * 100 + ["11"] * 100 + ["01"] * 100 + [None] * 100


def test_they_can_be_named_as_any_column(tree, command):
    options = ("--target", "y", "--prob", "p", "--json")
    found = command("explain", tree / "**" / "*.parquet", *options, "--by", "year")
    assert found.exit_code == 0, found.output
    assert {group["name"] for group in json.loads(found.stdout)["groups"]} == {"2023", "2024"}
    refused = command("explain", tree / "**" / "*.parquet", *options, "--by", "day")
    assert "the columns are 'x', 'y', 'p', 'year', 'mon th'" in refused.stderr


def test_new_rows_have_them_too(tree, command):
    pattern = tree / "*" / "*" / "*.parquet"
    made = command("train", pattern, "--target", "y", "--epochs", 1, "--no-trees", "--members", 1, "--out", "run")
    assert made.exit_code == 0, made.output
    file = tree / "year=2024" / "mon%20th=01" / "part.parquet"
    assert command("predict", "run", file, "--out", "new.csv").exit_code == 0
    whole = pl.read_parquet(file).with_columns(pl.lit(2024).alias("year"), pl.lit("01").alias("mon th"))
    whole.write_parquet("whole.parquet")
    assert command("predict", "run", "whole.parquet", "--out", "same.csv").exit_code == 0
    assert Path("new.csv").read_bytes() == Path("same.csv").read_bytes()
    pl.read_parquet(file).write_parquet("alone.parquet")
    alone = command("predict", "run", "alone.parquet")
    assert alone.exit_code == 3
    assert "the model needs the columns 'year', 'mon th'" in alone.stderr


def test_a_files_own_column_is_the_one_and_text_tables_have_them(tmp_path):
    for key in ("a", "b"):
        (tmp_path / f"k={key}" / f"x={key}").mkdir(parents=True)
        (tmp_path / f"k={key}" / f"x={key}" / "t.csv").write_text("x,y\n1,0\n2,1\n")
    table = read_whole(str(tmp_path / "*" / "*" / "*.csv")).frame
    assert table.to_dict(as_series=False) == {"x": [1, 2, 1, 2], "y": [0, 1, 0, 1], "k": ["a", "a", "b", "b"]}
    with open_sources([str(tmp_path / "*" / "*" / "*.csv")]) as found:
        (_, frame), *_ = read_batches(found[1], ["k"], "--by")
    assert frame.to_dict(as_series=False) == {"k": ["b", "b"]}


def test_a_short_row_is_still_seen_beside_them(tmp_path):
    (tmp_path / "k=a").mkdir()
    (tmp_path / "k=a" / "t.csv").write_text("x,y\n1,0\n2\n")
    with open_sources([str(tmp_path / "*" / "*.csv")]) as found, pytest.raises(InputError, match="row 2"):
        list(read_batches(found[0], ["k", "x"], "--by"))
