"""`torchbce explain` on files: every format, any number of them, any number of processes, one answer."""

from __future__ import annotations

import datetime
import gzip
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked
from torchbce import explain
from torchbce.common.errors import InputError
from torchbce.io import scan
from torchbce.io.predictions import PredictionColumns, read_predictions

FLAGS = ("--target", "y", "--prob", "p")


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-rng.normal(-1, 1.5, 5000)))
    return pl.DataFrame({"p": p, "y": (rng.random(5000) < p).astype(np.uint8), "g": rng.choice(["a", "b"], 5000)})


def numbers(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def same(a, b):
    for name in ("count", "total", "mean", "auc", "worst_share", "base_rate", "standard_error"):
        assert a[name] == pytest.approx(b[name], rel=1e-9), name
    for name, part in a["decomposition"].items():
        assert part == pytest.approx(b["decomposition"][name], rel=1e-6), name
    assert [item["loss"] for item in a["items"]] == pytest.approx([item["loss"] for item in b["items"]])


def test_every_format_says_the_same(command, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.write_parquet("t.parquet")
    table.write_ipc("t.arrow")
    table.write_csv("t.csv")
    table.write_csv("semicolons.csv", separator=";")
    table.with_columns(y=pl.col("y").cast(pl.Boolean)).write_csv("words.csv")
    table.with_columns(y=pl.col("y").cast(pl.Boolean)).write_parquet("bool.parquet")
    expected = explain(table["p"].to_numpy(), table["y"].to_numpy(), from_logits=False).to_dict()
    for name in ("t.parquet", "t.arrow", "t.csv", "semicolons.csv", "words.csv", "bool.parquet"):
        same(numbers(command("explain", name, *FLAGS, "--json")), expected)


def test_standard_input_is_a_file(table, tmp_path):
    for write in (table.write_csv, table.write_parquet):
        write(tmp_path / "t")
        run = forked.run(forked.COMMAND, "explain", "-", *FLAGS, "--json", given=(tmp_path / "t").read_bytes())
        assert json.loads(run.stdout)["count"] == 5000


def test_shards_are_one_table_and_rows_are_named_by_file(command, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table[:2000].write_parquet("part-1.parquet")
    table[2000:].write_parquet("part-2.parquet")
    whole = explain(table["p"].to_numpy(), table["y"].to_numpy(), from_logits=False, by=table["g"].to_numpy())
    found = numbers(command("explain", "part-*.parquet", *FLAGS, "--by", "g", "--json"))
    assert found["total"] == pytest.approx(whole.total, rel=1e-12)
    for item, expected in zip(found["items"], whole.items, strict=True):
        first = expected.row <= 2000
        assert item["source"] == ("part-1.parquet" if first else "part-2.parquet")
        assert item["row"] == expected.row - (0 if first else 2000)
    assert [group["name"] for group in found["groups"]] == [group.name for group in whole.groups]
    # Two runs, each on its part, and a third that adds them up.
    for part in ("part-1", "part-2"):
        assert command("explain", f"{part}.parquet", *FLAGS, "--by", "g", "--save", f"{part}.npz").exit_code == 0
    assert numbers(command("explain", "part-2.npz", "part-1.npz", "--merge", "--json"))["mean"] == pytest.approx(
        found["mean"], rel=1e-12
    )


def test_processes_share_the_rows(table, tmp_path):
    name = "t.parquet"
    table.write_parquet(tmp_path / name)
    runs = forked.ranks(2, forked.COMMAND, "explain", name, *FLAGS, "--json", folder=tmp_path)
    assert [run.returncode for run in runs] == [0, 0], runs
    expected = explain(table["p"].to_numpy(), table["y"].to_numpy(), from_logits=False)
    found = json.loads("".join(run.stdout for run in runs))
    same(found, expected.to_dict())
    assert [item["row"] for item in found["items"]] == [item.row for item in expected.items]


def test_the_page_and_markdown(command, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.write_csv("t.csv")
    result = command("explain", "t.csv", *FLAGS, "--html", "page.html", "--markdown")
    assert result.stdout.startswith("| | |")
    assert "t.csv" in Path("page.html").read_text()
    assert command("explain", "t.csv", *FLAGS, "--html", "no/page.html").exit_code == 4
    assert command("explain", "t.csv", *FLAGS, "--save", "no/sketch.npz").exit_code == 4


def test_rows_and_blank_lines(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("p, y\n0.5,1\n\n0.5,0\n\n0.25,nope\n")
    result = command("explain", "t.csv", *FLAGS)
    assert result.exit_code == 3
    assert "t.csv: row 3 of column 'y' is 'nope'; expected a number from 0 to 1 (1 such rows)" in result.stderr


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (b"", FLAGS, "is empty"),
        (b"p,y\n", FLAGS, "has a header and no rows"),
        (b"p,y\n0.5,1\n", ("--target", "z", "--prob", "p"), "no column 'z'"),
        (b"p,y\n0.5,1\n0.1\n", FLAGS, "row 2 (line 3) has 1 fields, the header has 2"),
        (b"p,y\n0.5,1\nabc,1\n", FLAGS, "row 2 of column 'p' is 'abc'; expected a number from 0 to 1 (1 such rows)"),
        (
            b"p,y\n0.5,1\n1.5,0\n",
            FLAGS,
            "row 2 of column 'p' is 1.5; expected a number from 0 to 1; logits go to --logit",
        ),
        (b"p,y\n0.5,1\n0.5,2\n", FLAGS, "row 2 of column 'y' is 2"),
        (b"p,y\n0.5,1\nnan,0\n", FLAGS, "row 2 of column 'p' is nan"),
        (b"p,y\n0.5,1\n,0\n", FLAGS, "row 2 of column 'p' is missing"),
        (b"p,y\n0.5,1\n", (*FLAGS, "--weight", "p", "--only", "y=7"), "no row has y = '7'; its values are '1'"),
        (b"p,y\n0.5,1\n", ("--merge",), "this is not a sketch that explain --save of this version made"),
        (b"PAR1 and then nothing", FLAGS, "is a damaged or truncated"),
        (b"ARROW1 and then nothing", FLAGS, "is a damaged or truncated"),
    ],
)
def test_bad_files_are_named(command, tmp_path, monkeypatch, content, flags, message):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_bytes(content)
    result = command("explain", "t.csv", *flags, "--save", "s.npz", "--html", "p.html")
    assert result.exit_code == 3
    assert "t.csv" in result.stderr
    assert message in result.stderr
    assert sorted(os.listdir()) == ["t.csv"]


def test_a_truncated_parquet_file(command, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.write_parquet("t.parquet")
    content = Path("t.parquet").read_bytes()
    Path("t.parquet").write_bytes(content[:-50])
    assert "t.parquet is a damaged or truncated" in command("explain", "t.parquet", *FLAGS).stderr
    damaged = bytearray(content)
    damaged[100:3000] = bytes(2900)
    Path("t.parquet").write_bytes(damaged)
    assert command("explain", "t.parquet", *FLAGS).exit_code == 3


def test_three_classes_and_no_match(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no file matches '*.parquet'" in command("explain", "*.parquet", *FLAGS).stderr
    pl.DataFrame({"p": [0.5, 0.5, 0.5], "y": ["a", "b", "c"]}).write_parquet("t.parquet")
    assert "row 1 of column 'y' is 'a'; expected a number from 0 to 1 (3 such rows)" in (
        command("explain", "t.parquet", *FLAGS).stderr
    )


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("p,y\n" + "0.5,1\n" * 1000)
    monkeypatch.setattr(scan, "MAX_BATCH_ROWS", 100)
    read = read_predictions(scan.SourceFile(path, "t.csv"), PredictionColumns("p", "y", from_logits=False))
    next(read)
    with path.open("a") as file:
        file.write("0.5,1\n")
    with pytest.raises(InputError, match="t.csv changed while it was read: it had 6,004 bytes, now 6,010"):
        list(read)


def test_columns_keep_their_dtype(tmp_path):
    pl.DataFrame({"p": pl.Series([0.0, 0.5], dtype=pl.Float32), "y": [1, 0]}).write_parquet(tmp_path / "t.parquet")
    source = scan.SourceFile(tmp_path / "t.parquet", "t.parquet")
    (batch,) = read_predictions(source, PredictionColumns("p", "y", from_logits=False))
    assert str(batch.outputs.dtype) == "torch.float32"


def test_words_and_compressed_files(command):
    Path("words.csv").write_text("p,y\n0.6,yes\n0.2,No\n0.7,YES\n")
    assert "mean BCE = 1.0906 / 3 = 0.3635" in command("explain", "words.csv", "--prob", "p", "--target", "y").stdout
    Path("t.csv.gz").write_bytes(gzip.compress(b"p,y\n0.5,1\n"))
    packed = command("explain", "t.csv.gz", "--prob", "p", "--target", "y")
    assert packed.exit_code == 0
    assert "-log(0.50)" in packed.stdout
    Path("comma.csv").write_text("p;y\n0,5;1\n")
    assert (
        "for a decimal comma pass --decimal ," in command("explain", "comma.csv", "--prob", "p", "--target", "y").stderr
    )
    twice = command("explain", "words.csv", "words.csv", "--prob", "p", "--target", "y")
    assert twice.exit_code == 3
    assert "named twice" in twice.stderr
    assert "this is not a sketch" in command("explain", "--merge", "words.csv").stderr


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_polars_without_batches_reads_the_same(command, table, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    getattr(table, f"write_{name[2:]}")(name)
    expected = numbers(command("explain", name, *FLAGS, "--json"))
    monkeypatch.delattr(pl.LazyFrame, "collect_batches")
    same(numbers(command("explain", name, *FLAGS, "--json")), expected)


ODD = {
    "flag": pl.Series([True, False] * 10),
    "whole": pl.Series([1, 0] * 10),
    "wide": pl.Series([1, 0] * 10, dtype=pl.UInt64),
    "code": pl.Series(["1", "0"] * 10, dtype=pl.Categorical),
    "gap": pl.Series([True, None] * 10),
    "day": pl.Series([datetime.date(2020, 1, 1), datetime.date(2020, 6, 1)] * 10),
    "moment": pl.Series([datetime.datetime(2020, 1, 1), datetime.datetime(2020, 6, 1)] * 10).dt.replace_time_zone(
        "UTC"
    ),
    "time": pl.Series([datetime.time(1)] * 20),
    "span": pl.Series([datetime.timedelta(1)] * 20),
    "text": pl.Series(["a"] * 20),
    "lists": pl.Series([[0.5]] * 20),
    "parts": pl.Series([{"a": 1}] * 20),
    "bytes": pl.Series([b"a"] * 20),
    "nothing": pl.Series([None] * 20),
}
NUMBERS = ("flag", "whole", "wide", "code")


@pytest.mark.slow
@pytest.mark.parametrize("column", ODD)
def test_columns_of_any_kind_are_read_or_refused_in_words(command, column):
    """In each role, by each command: numbers, true and false are read, anything else is named."""
    known = {"y": [1, 1, 0, 0] * 5, "p": [0.7, 0.6, 0.4, 0.3] * 5, "q": [0.6, 0.7, 0.4, 0.3] * 5}
    pl.DataFrame(
        [*(pl.Series(name, values) for name, values in known.items()), ODD[column].alias(column)]
    ).write_parquet("t.parquet")
    roles = [
        ("--prob", column),
        ("--logit", column),
        ("--prob", "p", "--target", column),
        ("--prob", "p", "--weight", column),
    ]
    calls = [(name, "t.parquet", "--target", "y", *role) for name in ("explain", "check", "labels") for role in roles]
    calls += [("compare", "t.parquet", "--target", "y", "--prob", "p", "--prob", column)]
    calls += [("compare", "t.parquet", "--target", "y", "--prob", "p", "--prob", "q", "--weight", column)]
    for call in calls:
        result = command(*call)
        if column in NUMBERS:
            assert result.exit_code in (0, 6), (call, result.stderr)
        else:
            assert result.exit_code == 3, (call, result.output)
            assert f"column '{column}'" in result.stderr
    for every in ("month", "quarter"):
        result = command("compare", "t.parquet", "--target", "y", "--prob", "p", "--by", column, "--every", every)
        assert result.exit_code == (0 if column in ("day", "moment") else 3), (column, result.output, result.exception)
