"""Options that mean nothing together are refused by name, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

ROWS = "target,p,q,id\n" + "".join(f"{i % 2},0.{i % 8 + 1},0.{i % 7 + 1},{i}\n" for i in range(60))

MERGE_EXPLAIN = [
    ("--target", "y"),
    ("--prob", "p"),
    ("--logit", "p"),
    ("--by", "id"),
    ("--table", "t.csv"),
    ("--weight", "p"),
    ("--cluster", "id"),
    ("--only", "id=1"),
    ("--decimal", ","),
    ("--delimiter", ";"),
    ("--encoding", "latin1"),
    ("--skip-rows", "1"),
    ("--na", "-9"),
    ("--sheet", "Data"),
    ("--as-is",),
]
MERGE_COMPARE = [*(pair for pair in MERGE_EXPLAIN if pair[0] != "--table"), ("--key", "id")]
PERIODS = ["compare", "p.csv", "q.csv", "--prob", "p", "--periods"]
EVERY = ["compare", "p.csv", "--prob", "p", "--by", "id", "--every", "month"]

# The command, and the options that its message names.
PAIRS = [
    *((["explain", "p.csv", "--merge", *pair], ["--merge", pair[0]]) for pair in MERGE_EXPLAIN),
    *((["compare", "p.csv", "--merge", *pair], ["--merge", pair[0]]) for pair in MERGE_COMPARE),
    (["explain", "p.csv", "--prob", "p", "--json", "--markdown"], ["--json", "--markdown"]),
    (["explain", "p.csv", "--prob", "p", "--slices", "--markdown"], ["--slices", "--markdown"]),
    (["explain", "p.csv", "--prob", "p", "--table", "q.csv"], ["--table q.csv", "--by"]),
    (["explain", "p.csv", "--prob", "p", "--table", "q.csv", "--by", "id"], ["--table q.csv", "p.csv is none"]),
    (["compare", "p.csv", "--prob", "p", "--prob", "q", "--json", "--markdown"], ["--json", "--markdown"]),
    (["compare", "p.csv", "--prob", "p", "--prob", "q", "--key", "id"], ["--key id", "p.csv is one"]),
    ([*PERIODS, "--every", "month", "--by", "id"], ["--periods", "--every"]),
    ([*PERIODS, "--markdown"], ["--periods", "--markdown"]),
    ([*PERIODS, "--key", "id"], ["--periods", "--key"]),
    ([*PERIODS, "--merge"], ["--periods", "--merge"]),
    ([*PERIODS, "--save", "made"], ["--periods", "--save"]),
    ([*EVERY, "--markdown"], ["--every", "--markdown"]),
    ([*EVERY, "--save", "made"], ["--every", "--save"]),
    (["check", "p.csv", "--prob", "p", "--json", "--sarif"], ["--json", "--sarif"]),
    (["check", "p.csv", "--train", "p", "--target", "q"], ["--train", "--target"]),
    (["check", "run", "--prob", "p"], ["run folder run", "--prob"]),
    (["check", "run", "--train", "p", "--delimiter", ";"], ["run folder run", "--train", "--delimiter"]),
    (["check", "run", "--as-is", "--na", "-9"], ["run folder run", "--as-is", "--na"]),
    (["compare", "run", "other", "--prob", "p"], ["run folders", "--prob"]),
    (["predict", "run", "p.csv", "--overwrite"], ["--overwrite", "--out"]),
]


@pytest.fixture
def in_folder(command):
    """Run a command where two tables and two run folders are."""
    for name in ("p.csv", "q.csv"):
        Path(name).write_text(ROWS)
    for name in ("run", "other"):
        Path(name).mkdir()
        Path(name, "predictions.parquet").write_bytes(b"")
    return command


@pytest.mark.parametrize(("arguments", "named"), PAIRS, ids=lambda value: " ".join(value))
def test_options_without_a_meaning_together_are_refused_by_name(in_folder, arguments, named):
    before = sorted(Path().rglob("*"))
    result = in_folder(*arguments)
    assert result.exit_code == 2, result.output
    message = " ".join(result.stderr.replace("│", " ").split())
    for name in named:
        assert name in message
    assert sorted(Path().rglob("*")) == before


def test_periods_are_not_printed_once_per_process(in_folder, monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    result = in_folder(*PERIODS)
    assert result.exit_code == 2, result.output
    assert "without torchrun" in " ".join(result.stderr.replace("│", " ").split())


def test_files_that_were_saved_are_merged_and_saved_in_any_form(in_folder):
    assert in_folder("explain", "p.csv", "--prob", "p", "--save", "x").exit_code == 0
    for form in ("--json", "--markdown"):
        result = in_folder("explain", "x", "--merge", form, "--top", 3, "--threshold", 0.5, "--save", "y")
        assert result.exit_code == 0, result.output
