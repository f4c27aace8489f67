"""Bad tables, bad options, full disks, Ctrl-C: one clear message, a documented exit code, nothing half-written."""

from __future__ import annotations

import signal
import textwrap
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked

ROWS = "\n".join(f"{i % 7},{i % 5},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(40)) + "\n"
GOOD = "a,b,colour,y\n" + ROWS


def lines(text: str, **replaced: str) -> str:
    """The good table with some data rows replaced: lines(GOOD, row3='...')."""
    parts = text.splitlines()
    for name, row in replaced.items():
        parts[int(name.removeprefix("row"))] = row
    return "\n".join(parts) + "\n"


TABLES = {
    # what is wrong: (content, expected message)
    "empty": ("", r"t.csv is empty; expected a header line and rows"),
    "header only": ("a,b,colour,y\n", r"t.csv has a header and no rows"),
    "no such column": (
        GOOD.replace("y\n", "z\n", 1),
        r"no column 'y' \(--target\); the columns are 'a', 'b', 'colour', 'z'",
    ),
    "too many fields": (
        lines(GOOD, row3="1,2,red,1,9"),
        r"row 3 \(line 4\) has 5 fields, the header has 4; a field that",
    ),
    "too few fields": (lines(GOOD, row7="1,2,red"), r"row 7 \(line 8\) has 3 fields, the header has 4"),
    "three values": (lines(GOOD, row5="1,2,red,2"), r"row 5 of the target column 'y' is '2', a third value"),
    "one value": ("a,y\n" + "1,0\n" * 20, r"'y' holds one value only, '0'"),
    "a missing target": (lines(GOOD, row4="1,2,red,"), r"row 4 of the target column 'y' is missing"),
    "text in numbers": (
        lines(GOOD, row6="1,abc,red,1"),
        r"row 6 of column 'b' is 'abc', but 97.5% of the column are numbers",
    ),
    "infinity": (lines(GOOD, row2="inf,1,red,1"), r"row 2 of column 'a' is inf; infinite values cannot be scaled"),
    "duplicate names": (GOOD.replace("b,", "a,", 1), r"columns 1 and 2 are both named 'a'; rename one"),
    "a nameless column": (GOOD.replace("b,", ",", 1), r"column 2 has no name in the header"),
    "only unusable columns": (
        "same,empty,y\n" + "7,,0\n7,,1\n" * 10,
        r"no column to learn from besides 'y': 'same' is constant, 'empty' is empty",
    ),
    "too few of a class": ("a,y\n" + "1,0\n2,0\n" * 10 + "3,1\n", r"only 1 of 21 rows is of the positive class"),
    "an unclosed quote": (
        lines(GOOD, row9='1,2,"red,1'),
        r"row 9 \(line 10\): field 3 begins with a double quote that is never",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_is_refused_with_file_column_row_and_value(command, case):
    content, message = TABLES[case]
    Path("t.csv").write_text(content)
    refuse(command("train", "t.csv", "--target", "y"), 3, message)


def refuse(result, code: int, message: str) -> None:
    import re

    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    said = result.stderr.strip()
    assert re.search(message, said), said
    assert said.startswith("torchbce: ")
    assert len(said.splitlines()) == 1
    assert not Path("runs").exists()


def test_the_good_table_is_accepted(command):
    Path("t.csv").write_text(GOOD)
    assert command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees").exit_code == 0


@pytest.mark.parametrize(
    "content", [GOOD.replace(",", ";"), GOOD.replace(",", "\t"), "\ufeff" + GOOD, GOOD.replace("\n", "\r\n")]
)
def test_other_delimiters_byte_order_marks_and_line_ends_are_accepted(command, content):
    Path("t.csv").write_text(content, encoding="utf-8", newline="")
    result = command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees")
    assert result.exit_code == 0, result.output
    assert "2 numeric and 1 categorical columns" in result.output


def test_blank_lines_and_spaces_around_names_are_forgiven(command):
    Path("t.csv").write_text(GOOD.replace("a,b,colour,y", "a, b ,colour,y ").replace("\n", "\n\n") + "\n\n")
    result = command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees")
    assert result.exit_code == 0, result.output
    assert "40 rows, 2 numeric" in result.output


def test_numbers_of_any_size_are_scaled(command):
    rows = [f"{(i % 7) * 10.0**300},{(i % 5) * 1e-300},{i % 2}" for i in range(40)]
    Path("t.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    result = command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees")
    assert result.exit_code == 0, result.output


def test_gaps_of_every_spelling_are_missing_values(command):
    rows = [
        f"{gap},{i % 3},{'red' if i % 3 else gap},{i % 2}"
        for i, gap in enumerate(["", "NA", "NaN", "nan", "null", "?"] * 5)
    ]
    Path("t.csv").write_text("a,b,colour,y\n" + "\n".join(rows).replace("NA,0", "4,0") + "\n")
    result = command("train", "t.csv", "--target", "y", "--epochs", "1", "--no-trees")
    assert result.exit_code == 0, result.output


def test_nan_in_a_parquet_file_is_a_missing_value(command):
    a = np.where(np.arange(40) % 4 == 0, np.nan, np.arange(40.0))
    pl.DataFrame({"a": a, "y": np.arange(40) % 2}).write_parquet("t.parquet")
    assert command("train", "t.parquet", "--target", "y", "--epochs", "1", "--no-trees").exit_code == 0


def test_a_file_that_is_not_there_names_its_neighbours(command):
    Path("table.csv").write_text(GOOD)
    refuse(command("train", "tabel.csv", "--target", "y"), 3, r"tabel.csv: no such file; did you mean table.csv\?")
    refuse(command("train", "no/table.csv", "--target", "y"), 3, "the folder no does not exist either")
    Path("folder").mkdir()
    refuse(command("train", "folder", "--target", "y"), 3, "folder is a folder without tables; tables are")


def test_a_file_that_is_not_utf8_names_line_and_byte(command):
    Path("t.csv").write_bytes(lines(GOOD, row12="1,2,GREY,1").replace("GREY", "gr\xfcn").encode("latin-1"))
    refuse(
        command("train", "t.csv", "--target", "y"),
        3,
        "t.csv is not UTF-8: line 13 holds the byte 0xfc; pass its encoding",
    )
    Path("t.csv").write_bytes("a,gr\xfcn,y\n1,2,0\n".encode("latin-1"))
    refuse(command("train", "t.csv", "--target", "y"), 3, "line 1 holds the byte 0xfc")
    Path("t.csv").write_bytes(GOOD.encode("utf-16"))
    refuse(command("train", "t.csv", "--target", "y"), 3, "--encoding utf-16")
    Path("t.csv").write_bytes(GOOD.replace("\n", "\r").encode())
    refuse(command("train", "t.csv", "--target", "y"), 3, "its lines end with a bare carriage return")
    Path("t.csv").write_bytes(b"\x00\x01\x02\x03" * 9)
    refuse(command("train", "t.csv", "--target", "y"), 3, "its first line holds a zero byte")


def test_a_truncated_parquet_file_is_called_so(command):
    pl.DataFrame({"a": range(100), "y": [0, 1] * 50}).write_parquet("t.parquet")
    whole = Path("t.parquet").read_bytes()
    Path("t.parquet").write_bytes(whole[: len(whole) // 2])
    refuse(command("train", "t.parquet", "--target", "y"), 3, "t.parquet is a damaged or truncated Parquet file")
    Path("t.parquet").write_text(GOOD)
    refuse(command("train", "t.parquet", "--target", "y"), 3, "it does not begin with the bytes PAR1")


def test_a_positive_value_that_is_not_there_is_named(command):
    Path("t.csv").write_text(GOOD)
    refuse(
        command("train", "t.csv", "--target", "y", "--positive", "yes"), 3, "'y' has no value 'yes'.*'[01]' and '[01]'"
    )
    refuse(command("train", "t.csv", "--target", "y", "--exclude", "z"), 3, r"no column 'z' \(--exclude\)")
    refuse(command("train", "t.csv", "--target", "y", "--exclude", "y"), 3, "'y' cannot be named in --exclude")


def test_text_among_numbers_may_be_taken_as_categories(command):
    Path("t.csv").write_text(lines(GOOD, row6="1,abc,red,1"))
    assert (
        command("train", "t.csv", "--target", "y", "--categorical", "b", "--epochs", "1", "--no-trees").exit_code == 0
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["--hidden", "8,x"],
        ["--hidden", "-1"],
        ["--lr", "-0.1"],
        ["--lr", "nan"],
        ["--epochs", "0", "--no-trees"],
        ["--batch-size", "many"],
        ["--optimizer", "lbfgs"],
        ["--nonsense"],
    ],
)
def test_options_with_wrong_values_are_usage_errors(command, flags):
    Path("t.csv").write_text(GOOD)
    result = command("train", "t.csv", "--target", "y", *flags)
    assert result.exit_code == 2
    assert (
        flags[0].lstrip("-") in result.stderr.lower()
        or "layer sizes" in result.stderr
        or "learning rate" in result.stderr
    )
    assert not Path("runs").exists()


def test_a_learning_rate_that_explodes_is_reported(command):
    Path("t.csv").write_text(GOOD)
    result = command("train", "t.csv", "--target", "y", "--optimizer", "sgd", "--lr", "1e30")
    assert result.exit_code == 3
    assert "the loss of epoch" in result.stderr
    assert not Path("runs").exists()


# New rows


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("age", ["40", "old", "41"], "row 2 of column 'age' is 'old'; the model takes this column as numbers"),
        ("age", ["40", "41", "inf"], "row 3 of column 'age' is inf"),
        (
            "bought",
            ["yes", "maybe", "no"],
            "row 2 of the target column 'bought' is 'maybe'; the model knows 'no' and 'yes'",
        ),
    ],
)
def test_bad_new_rows_are_named(trained, mixed_table, command, column, values, message):
    mixed_table.head(3).with_columns(pl.Series(column, values)).write_csv("new.csv")
    refuse(command("predict", trained, "new.csv", "--out", "p.csv"), 3, message)
    assert [path.name for path in Path().iterdir()] == ["new.csv"]


@pytest.mark.parametrize(
    ("content", "flags", "code", "message"),
    [
        (
            "p,y\n0.5,1\n1.5,0\n",
            ["--prob", "p"],
            3,
            "row 2 of column 'p' is 1.5; expected a number from 0 to 1; logits go",
        ),
        ("p,y\n0.5,1\nhigh,0\n", ["--prob", "p"], 3, "row 2 of column 'p' is 'high'; expected a number"),
        ("p,y\n0.5,1\n,0\n", ["--prob", "p"], 3, "row 2 of column 'p' is missing"),
        ("p,y\n0.5,1\n0.5,2\n", ["--prob", "p"], 3, "row 2 of column 'y' is 2; expected a number from 0 to 1"),
        ("p,y\n0.5,1\n", ["--prob", "q"], 3, "no column 'q'"),
        ("p,y\n0.5,1\n", ["--prob", "p", "--only", "y=3"], 3, "no row has y = '3'; its values are '1'"),
    ],
)
def test_bad_predictions_are_named(command, content, flags, code, message):
    Path("p.csv").write_text(content)
    refuse(command("explain", "p.csv", "--target", "y", *flags), code, message)


@pytest.mark.parametrize("flags", [[], ["--prob", "p", "--logit", "p"], ["--prob", "p", "--only", "y"]])
def test_explain_never_guesses(command, flags):
    Path("p.csv").write_text("p,y\n0.5,1\n")
    assert command("explain", "p.csv", "--target", "y", *flags).exit_code == 2


def test_a_folder_that_is_no_run_is_not_explained(command):
    Path("folder").mkdir()
    refuse(command("explain", "folder"), 5, "folder has no predictions.parquet")


# The machine


def test_ctrl_c_in_mid_epoch_leaves_what_is_done(tmp_path):
    rng = np.random.default_rng(0)
    table = pl.DataFrame({f"x{i}": rng.normal(size=6000) for i in range(10)} | {"y": rng.integers(0, 2, 6000)})
    table.write_parquet(tmp_path / "t.parquet")
    options = ("--epochs", 5000, "--patience", 5000, "--test-share", 0.2, "--no-trees")
    process = forked.start(forked.COMMAND, "train", "t.parquet", "--target", "y", *options, folder=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch   1"):
            break
    assert list((tmp_path / "runs").iterdir())  # the draft, while it runs
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip() == (
        "torchbce: interrupted; runs/t.unfinished has what is done; the same command goes on with it"
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["t.unfinished"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path):
    # A limit on the size of files stands in for the disk: what exceeds it fails to be written in the same way.
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{i % 97},{i % 89},{i % 2}\n" for i in range(4000)))
    limit = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    """
    code = f"{textwrap.dedent(limit)}\n{forked.COMMAND}"
    run = forked.run(code, "train", "t.csv", "--target", "y", "--epochs", 1, "--no-trees", folder=tmp_path)
    assert run.returncode == 4, run.stderr
    assert "runs/t cannot be written" in run.stderr
    assert "nothing was kept" in run.stderr
    assert not (tmp_path / "runs").exists()


def test_a_place_that_cannot_be_written_is_named_before_training(command):
    Path("t.csv").write_text(GOOD)
    Path("file").write_text("")
    result = command("train", "t.csv", "--target", "y", "--out", "file/run")
    assert result.exit_code == 4
    assert "file/run cannot be written" in result.stderr
    assert "epoch  " not in result.stdout


def test_predictions_that_cannot_be_written_are_reported(trained, mixed, command):
    result = command("predict", trained, mixed, "--out", "nowhere/p.csv")
    assert result.exit_code == 4
    assert "nowhere/p.csv cannot be written" in result.stderr


def test_a_reader_that_leaves_early_ends_it_quietly(trained, mixed, tmp_path):
    process = forked.start(forked.COMMAND, "predict", trained, mixed, folder=tmp_path)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in errors
