"""CSV files as R, pandas, Excel and databases export them: the table in them is found, and what was seen is said."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reading import logged_lines, read_both_ways
from torchbce import InputError
from torchbce.io.files import read_table
from torchbce.io.shards import open_shards
from torchbce.io.whole import read_whole

ROWS = [[i, f'w{i % 3}, "x"', i * 1.5, i % 2] for i in range(1, 31)]
NAMES = ["n", "who", "size", "y"]
CLEAN = pl.DataFrame({name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)})

TITLES = {
    "none": [],
    "a title": [["Report of 2024"]],
    "blank lines": [[], [], []],
    "a title and notes": [["Report"], ["Source: the office, Bonn"], []],
    "a sheet's title": [["Report", "", "", ""], ["", "", "", ""]],
}
TAILS = {
    "none": [],
    "totals": [["Total", "", 697.5, 15]],
    "notes": [[], ["* preliminary, as of May"]],
    "several lines": [["======"], ["1 - as of May", " in Bonn"]],
    "totals and notes": [["Gesamt:", "", "697.5", ""], [], ["Source: the office"]],
}


def written(
    title="none", tail="none", index="none", empty=0, delimiter=",", end="\n", mark="", quoting=csv.QUOTE_MINIMAL
):
    """The clean table with something around it."""
    names, rows = list(NAMES), [list(row) for row in ROWS]
    if index == "counts":
        names, rows = ["", *names], [[i, *row] for i, row in enumerate(rows)]
    elif index == "names":
        names, rows = ["", *names], [[f"Row {i}", *row] for i, row in enumerate(rows)]
    elif index == "written twice":
        names, rows = ["Unnamed: 0", *names], [[i, *row] for i, row in enumerate(rows)]
    below = [[*([""] * (index != "none") if len(row) > 2 else []), *row] for row in TAILS[tail]]
    if index != "none":  # the label of totals stands where the names of rows do
        below = [[row[1], "", *row[2:]] if len(row) > 2 else row for row in below]
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows(TITLES[title])
    writer.writerows(row + [""] * empty for row in [names, *rows])
    writer.writerows(row + [""] * empty if len(row) > 2 else row for row in below)
    return mark + out.getvalue()


@settings(max_examples=50, deadline=None)
@given(
    title=st.sampled_from(sorted(TITLES)),
    tail=st.sampled_from(sorted(TAILS)),
    index=st.sampled_from(["none", "counts", "names", "written twice"]),
    empty=st.sampled_from([0, 1, 3]),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
)
def test_a_table_is_found_whatever_stands_around_it(tmp_path_factory, **around):
    path = tmp_path_factory.getbasetemp() / "around.csv"
    path.write_text(written(**around), encoding="utf-8", newline="")
    with logged_lines() as lines:
        assert read_both_ways(path).equals(CLEAN, null_equal=True)
    usual = {"title": "none", "tail": "none", "index": "none", "empty": 0, "delimiter": ","}
    assert len(lines) == any(around[name] != value for name, value in usual.items()), lines


def read(text: str, **format) -> pl.DataFrame:
    Path("t.csv").write_text(text, encoding="utf-8", newline="")
    return read_both_ways(Path("t.csv"), **format)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("names", [[f'"{i}"' for i in range(1, 9)], [f'"Mazda, {i}"' for i in range(8)]])
def test_a_header_that_lacks_the_name_of_row_names_is_read_as_R_writes_it(names):
    text = '"a","b"\n' + "".join(f"{name},{i},{i % 2}\n" for i, name in enumerate(names))
    assert read(text).equals(pl.DataFrame({"a": range(8), "b": [i % 2 for i in range(8)]}))
    assert read(text.replace('",', '" ').replace('"a" ', '"a" ').replace(",", " "), delimiter=" ").columns == ["a", "b"]


def test_a_header_that_is_too_short_is_no_header_of_R():
    """Else the first part of a text would be taken for the name of its row."""
    with pytest.raises(InputError, match=r"row 1 \(line 2\) has 3 fields, the header has 2"):
        read("name,price\n" + "".join(f"Smith {i}, John,{i}\n" for i in range(40)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('""\n1\n', "has a header and no rows"),
        ('"",""\n', "no line with the columns' names"),
        ("name,\na,x\nb,y\n", "column 2 has no name in the header"),
        ("id,name,price\n" + "1,Smith, John,5\n2,x, y,?!\n" * 9, r"row 1 \(line 2\) has 4 fields, the header has 3"),
        ("x,y,z\na,b\n1,2\n3,4\n", r"row 1 \(line 2\) has 2 fields, the header has 3"),
    ],
)
def test_a_header_that_is_wrong_is_an_error_and_no_title(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_the_only_column_is_a_column_whatever_its_name():
    assert read("rownames\na\n").columns == ["rownames"]


def test_row_names_that_an_option_names_are_a_column():
    text = written(index="counts")
    assert read(text, named=("Unnamed: 0",)).columns == ["Unnamed: 0", *NAMES]
    assert read(text, as_is=True)["Unnamed: 0"].to_list() == list(range(30))
    with logged_lines() as lines:
        read(text, as_is=True)
    assert not lines


def test_an_index_that_pandas_stores_in_a_parquet_file_is_left_out_unless_an_option_names_it():
    CLEAN.with_columns(pl.Series("__index_level_0__", range(30))).write_parquet("t.parquet")
    with logged_lines() as lines:
        assert read_both_ways("t.parquet").columns == NAMES
    assert lines == ["t.parquet: left out: row names in '__index_level_0__' (kept by --as-is)"]
    assert read_both_ways("t.parquet", as_is=True).columns == [*NAMES, "__index_level_0__"]
    assert read_both_ways("t.parquet", named=("__index_level_0__",)).columns == [*NAMES, "__index_level_0__"]


def test_sixteen_thousand_empty_columns_are_left_out_in_a_moment():
    empty = "," * 16_000
    Path("t.csv").write_text(f"a,b{empty}\n" + f"1,2{empty}\n" * 20)
    start = time.process_time()
    assert read_both_ways("t.csv").shape == (20, 2)
    assert time.process_time() - start < 5


def test_files_of_one_table_have_row_names_each(command):
    for name in ("a", "b"):
        Path(f"{name}.csv").write_text(written(index="names", title="a title", tail="totals"))
    assert read_whole("[ab].csv").frame.equals(pl.concat([CLEAN, CLEAN]))
    with open_shards(["[ab].csv"]) as table:
        assert table.columns == NAMES
        assert sum(map(len, table.batches(NAMES, ""))) == 60


def test_a_value_in_a_column_without_a_name_is_named_however_far_below():
    text = "a,b,,\n" + "1,2,,\n" * 3000
    assert read(text).columns == ["a", "b"]
    with pytest.raises(InputError, match="row 3001 holds 'x' in a column that has no name in the header"):
        read(text + "1,2,,x\n")
    assert read(text + "1,2,,x\n", as_is=True).columns == ["a", "b", "Unnamed: 2", "Unnamed: 3"]


def test_names_may_be_numbers_where_the_first_column_has_none():
    assert read('"","142.24","-5"\n"a",1,2\n"b",3,4\n').columns == ["142.24", "-5"]
    with pytest.raises(InputError, match="its first line holds numbers such as '142.24'"):
        read("142.24,-5\n1,2\n")


@pytest.mark.parametrize("last", ["1,2", "1", "x", "3,4,5,6"])
def test_a_row_that_is_cut_off_is_an_error_and_no_note(last):
    with pytest.raises(InputError, match=r"row 3 \(line 4\) has . field"):
        read("a,b,c\n1,2,x\n3,4,y\n" + last)


def test_a_total_is_a_row_where_others_have_that_name_too_or_all_is_asked_for():
    assert read("region,n\nTotal,5\nNorth,3\nTotal,3\n").height == 3
    assert read("region,n\nNorth,3\nTotal,3\n").height == 1
    assert read("region,n\nNorth,3\nTotal,3\n", as_is=True).height == 2
    assert read("name,n\nTotal recall,3\nTotal,x\n").height == 2


def test_lines_above_the_header_may_be_counted_by_the_user():
    text = "a,b,c\n1,2,3\nx,y,z\n4,5,6\n"
    assert read(text).columns == ["a", "b", "c"]
    assert read(text, skip_rows=2).to_dict(as_series=False) == {"x": [4], "y": [5], "z": [6]}
    assert read("Report, all\n1,2\na,b\n3,4\n", skip_rows=2).columns == ["a", "b"]
    with pytest.raises(InputError, match=r"no line below line 9 with the columns' names \(--skip-rows\)"):
        read(text, skip_rows=9)


def test_gaps_and_negatives_are_those_of_spreadsheets_and_databases():
    values = [".", "#N/A", "NULL", "\\N", "(2,985)", "($1.5)", "7", "-"]
    frame = read("a;y\n" + "".join(f"{value};1\n" for value in values))
    assert frame["a"].to_list() == [None] * 4 + [-2985.0, -1.5, 7.0, None]
    assert read("a;y\n(1);1\n(2);0\n")["a"].to_list() == ["(1)", "(2)"]  # where nothing says that they are amounts
    assert read("a;y\n(1.5);1\n(2);0\n")["a"].to_list() == [-1.5, -2.0]
    assert read("a;y\n.;1\nx;1\n-;2\n")["a"].to_list() == [".", "x", "-"]  # among texts they are texts
    assert read("a,y\n-9,1\n2,-9\n", na=("-9",)).rows() == [(None, 1), (2, None)]


def test_decisions_are_printed_once_in_each_command(command):
    rows = "".join(f"{i},0.{1 + i % 8},0.{1 + i % 7},{i % 2}\n" for i in range(40))
    Path("t.csv").write_text("Predictions\n\n,p,q,y\n" + rows + "\nSource: us\n")
    line = "torchbce: t.csv: header in line 3 (--skip-rows); left out: row names in column 1, 1 line below the table"
    train = ["train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees", "--members", "1", "--hidden", "0"]
    for arguments in (
        ["explain", "t.csv", "--target", "y", "--prob", "p"],
        ["check", "t.csv", "--target", "y", "--prob", "p"],
        ["labels", "t.csv", "--target", "y", "--prob", "p"],
        ["compare", "t.csv", "--target", "y", "--prob", "p", "--prob", "q"],
        [*train, "--folds", "2"],
        ["predict", "runs/t", "t.csv"],
        [*train, "--memory", "1K", "--test-share", "0.3", "--out", "b"],
    ):
        result = command(*arguments)
        assert result.stderr.count(line) == 1, result.output
        assert line not in result.stdout


def test_the_work_does_not_grow_faster_than_the_file(monkeypatch):
    """A title above and totals below a long table: no line of it is looked at in Python."""
    from torchbce.io import csv_sample

    seen = []
    rows = csv_sample.scan_rows
    monkeypatch.setattr(csv_sample, "scan_rows", lambda lines, *more: seen.append(len(lines)) or rows(lines, *more))
    Path("t.csv").write_text(
        "Report\n\n,a,b\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(50_000)) + "Total,1,2\n"
    )
    assert read_table("t.csv").frame.shape == (50_000, 2)
    assert max(seen) < 200
    assert len(seen) < 20


def test_row_names_show_that_files_which_are_compared_have_other_orders(command):
    """Targets alone do not, where both files are sorted by them."""
    rows = [(i, i % 2, 0.1 + i % 8 / 10) for i in range(60)]
    for name, ordered in (("a", rows), ("b", sorted(rows, key=lambda row: (row[1], -row[0])))):
        ordered = sorted(ordered, key=lambda row: row[1])
        Path(f"{name}.csv").write_text('"","y","p"\n' + "".join(f'"{i}",{y},{p}\n' for i, y, p in ordered))
    result = command("compare", "a.csv", "b.csv", "--target", "y", "--prob", "p")
    assert result.exit_code == 3
    assert "--key 'Unnamed: 0'" in result.stderr
    assert command("compare", "a.csv", "b.csv", "--target", "y", "--prob", "p", "--key", "Unnamed: 0").exit_code == 0
