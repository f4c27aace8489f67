"""Workbooks, JSON lines, SAS, Stata, SPSS, compressed files; and files that are no table, called what they are."""

from __future__ import annotations

import bz2
import datetime
import io
import json
import lzma
import zipfile
from pathlib import Path

import polars as pl
import pyreadstat
import pytest
import xlsxwriter

from reading import logged_lines, read_both_ways
from torchbce import InputError
from torchbce.io.signatures import REMEDIES, kind_of
from torchbce.io.size import fits_in_memory
from torchbce.io.source import open_source

DAY = datetime.date(2024, 1, 1)
CLEAN = pl.DataFrame(
    {
        "n": range(1, 31),
        "size": [None if i % 7 == 0 else i / 4 for i in range(30)],
        "who": [None if i % 5 == 0 else f'w{i % 3}, "x"\nz' for i in range(30)],
        "code": [f"{i:03}" for i in range(30)],
        "day": [DAY + datetime.timedelta(i) for i in range(30)],
        "at": [datetime.datetime(2024, 1, 1, i % 24, 30) for i in range(30)],
        "sold": [i % 2 == 0 for i in range(30)],
    }
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def workbook(path: str, *, title: bool = False, total: bool = False, sheets: tuple[str, ...] = ("Data",)) -> None:
    """Write the table as a workbook; all sheets but the last hold a sentence."""
    with xlsxwriter.Workbook(path) as book:
        for name in sheets[:-1]:
            book.add_worksheet(name).write(0, 0, "All figures are preliminary")
        sheet = book.add_worksheet(sheets[-1])
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        at = book.add_format({"num_format": "dd.mm.yyyy hh:mm"})
        first = 3 if title else 0
        if title:
            sheet.write(0, 0, "Report")
        sheet.write_row(first, 0, CLEAN.columns)
        for i, row in enumerate(CLEAN.rows(), first + 1):
            for j, value in enumerate(row):
                if isinstance(value, datetime.date):
                    sheet.write_datetime(i, j, value, at if isinstance(value, datetime.datetime) else day)
                elif isinstance(value, str):
                    sheet.write_string(i, j, value)
                elif value is not None:
                    sheet.write(i, j, value)
        if total:
            sheet.write_row(first + 31, 0, ["Total", 96.25])


OPEN_DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.2"><office:body><office:spreadsheet>
<table:table table:name="Data">{}</table:table></office:spreadsheet></office:body></office:document-content>"""
MANIFEST = """<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>"""


def open_document(path: str, rows: list[list[object]]) -> None:
    def cell(value: object) -> str:
        kind = "string" if isinstance(value, str) else f'float" office:value="{value}'
        return f'<table:table-cell office:value-type="{kind}"><text:p>{value}</text:p></table:table-cell>'

    lines = ["<table:table-row>" + "".join(map(cell, row)) + "</table:table-row>" for row in rows]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr("META-INF/manifest.xml", MANIFEST)
        file.writestr("content.xml", OPEN_DOCUMENT.format("".join(lines)))


@pytest.mark.parametrize("title", [False, True])
@pytest.mark.parametrize("total", [False, True])
def test_a_workbook_is_the_table_in_its_sheet(title, total):
    workbook("t.xlsx", title=title, total=total)
    with logged_lines() as lines:
        assert read_both_ways("t.xlsx").equals(CLEAN)
    assert ["header in line 4" in " ".join(lines), "totals" in " ".join(lines)] == [title, total]


def test_of_several_sheets_the_first_with_a_table_is_read_or_the_one_that_is_named():
    workbook("t.xlsx", sheets=("About", "Data"))
    with logged_lines() as lines:
        assert read_both_ways("t.xlsx").equals(CLEAN)
    assert lines == ["t.xlsx: the sheet 'Data' is read (--sheet), of 'About', 'Data'"]
    with logged_lines() as lines:
        assert read_both_ways("t.xlsx", sheet="Data").equals(CLEAN)
    assert not lines
    with pytest.raises(InputError, match=r"t.xlsx: no sheet 'data' \(--sheet\); the sheets are 'About', 'Data'"):
        read_both_ways("t.xlsx", sheet="data")
    Path("t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="t.csv is no workbook, so it has no sheet 'Data'; leave --sheet out"):
        read_both_ways("t.csv", sheet="Data")
    with pytest.raises(InputError, match="whose numbers have no decimal comma; leave --decimal out"):
        read_both_ways("t.xlsx", decimal=",")


def test_a_table_of_open_document_is_read():
    open_document("t.ods", [["a", "b"], [1, "x"], [2.5, "y"]])
    assert read_both_ways("t.ods").rows() == [(1.0, "x"), (2.5, "y")]


def test_a_workbook_that_is_damaged_or_too_large_is_refused(monkeypatch):
    workbook("t.xlsx")
    content = Path("t.xlsx").read_bytes()
    Path("u.xlsx").write_bytes(content.replace(b"xl/worksheets/sheet1.xml", b"xl/worksheets/sheet9.xml"))
    with pytest.raises(InputError, match="u.xlsx cannot be read as a workbook: .*; is it protected by a password, or"):
        read_both_ways("u.xlsx")
    monkeypatch.setattr("torchbce.io.workbooks.MAX_BYTES", 1000)
    with pytest.raises(
        InputError, match="the workbook unpacks to .* bytes, and 1,000 are allowed; save the sheet as CSV"
    ):
        read_both_ways("t.xlsx")


def test_json_lines_are_rows_whose_types_are_those_of_all(command):
    rows = [{"a": i, "b": f"w{i % 3}", "y": i % 2} for i in range(300)]
    rows[200] = {"y": 1, "late": 2.5}
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame = read_both_ways("t.jsonl")
    assert frame.columns == ["a", "b", "y", "late"]
    assert frame["a"].dtype.is_integer()
    assert frame["late"].drop_nulls().to_list() == [2.5]
    digests = []
    for _ in range(2):  # a run goes on where its table has the same bytes
        with open_source("t.jsonl") as source:
            digests.append(source.path.read_bytes())
    assert digests[0] == digests[1]
    Path("bad.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(InputError, match="bad.jsonl cannot be read as JSON lines, which have an object in each line"):
        read_both_ways("bad.jsonl")


@pytest.mark.parametrize("suffix", ["sav", "zsav", "dta", "xpt"])
def test_tables_of_sas_stata_and_spss_are_read(suffix, monkeypatch):
    monkeypatch.setattr("torchbce.io.statistics_files.PART", 7)
    table = CLEAN.select("n", "size", "who", "code", "day").with_columns(y=pl.col("n") % 2)
    if suffix == "xpt":
        pyreadstat.write_xport(table, "t.xpt")
    elif suffix == "dta":
        pyreadstat.write_dta(table, "t.dta", variable_value_labels={"y": {0: "no", 1: "yes"}})
    else:
        pyreadstat.write_sav(table, f"t.{suffix}", compress=suffix == "zsav")
    frame = read_both_ways(f"t.{suffix}")
    assert frame.equals(table)
    Path(f"cut.{suffix}").write_bytes(Path(f"t.{suffix}").read_bytes()[:400])
    with pytest.raises(InputError, match=f"cut.{suffix} (is damaged or truncated|has no rows)"):
        read_both_ways(f"cut.{suffix}")


@pytest.mark.parametrize(("suffix", "pack"), [("xz", lzma.compress), ("bz2", bz2.compress)])
def test_files_of_xz_and_bzip2_are_unpacked(suffix, pack):
    text = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(9999))
    Path(f"t.csv.{suffix}").write_bytes(pack(text[:5000]) + pack(text[5000:]))
    assert not fits_in_memory([f"t.csv.{suffix}"], 1000)
    with open_source(f"t.csv.{suffix}") as source:
        assert source.path.read_bytes() == text
    Path(f"u.csv.{suffix}").write_bytes(pack(text)[:-20])
    with pytest.raises(InputError, match=f"u.csv.{suffix}: cannot be read: "):
        read_both_ways(f"u.csv.{suffix}")
    Path("t.csv").write_text("BZh9,b\n1,2\n")  # begins as a file of bzip2 does
    assert read_both_ways("t.csv").columns == ["BZh9", "b"]


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, "x")
    return file.getvalue()


NO_TABLES = {
    "is empty; expected a header line": b"",
    "is a zip archive, no table; unpack it": archive("t.csv"),
    "is JSON, one array; write a row per line instead": b' [ {"a": 1, "b": "6,20,6,20"},\n {"a": 2}]',
    "is JSON, one object; write a row per line": b'{\n  "a": [1, 2]\n}',
    "is JSON, one object; write a row": b'{"data": [[1, 2], [3, 4]], "columns": ["a", "b"]}',
    "is a web page (HTML), no table": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "is XML; export": b'<?xml version="1.0"?><rows><row a="1"/></rows>',
    "is a PDF document": b"%PDF-1.7\n",
    "is an SQLite database": b"SQLite format 3\0" + bytes(100),
    "is an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "is an array of NumPy": b"\x93NUMPY\x01\0v\0",
    "is a file of R; write the table in R with write.csv": b"RDX3\nX\n",
    "is a pickle of Python": b"\x80\x04\x95\x00",
    "is what macOS keeps beside a file of this name without ._": b"\0\x05\x16\x07\0\x02\0\0",
    "is a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("message", NO_TABLES)
def test_a_file_of_another_kind_is_called_what_it_is(message):
    Path("t.csv").write_bytes(NO_TABLES[message])
    with pytest.raises(InputError) as raised:
        read_both_ways("t.csv")
    assert str(raised.value).startswith(f"t.csv {message}")
    assert any(what in str(raised.value) for what, _ in REMEDIES.values())


@pytest.mark.parametrize("header", ["[id],[name]", "{id},{name}", "RDX,b", "$FLOW,b", "PKW,b", "X,b", "ORC,b", "<b>,c"])
def test_a_header_of_csv_is_taken_for_no_other_kind(header):
    Path("t.csv").write_text(f"{header}\n1,2\n")
    assert read_both_ways("t.csv").columns == header.split(",")
    assert kind_of(Path("t.csv")) == "csv"


def test_a_library_that_is_missing_is_named_with_the_extra_that_installs_it(monkeypatch, command):
    import sys

    workbook("t.xlsx")
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    result = command("check", "t.xlsx", "--prob", "p")
    assert result.exit_code == 3
    assert result.stderr.strip() == (
        "torchbce: t.xlsx is a workbook, and reading it needs fastexcel; install it with: pip install 'torchbce[files]'"
    )


def test_options_of_csv_reach_the_sheet_of_a_workbook():
    workbook("t.xlsx", title=True)
    frame = read_both_ways("t.xlsx", delimiter=";", encoding="latin1", skip_rows=3, na=("3",))
    assert frame["n"].to_list() == [None if n == 3 else n for n in CLEAN["n"]]
