"""Rows of CSV files: fields of any length and of several lines, quotes that are never closed, headers of any width."""

from __future__ import annotations

import csv
import io
import time

import numpy as np
import polars as pl
import pytest

from torchbce import InputError
from torchbce.io import csv_header
from torchbce.io.csv_header import read_header
from torchbce.io.csv_rows import QuoteError, scan_rows, split_fields
from torchbce.io.files import read_table
from torchbce.io.scan import read_batches
from torchbce.io.shards import open_shards
from torchbce.io.source import SourceFile


def both_ways(path):
    """A table read whole and in batches: its rows as texts, or the message."""
    for how in ("whole", "batches"):
        try:
            if how == "whole":
                frame = read_table(str(path), as_text={"a", "b", "y"}).frame
            else:
                source = SourceFile(path, str(path))
                frame = pl.concat([part for _, part in read_batches(source, ["a", "b", "y"], "")]).select("a", "b", "y")
            yield frame.rows()
        except InputError as error:
            yield str(error)


def test_rows_are_those_of_the_csv_module():
    rng = np.random.default_rng(0)
    pieces = ["", "x", "é", '"', ",", "\n", "\r\n", " ", "1.5", '""']
    for _ in range(300):
        columns = int(rng.integers(1, 5))
        table = [["".join(rng.choice(pieces, rng.integers(0, 5))) for _ in range(columns)] for _ in range(6)]
        file = io.StringIO(newline="")
        csv.writer(file, quoting=csv.QUOTE_ALL if rng.random() < 0.3 else csv.QUOTE_MINIMAL).writerows(table)
        text = file.getvalue()
        found = list(scan_rows(io.StringIO(text, newline=""), ","))
        assert [row.fields for row in found] == [columns] * 6, text
        assert not any(row.is_stray for row in found), text
        lines = text.splitlines(keepends=True)
        for row, expected in zip(found, table, strict=True):
            assert split_fields("".join(lines[row.line - 1 : row.last]).rstrip("\r\n"), ",") == expected, text


@pytest.mark.parametrize("rows", [0, 3, 30_000])
@pytest.mark.parametrize(
    ("row", "field"), [('"3,4,1', 1), ('3,"4,1', 2), ('3,4,"1', 3), ('3,4,"', 3), ('3,"a""b,1', 2)]
)
@pytest.mark.parametrize("end", ["\n", ""])
def test_a_quote_that_is_never_closed_is_named_with_its_row_and_field(tmp_path, rows, row, field, end):
    """Also in the last row, where polars makes a missing value of it."""
    (tmp_path / "t.csv").write_text("a,b,y\n" + "1,2,0\n" * rows + row + ("\n5,6,0" * rows) + end)
    for found in both_ways(tmp_path / "t.csv"):
        assert (
            f"row {rows + 1} (line {rows + 2}): field {field} begins with a double quote that is never closed" in found
        )


def test_what_stands_after_a_closing_quote_is_named(tmp_path):
    (tmp_path / "t.csv").write_text('a,b,y\n1,2,0\n"3,4,1\n5,6,0\n"x,8,1\n5,6,0\n')
    for found in both_ways(tmp_path / "t.csv"):
        assert "row 2 (line 3): a double quote within a field in double quotes is written twice" in found
        assert "after those of field 1 stands 'x,8,1' in line 5" in found


def test_a_quote_astray_is_named_where_polars_cannot_read_it(tmp_path):
    (tmp_path / "t.csv").write_text('a,b,y\n1,2,0\n3"x,4,1\n5,6,0\n')
    for found in both_ways(tmp_path / "t.csv"):
        assert "row 2 (line 3) has a double quote within a field that does not begin with one" in found


def test_a_row_whose_quote_closes_lines_below_is_named_with_both(tmp_path):
    (tmp_path / "t.csv").write_text('a,b,y\n1,2,0\n"3,4,1\n5",6\n7,8,0\n')
    for found in both_ways(tmp_path / "t.csv"):
        assert (
            "row 2 (line 3) has 2 fields, as a double quote in it is closed only in line 4, the header has 3" in found
        )


@pytest.mark.parametrize("last", ["1", ""])
def test_fields_of_any_length_are_read_whatever_other_columns_hold(tmp_path, last):
    long = "x" * 200_000
    (tmp_path / "t.csv").write_text(f"a,b,y\n1,{long},0\n2,{long}z,{last}\n")
    for found in both_ways(tmp_path / "t.csv"):
        assert found == [("1", long, "0"), ("2", f"{long}z", last or None)]


def test_a_header_may_have_long_names_and_names_of_several_lines(tmp_path):
    (tmp_path / "t.csv").write_text(f'"a\nb","{"c" * 200_000}"\n1,2\n')
    assert read_header(SourceFile(tmp_path / "t.csv", "t.csv")).names == ["a\nb", "c" * 200_000]


def test_a_header_that_does_not_end_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text('a,"b,y\n' + "1,2,0\n" * 1000)
    source = SourceFile(tmp_path / "t.csv", "t.csv")
    with pytest.raises(InputError, match=r"the header \(line 1\): field 2 begins with a double quote that is never"):
        read_header(source)
    monkeypatch.setattr(csv_header, "MAX_LINE", 1000)  # nor is the whole of a large file read for it
    with pytest.raises(InputError, match="its header has more than 1,000 characters; is its first double quote closed"):
        read_header(source)


def test_errors_of_rows_name_nothing_that_is_not_there():
    with pytest.raises(QuoteError, match=r"row 1 \(line 2\): field 1"):
        list(scan_rows(["a\n", '"x\n'], ","))
    assert [(row.number, row.line) for row in scan_rows(["a\n", "\n", "1\n", "\r\n", "2"], ",")] == [
        (0, 1),
        (1, 3),
        (2, 5),
    ]


@pytest.mark.slow
def test_a_header_of_fifty_thousand_columns_is_checked_in_a_moment(tmp_path):
    names = [f"column_{i}" for i in range(50_000)]
    for name in ("t.csv", "u.csv"):
        (tmp_path / name).write_text(",".join(names) + "\n" + ",".join("1" * 50_000) + "\n")
    start = time.process_time()
    assert read_header(SourceFile(tmp_path / "t.csv", "t.csv")).names == names
    assert time.process_time() - start < 3  # five times as long, where each name is looked for in a list
    with open_shards([str(tmp_path / "t.csv"), str(tmp_path / "u.csv")]) as table:
        assert table.columns == names
    assert time.process_time() - start < 8
    names[-1] = "column_7"
    (tmp_path / "t.csv").write_text(",".join(names) + "\n1\n")
    with pytest.raises(InputError, match="columns 8 and 50000 are both named 'column_7'"):
        read_header(SourceFile(tmp_path / "t.csv", "t.csv"))
