"""What a file is, by its first bytes, whatever its name ends in."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

CSV, PARQUET, ARROW = "csv", "parquet", "arrow"  # what is read as it is
WORKBOOK, JSON_LINES, STATISTICS = "workbook", "json lines", "statistics"  # what is converted first
EMPTY, ARCHIVE, JSON_ARRAY, JSON_OBJECT = "empty", "archive", "json array", "json object"
HEAD = 1 << 12  # bytes that are looked at
MAX_JSON_LINE = 1 << 24  # bytes of the first line of JSON lines
JSON_LINES_SUFFIXES = {".jsonl", ".ndjson"}
SAS_TABLE = bytes.fromhex("000000000000000000000000c2ea8160b31411cfbd92080009c7318c181f1011")
OPEN_DOCUMENT = b"application/vnd.oasis.opendocument.spreadsheet"

MAGIC = (
    (b"PAR1", PARQUET),
    (b"ARROW1", ARROW),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", WORKBOOK),  # Excel's .xls, and other files of old Office
    (SAS_TABLE, STATISTICS),
    (b"HEADER RECORD*******LIB", STATISTICS),  # SAS transport: LIBRARY or LIBV8
    (b"$FL2", STATISTICS),  # SPSS
    (b"$FL3", STATISTICS),
    (b"<stata_dta>", STATISTICS),
    (b"torchbce sketch", "sketch"),
    (b"%PDF", "pdf"),
    (b"SQLite format 3\0", "sqlite"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x93NUMPY", "numpy"),
    (b"RDX2\n", "r"),
    (b"RDX3\n", "r"),
    (b"RDA2\n", "r"),
    (b"RDA3\n", "r"),
    (b"X\n\0\0", "r"),
    (b"Obj\x01", "avro"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x80\x02", "pickle"),
    (b"\x80\x03", "pickle"),
    (b"\x80\x04", "pickle"),
    (b"\x80\x05", "pickle"),
    (b"version https://git-lfs", "git lfs"),
    (b"\0\x05\x16\x07", "apple double"),
)
OLD_STATA = {0x6C, 0x6E, 0x6F, 0x71, 0x72, 0x73}  # Stata 4 to 12: the version, the byte order and a 1

# What each kind that cannot be read is, and what to do.
REMEDIES = {
    EMPTY: ("empty", "expected a header line and rows"),
    ARCHIVE: ("a zip archive, no table", "unpack it"),
    "7z": ("a 7z archive, no table", "unpack it"),
    "rar": ("a RAR archive, no table", "unpack it"),
    JSON_ARRAY: (
        "JSON, one array",
        "write a row per line instead (JSON lines), as with: jq -c '.[]' FILE.json > FILE.jsonl",
    ),
    JSON_OBJECT: (
        "JSON, one object",
        "write a row per line instead (JSON lines, which end in .jsonl), each an object with the columns' names",
    ),
    "sketch": ("what explain --save wrote", "it is read by explain --merge"),
    "html": ("a web page (HTML), no table", "download or export the table itself, as CSV"),
    "xml": ("XML", "export the table as CSV or as .xlsx"),
    "pdf": ("a PDF document", "export the table as CSV"),
    "sqlite": (
        "an SQLite database",
        "export a table, as with: sqlite3 -header -csv FILE 'select * from TABLE' > t.csv",
    ),
    "hdf5": ("an HDF5 file", "write the table as Parquet, as with pandas' read_hdf and to_parquet"),
    "numpy": ("an array of NumPy", "write it as Parquet or CSV, with the columns' names"),
    "r": ("a file of R", "write the table in R with write.csv(table, 't.csv')"),
    "avro": ("an Avro file", "write it as Parquet"),
    "pickle": ("a pickle of Python, which runs code when it is read", "write the table as Parquet, with to_parquet"),
    "apple double": ("what macOS keeps beside a file of this name without ._", "name that file"),
    "git lfs": ("a pointer of Git LFS, and not the file itself", "fetch that with: git lfs pull"),
}


def kind_of(path: Path, name: str = "") -> str:
    """Return what a file is: CSV where nothing else is seen. name: as a user knows it, for its suffix."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return EMPTY
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(path)
    if head[0] in OLD_STATA and head[1:4] in (b"\x01\x01\x00", b"\x02\x01\x00"):
        return STATISTICS
    return _kind_of_text(path, head.removeprefix(b"\xef\xbb\xbf").lstrip(), Path(name or path).suffix.lower())


def _kind_of_zip(path: Path) -> str:
    """Return whether a zip archive is a workbook of Excel or OpenDocument."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            is_open_document = "mimetype" in names and _begins_with(archive, "mimetype", OPEN_DOCUMENT)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return ARCHIVE
    return WORKBOOK if is_open_document or {"xl/workbook.xml", "xl/workbook.bin"} & names else ARCHIVE


def _begins_with(archive: zipfile.ZipFile, member: str, expected: bytes) -> bool:
    with archive.open(member) as file:
        return file.read(len(expected)) == expected


def _kind_of_text(path: Path, start: bytes, suffix: str) -> str:
    lowered = start[:20].lower()
    if lowered.startswith((b"<!doctype html", b"<html", b"<table", b"<head")):
        return "html"
    if lowered.startswith(b"<?xml"):
        return "html" if b"<html" in start.lower() else "xml"
    if start.startswith(b"["):
        return JSON_ARRAY if start[1:].lstrip()[:1] in (b"{", b"[") else CSV
    if start.startswith(b"{") and start[1:].lstrip()[:1] in (b'"', b"}"):
        return JSON_LINES if _has_json_lines(path, suffix) else JSON_OBJECT
    return CSV


def _has_json_lines(path: Path, suffix: str) -> bool:
    """Return whether a file that begins with { has an object in each line, by its first two."""
    with path.open("rb") as file:
        lines = (line for line in iter(lambda: file.readline(MAX_JSON_LINE), b"") if line.strip())
        first, second = next(lines, b""), next(lines, b"")
    try:
        json.loads(first.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        return False
    return second.lstrip().startswith(b"{") or suffix in JSON_LINES_SUFFIXES
