"""What is in a table, as people write it: decimal commas, signs, dates, zeros in front, encodings, pipes."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard

from torchbce.common.errors import InputError
from torchbce.io.files import read_table
from torchbce.io.source import Format

N = 40
ROWS = range(1, N + 1)


def table(text: str, **format) -> pl.DataFrame:
    Path("t.csv").write_text(text, encoding="utf-8")
    return read_table("t.csv", Format(**format)).frame


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1,234", "987", "1,234,567"], [1234.0, 987.0, 1234567.0]),
        (["4.5%", "10%", "0.5 %"], [4.5, 10.0, 0.5]),
        (["$3.20", "-$1", "$1,000.5"], [3.2, -1.0, 1000.5]),
        (["1e3", " 7", "NA"], [1000.0, 7.0, None]),
    ],
)
def test_numbers_are_known_by_their_dress(texts, values):
    found = table("a;b\n" + "".join(f'"{text}";1\n' for text in texts))
    assert found["a"].cast(pl.Float64).to_list() == values


def test_numbers_that_a_parquet_file_holds_as_texts_are_numbers():
    pl.DataFrame({"a": ["1", "2.5", None], "b": ["2021-03-04"] * 3, "c": ["007", "1", "2"]}).write_parquet("t.parquet")
    found = read_table("t.parquet").frame
    assert found["a"].to_list() == [1.0, 2.5, None]
    assert found["b"].dtype == pl.Date
    assert found["c"].dtype == pl.String


def test_decimal_commas_are_noticed_and_read_when_that_is_said():
    text = "Umsatz;y\n" + "".join(f"{i},5;1\n" for i in ROWS)
    with pytest.raises(
        InputError, match=r"'Umsatz' looks like numbers with a decimal comma \('1,5' in row 1\): pass --dec"
    ):
        table(text)
    assert table(text, decimal=",")["Umsatz"].to_list() == [i + 0.5 for i in ROWS]
    assert table("a;b\n1.234,5;1\n7;2\n", decimal=",")["a"].to_list() == [1234.5, 7.0]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2021-03-04", "2021-03-04"),
        ("03/14/2021", "2021-03-14"),
        ("14.3.2021", "2021-03-14"),
        ("14/03/2021", "2021-03-14"),
    ],
)
def test_dates_are_dates(text, date):
    assert str(table(f"a,b\n{text},1\n")["a"][0]) == date


def test_dates_are_read_in_new_rows_as_in_the_training(command):
    days = [f"{1 + i % 12:02}/{1 + i % 28:02}/2021" for i in range(200)]  # some days are above 12
    early = [f"{1 + i % 12:02}/{1 + i % 9:02}/2021" for i in range(20)]  # these could be either
    y = [int(day.split("/")[0]) % 2 for day in days]
    Path("t.csv").write_text("d,y\n" + "".join(f"{d},{v}\n" for d, v in zip(days, y, strict=True)))
    Path("new.csv").write_text("d\n" + "".join(f"{d}\n" for d in early))
    Path("iso.csv").write_text("d\n" + "".join(f"2021-{d[:2]}-{d[3:5]}\n" for d in early))
    assert command("train", "t.csv", "--target", "y", "--epochs", "2", "--no-trees").exit_code == 0
    found = command("predict", "runs/t", "new.csv")
    assert found.exit_code == 0, found.stderr
    assert "written like %m/%d/%Y" in command("predict", "runs/t", "iso.csv").stderr


def test_a_column_is_judged_by_all_of_its_rows():
    found = table("a,b\n" + "1,2\n" * 5000 + "x,2.5\n")
    assert found["a"].dtype == pl.String
    assert found["b"].dtype == pl.Float64


def test_identifiers_are_named(command):
    rng = np.random.default_rng(0)
    zips = [f"{n:05}" for n in rng.integers(0, 30, N)]
    lines = "".join(f"{i},{z},{v:.3f},{i % 2}\n" for i, z, v in zip(ROWS, zips, rng.normal(size=N), strict=True))
    Path("t.csv").write_text("id,zip,x,y\n" + lines)
    out = command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees").stdout
    assert "id (counts the rows)" in out
    assert "zip: '000" in out
    assert "taken for codes" in out


def test_all_different_is_said_of_what_is(command):
    rows = "".join(f"name {i % 30},{i % 7},{i % 2}\n" for i in ROWS)
    Path("t.csv").write_text("who,x,y\n" + rows)
    assert (
        "who (30 different texts in 40 rows)"
        in command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees").stdout
    )


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_are_read_everywhere(suffix, command):
    text = ("p,x,y\n" + "".join(f"0.{1 + i % 8},{i % 7},{i % 2}\n" for i in ROWS)).encode()
    Path(f"t.csv{suffix}").write_bytes(gzip.compress(text) if suffix == ".gz" else zstandard.compress(text))
    assert command("train", f"t.csv{suffix}", "--target", "y", "--epochs", "1", "--no-trees").exit_code == 0
    assert command("explain", f"t.csv{suffix}", "--target", "y", "--prob", "p").exit_code == 0
    assert command("predict", "runs/t", f"t.csv{suffix}").exit_code == 0


def test_a_first_line_of_excel_quotes_in_headers_and_encodings(command):
    assert table("sep=;\na;b\n1;2\n").columns == ["a", "b"]
    assert table('"a ""b""";c\n1;2\n').columns == ['a "b"', "c"]
    Path("l.csv").write_bytes("Größe,y\nä,1\n".encode("latin1"))
    assert read_table("l.csv", Format(encoding="latin1")).frame.columns == ["Größe", "y"]
    with pytest.raises(InputError, match="--encoding latin1"):
        read_table("l.csv")
    assert table("a^b\n1^2\n", delimiter="^").columns == ["a", "b"]
    assert command("train", "l.csv", "--target", "y", "--delimiter", "ab").exit_code == 2


