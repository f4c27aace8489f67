"""Names and cells of a table on the way through training: every message, the card and the page; and the model first."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import torchbce
from seen import MARKDOWN, Seen, check_page, is_safe
from torchbce.cli.shared.output import LAYOUT
from torchbce.common.visible import MESSAGE, shown
from torchbce.table.run import write
from torchbce.table.run.folder import load_model

QUICK = ("--epochs", "1", "--members", "1", "--hidden", "0", "--no-trees")
ESSENTIALS = ["history.csv", "model.json", "model.safetensors", "predictions.parquet"]
COLUMNS = ["rev_$M_to_$", "<script>alert(1)</script>", "[bold]a|b`c\n# head", "\x1b[31mred\u202egpj\0"]
LEVELS = ["a$_$b^", "<b>x</b>", "p|q\n\n## more"]
YES, NO, TARGET = "yes$_$\x1b[1m", "[red]no</td>", "y|\u200b<i>$^$"


def table(rows: int = 300) -> pl.DataFrame:
    chance = np.random.default_rng(0)
    x, level = chance.normal(size=rows), chance.integers(0, len(LEVELS), rows)
    return pl.DataFrame(
        {
            COLUMNS[0]: x,
            COLUMNS[1]: np.array(LEVELS)[level],
            COLUMNS[2]: chance.normal(size=rows),
            COLUMNS[3]: 7.0,
            TARGET: np.where(x + 2 * level - 2 + chance.normal(size=rows) > 0, YES, NO),
        }
    )


def plain_table(path: str) -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=200)
    pl.DataFrame({"x": x, "y": (x + chance.normal(size=200) > 0).astype(int)}).write_csv(path)


@pytest.mark.parametrize(
    "memory", [("--folds", "2"), ("--memory", "1K", "--test-share", "0.3")], ids=["whole", "blocks"]
)
def test_every_name_comes_out_as_it_is(memory, command, pictures):
    name = "t$_$ [b]<u>\x1b[0m.parquet"
    table().write_parquet(name)
    made = command("train", name, "--target", TARGET, *QUICK, *memory, "--out", "run")
    assert made.exit_code == 0, made.output
    assert "\nsaved" in made.stdout
    assert is_safe(made.stdout + made.stderr, "\n")
    for text in (name, TARGET, YES, NO, *COLUMNS[:3]):
        assert shown(text) in made.stdout
    check_page(Path("run/report.html"), name, TARGET, *COLUMNS[:3], *LEVELS)
    card = Path("run/MODEL_CARD.md").read_text(encoding="utf-8")
    assert is_safe(card, "\n")
    rendered = Seen(MARKDOWN.render(card))
    assert {tag for tag in rendered.tags if tag[0] != "t"} <= {"h1", "h2", "p", "code", "strong", "ul", "li", "pre"}
    assert (rendered.tags.count("h1"), rendered.tags.count("h2")) == (1, 5)
    for text in (name, TARGET, YES, NO, *COLUMNS, *LEVELS):
        assert shown(text) in rendered.text
    new = table().with_columns(pl.lit("new\x1b[31m\n" + "x" * 1_000_000).alias(COLUMNS[1]), (pl.col(COLUMNS[0]) * 9))
    new.write_parquet("new.parquet")
    told = command("predict", "run", "new.parquet", "--out", "p.csv", "--threshold", "0.5")
    assert told.exit_code == 0, told.output
    assert is_safe(told.stderr, "\n")
    assert len(told.stderr) < 3 * MESSAGE
    assert f"note      {shown(COLUMNS[1])}: 300 rows with categories not seen" in told.stderr


def test_the_model_is_saved_before_anything_is_drawn(command, monkeypatch):
    plain_table("t.csv")
    seen = []

    def broken(path, *_):
        seen.append(sorted(file.name for file in Path("run").iterdir()))
        load_model(Path("run"))
        raise ValueError("mathtext \x1b[31m\nof a name")

    def refused(*_):
        raise RecursionError("of the card")

    monkeypatch.setattr(write, "write_report", broken)
    monkeypatch.setattr(write, "model_card", refused)
    made = command("train", "t.csv", "--target", "y", "--folds", "2", *QUICK, "--out", "run")
    assert made.exit_code == 0, made.output
    assert seen == [ESSENTIALS]
    assert made.stderr.splitlines() == [
        "torchbce: run/MODEL_CARD.md could not be made (RecursionError: of the card); "
        "the model is saved, and its figures are in model.json",
        "torchbce: run/report.html could not be made (ValueError: mathtext \\x1b[31m\\nof a name); "
        "the model is saved, and a page of its predictions is made by: torchbce explain run --html run/report.html",
    ]
    assert made.stdout.splitlines()[-1].split() == ["saved", "run/", *ESSENTIALS]
    assert sorted(path.name for path in Path().iterdir()) == ["run", "t.csv"]
    assert command("explain", "run", "--html", "run/report.html").exit_code == 0
    again = command("train", "t.csv", "--target", "y", "--folds", "2", *QUICK, "--out", "run", "--resume")
    assert again.exit_code == 0
    assert "nothing left to do" in again.stdout


def test_a_disk_that_is_full_at_the_pages_leaves_the_run_where_it_is(command, monkeypatch):
    plain_table("t.csv")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "write_report", full)
    made = command("train", "t.csv", "--target", "y", "--test-share", "0", *QUICK, "--out", "run")
    assert made.exit_code == 0, made.output
    assert "run/report.html could not be made (OSError: [Errno 28] No space left on device)" in made.stderr
    assert sorted(path.name for path in Path("run").iterdir()) == ["MODEL_CARD.md", *ESSENTIALS]
    load_model(Path("run"))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux")
def test_a_file_whose_name_is_no_text_can_be_learnt_from(command):
    plain_table("t.csv")
    name = os.fsdecode(b"a\xff\x1b[31m\n.csv")
    Path("t.csv").rename(name)
    made = command("train", name, "--target", "y", "--test-share", "0", *QUICK)
    assert made.exit_code == 0, made.output
    (run,) = Path("runs").iterdir()
    assert run.name == "a_udcff_x1b[31m_n"
    assert torchbce.load(run).predict_proba(pd.DataFrame({"x": [0.0]})).shape == (1, 2)
    bad = os.fsdecode(b"run\xff")
    refused = command("train", name, "--target", "y", "--test-share", "0", *QUICK, "--out", bad)
    assert refused.exit_code == 4
    assert refused.stderr == "torchbce: run\\udcff is no name in UTF-8, which a run folder needs; name another\n"
    run.rename(bad)
    assert command("predict", bad, name).exit_code == 5
    assert command("explain", bad).exit_code == 5


def test_a_cell_of_a_million_characters_is_not_printed_whole(command):
    long = "\x1b[31m" + "x" * 1_000_000
    pl.DataFrame({"x": [*map(str, range(99)), long], "y": [0, 1] * 50}).write_csv("t.csv")
    pl.DataFrame({"x": range(100), "y": [long, "a", "b", "c"] * 25}).write_csv("u.csv")
    for name in ("t.csv", "u.csv"):
        refused = command("train", name, "--target", "y")
        assert refused.exit_code == 3
        assert is_safe(refused.stderr, "\n")
        assert refused.stderr.count("\n") == 1
        assert len(refused.stderr) < MESSAGE + 600
        assert f"{name}: " in refused.stderr
        assert " characters) …" in refused.stderr
    assert (
        "or take the whole column as categories with --categorical x"
        in command("train", "t.csv", "--target", "y").stderr
    )


def test_what_a_message_says_to_type_is_quoted(command):
    name = "x; reboot $(reboot)"
    pl.DataFrame({name: [*map(str, range(99)), "z"], "y": [0, 1] * 50}).write_csv("t.csv")
    assert f"--categorical '{name}'" in command("train", "t.csv", "--target", "y").stderr


def test_usage_errors_obey_no_file_name(command):
    name = "\x1b[31m[bold]a\u202eb.csv"
    for arguments in (["labels", "t.csv", name], ["predict", "a", "b", f"--{name}"], ["train", name, "--target", "y"]):
        said = command(*arguments)
        assert said.exit_code in (2, 3)
        assert is_safe(said.stderr, LAYOUT)
        assert "\\x1b[31m[bold]a\\u202eb" in said.stderr


def test_warnings_of_the_classifier_are_safe():
    chance = np.random.default_rng(0)
    frame = pd.DataFrame({"c\x1b[31m\n": chance.choice(["a", "b"], 60), "x": chance.normal(size=60)})
    model = torchbce.BCEClassifier(epochs=1, hidden=(), random_state=0).fit(frame, np.arange(60) % 2)
    frame.iloc[0, 0] = "new\u202e" + "x" * 100_000
    with pytest.warns(UserWarning, match="not seen in training") as told:
        model.predict(frame)
    assert is_safe(str(told[0].message))
    assert len(str(told[0].message)) < MESSAGE