def test_a_missing_header_is_noticed():
    with pytest.raises(InputError, match="its first line holds numbers such as '5.1'"):
        table("5.1,3.5,setosa\n4.9,3.0,setosa\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_read_like_a_file():
    os.mkfifo("pipe")
    threading.Thread(target=lambda: Path("pipe").write_text("a,b\n1,2\n")).start()
    assert read_table("pipe").frame.shape == (1, 2)


def test_a_name_that_is_not_utf8_is_read():
    name = os.fsdecode(b"t\xff.csv")
    Path(name).write_text("a,b\n1,2\n")
    assert read_table(name).frame.shape == (1, 2)


def test_names_that_polars_takes_for_patterns(command):
    Path("t.csv").write_text("^x.*$,p,y\n" + "".join(f"{i % 5},0.{1 + i % 8},{i % 2}\n" for i in ROWS))
    assert (
        command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees", "--categorical", "^x.*$").exit_code
        == 0
    )
    found = command("explain", "t.csv", "--target", "y", "--prob", "p", "--by", "^x.*$")
    assert found.exit_code == 0, found.stderr
    assert "group 5" in found.stdout


def test_targets_of_new_rows_may_have_gaps(command):
    rows = "".join(f"{i % 7},{i % 2}\n" for i in ROWS)
    Path("t.csv").write_text("x,y\n" + rows)
    Path("new.csv").write_text("x,y\n1,1\n2,\n3,0\n")
    assert command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees").exit_code == 0
    found = command("predict", "runs/t", "new.csv")
    assert "nats per item over 2 rows" in found.stderr
    assert found.stdout.splitlines()[2].endswith(",")


def test_worth_is_not_claimed_where_chance_decides(command):
    rng = np.random.default_rng(0)
    y = np.zeros(3000, int)
    y[rng.choice(3000, 9, replace=False)] = 1
    noise = pl.DataFrame({f"x{i}": rng.normal(size=3000) for i in range(4)} | {"y": y})
    noise.write_csv("t.csv")
    out = command("train", "t.csv", "--target", "y", "--epochs", "3", "--no-trees").stdout
    assert "too few to say whether this model knows anything" in out
    assert "AUC" not in out
    assert "below baseline" not in out
    assert "y = 1 in 0.3 %" in out


def test_a_model_that_is_worse_than_a_constant_is_called_so(command):
    rng = np.random.default_rng(1)
    noise = pl.DataFrame({f"x{i}": rng.normal(size=200) for i in range(40)} | {"y": rng.integers(0, 2, 200)})
    noise.write_csv("t.csv")
    out = command(
        "train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees", "--lr", "3", "--optimizer", "sgd"
    ).stdout
    assert "WARNING" in out
    assert "WORSE than always answering" in out


def test_a_wide_table_is_learned(command):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 1200)).astype(np.float32)
    y = ((x[:, 3] > 0) ^ (rng.random(1500) < 0.02)).astype(int)
    pl.DataFrame({f"x{i}": x[:, i] for i in range(1200)} | {"y": y}).write_parquet("t.parquet")
    small = ("--epochs", "20", "--no-trees", "--test-share", "0.2")
    out = command("train", "t.parquet", "--target", "y", *small).stdout
    assert "no sign of use in the training rows" in out
    found = float(next(line for line in out.splitlines() if line.startswith("estimate")).split()[1])
    assert found < 0.25
