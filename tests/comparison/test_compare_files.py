"""`torchbce compare`: files joined by row and by key, columns of one file, shards, processes, periods."""

from __future__ import annotations

import datetime
import html
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked
import torchbce

FLAGS = ("--target", "y", "--logit", "z")


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    true = rng.normal(-1, 1.5, 3000)
    table = pl.DataFrame(
        {
            "id": [f"i{k}" for k in range(3000)],
            "y": (rng.random(3000) < 1 / (1 + np.exp(-true))).astype(np.uint8),
            "a": true + rng.normal(0, 0.7, 3000),
            "b": 1.3 * true,
            "p": 1 / (1 + np.exp(-0.5 * true)),
            "g": rng.choice(["u", "v"], 3000),
        }
    )
    table.write_csv("all.csv")
    table.select("id", "y", "g", z="a").write_csv("a.csv")
    table.select("id", "y", z="b").write_parquet("b.parquet")
    return table


def numbers(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *words):
    assert result.exit_code in (2, 3), result.output
    for word in words:
        assert word in result.output, result.output


def test_files_and_columns_say_what_the_function_says(command, tables):
    expected = torchbce.compare(tables["a"], tables["b"], tables["y"], from_logits=True, groups=tables["g"])
    by_files = numbers(command("compare", "a.csv", "b.parquet", *FLAGS, "--by", "g", "--json"))
    by_columns = numbers(
        command("compare", "all.csv", "--target", "y", "--logit", "a", "--logit", "b", "--by", "g", "--json")
    )
    for found in (by_files, by_columns):
        assert found["difference"] == pytest.approx(expected.difference, rel=1e-9)
        assert found["p_value"] == pytest.approx(expected.p_value, rel=1e-9)
        assert found["interval"] == pytest.approx(list(expected.interval), rel=1e-9)
        assert [group["name"] for group in found["groups"]] == [group.name for group in expected.groups]
    assert by_files["names"] == by_columns["names"] == ["a", "b"]


def test_a_key_joins_files_in_any_order(command, tables):
    pl.read_parquet("b.parquet").sample(fraction=1, shuffle=True, seed=1).write_csv("shuffled.csv")
    straight = numbers(command("compare", "a.csv", "b.parquet", *FLAGS, "--json"))
    joined = numbers(command("compare", "a.csv", "shuffled.csv", *FLAGS, "--key", "id", "--json"))
    for name in ("difference", "p_value", "count"):
        assert joined[name] == pytest.approx(straight[name], rel=1e-9)
    assert joined["gained"][0]["row"] == straight["gained"][0]["row"]


def test_items_are_named_by_their_key_and_not_by_their_row(command, tables, tmp_path):
    """In text, Markdown, JSON and the page; merged parts keep it."""
    shuffled = tables.sample(fraction=1, shuffle=True, seed=2)
    shuffled.select("id", "y", z="a").write_csv("a.csv")
    change = np.logaddexp(0, (1 - 2 * tables["y"].cast(pl.Int8)) * tables["b"])
    change -= np.logaddexp(0, (1 - 2 * tables["y"].cast(pl.Int8)) * tables["a"])
    gained, lost = (tables["id"][int(place)] for place in (change.arg_min(), change.arg_max()))
    row = shuffled["id"].to_list().index(gained) + 1
    asked = ("compare", "a.csv", "b.parquet", *FLAGS, "--key", "id")
    text = command(*asked, "--html", "page.html", "--save", "one.pairs").output
    assert f"gained most id {gained}: target" in text
    assert f"lost most   id {lost}: target" in text
    assert "row" not in text
    assert f"| gained most | id {gained}: target" in command(*asked, "--markdown").output
    page = Path("page.html").read_text()
    assert '<th scope="col" class="number">id</th>' in page
    assert f"{gained}</td>" in page
    found = numbers(command(*asked, "--json"))
    assert (found["key"], found["gained"][0]["key"], found["gained"][0]["row"]) == ("id", gained, row)
    assert all(item["key"] == shuffled["id"][item["row"] - 1] for item in found["gained"] + found["lost"])
    assert numbers(command("compare", "--merge", "one.pairs", "--json"))["gained"] == found["gained"]
    assert f"gained most row {row}: target" not in text
    plain = numbers(command("compare", "all.csv", "--target", "y", "--logit", "a", "--logit", "b", "--json"))
    assert (plain["key"], plain["gained"][0]["key"]) == (None, None)


def test_parts_that_name_their_items_by_other_columns_are_not_merged(command, tables):
    tables.select("id", "y", z="a").with_columns(n=pl.int_range(3000)).write_csv("a.csv")
    tables.select("id", "y", z="b").with_columns(n=pl.int_range(3000)).write_csv("b.csv")
    for key in ("id", "n"):
        command("compare", "a.csv", "b.csv", *FLAGS, "--key", key, "--save", f"{key}.pairs")
    refused(command("compare", "--merge", "id.pairs", "n.pairs"), "by 'id' and the other by 'n'", "same --key")


def test_a_second_file_may_leave_out_the_targets(command, tables):
    pl.read_parquet("b.parquet").drop("y").write_csv("bare.csv")
    found = numbers(command("compare", "a.csv", "bare.csv", *FLAGS, "--json"))
    assert found["difference"] == numbers(command("compare", "a.csv", "b.parquet", *FLAGS, "--json"))["difference"]


def test_probabilities_and_logits_of_one_file(command, tables):
    found = numbers(command("compare", "all.csv", "--target", "y", "--prob", "p", "--logit", "a", "--json"))
    expected = torchbce.compare(tables["p"], tables["a"], tables["y"], from_logits=(False, True))
    assert found["difference"] == pytest.approx(expected.difference, rel=1e-9)


def test_three_columns_are_ranked(command, tables):
    found = numbers(
        command("compare", "all.csv", "--target", "y", "--prob", "p", "--logit", "a", "--logit", "b", "--json")
    )
    assert {model["name"] for model in found["models"]} == {"p", "a", "b"}
    assert (
        "model" in command("compare", "all.csv", "--target", "y", "--logit", "a", "--logit", "b", "--prob", "p").output
    )


def test_parts_merge_to_the_whole(command, tables):
    for part, rows in (("first", slice(0, 1000)), ("second", slice(1000, 2000))):
        tables[rows].select("y", "g", z="a").write_parquet(f"{part}_a.parquet")
        tables[rows].select("y", z="b").write_parquet(f"{part}_b.parquet")
        command("compare", f"{part}_a.parquet", f"{part}_b.parquet", *FLAGS, "--by", "g", "--save", f"{part}.pairs")
    merged = numbers(command("compare", "--merge", "first.pairs", "second.pairs", "--json"))
    shards = numbers(command("compare", "*_a.parquet", "*_b.parquet", *FLAGS, "--by", "g", "--json"))
    for found in (merged, shards):
        whole = torchbce.compare(tables["a"][:2000], tables["b"][:2000], tables["y"][:2000], from_logits=True)
        assert found["count"] == 2000
        assert found["difference"] == pytest.approx(whole.difference, rel=1e-9)
        assert found["p_value"] == pytest.approx(whole.p_value, rel=1e-9)
    assert merged["gained"] == shards["gained"]
    assert merged["names"] == ["first_a", "first_b"]


def test_a_damaged_save_is_refused(command, tables):
    command("compare", "a.csv", "b.parquet", *FLAGS, "--save", "x.pairs")
    content = bytearray(Path("x.pairs").read_bytes())
    content[200] ^= 1
    Path("x.pairs").write_bytes(bytes(content))
    refused(command("compare", "--merge", "x.pairs"), "x.pairs", "damaged")
    refused(command("compare", "--merge", "a.csv"), "not what compare --save")


@pytest.mark.slow
def test_processes_share_the_rows(command, tables):
    tables.select("y", "g", z="a").write_parquet("a.parquet")
    alone = numbers(command("compare", "a.parquet", "b.parquet", *FLAGS, "--by", "g", "--json"))
    runs = forked.ranks(2, forked.COMMAND, "compare", "a.parquet", "b.parquet", *FLAGS, "--by", "g", "--json")
    assert [run.returncode for run in runs] == [0, 0], runs
    found = json.loads("".join(run.stdout for run in runs))
    for name in ("difference", "p_value", "count", "better"):
        assert found[name] == pytest.approx(alone[name], rel=1e-9), name
    assert found["gained"] == alone["gained"]


def test_what_does_not_fit_is_named(command, tables):
    short = pl.read_parquet("b.parquet")[:2999]
    short.write_csv("short.csv")
    refused(command("compare", "a.csv", "short.csv", *FLAGS), "short.csv has 2,999 rows and a.csv more", "--key")
    refused(command("compare", "a.csv", "short.csv", *FLAGS, "--key", "id"), "short.csv has no row with id = 'i2999'")
    refused(command("compare", "short.csv", "a.csv", *FLAGS, "--key", "id"), "short.csv has no row with id = 'i2999'")
    pl.concat([short, short[:1]]).write_csv("twice.csv")
    refused(command("compare", "a.csv", "twice.csv", *FLAGS, "--key", "id"), "id = 'i0' stands in rows 1 and 3000")
    other = pl.read_parquet("b.parquet").with_columns(y=1 - pl.col("y").cast(pl.Int8))
    other.write_csv("other.csv")
    answer = tables["y"][0]
    refused(
        command("compare", "a.csv", "other.csv", *FLAGS),
        f"row 1 of a.csv has {answer} and row 1 of other.csv {1 - answer} (3,000 such rows)",
    )
    refused(command("compare", "a.csv", "b.parquet", "--target", "y", "--logit", "q"), "q", "a.csv")
    refused(command("compare", "a.csv", *FLAGS), "one file takes two models or more")
    refused(command("compare", "a.csv", "b.parquet", "--target", "y"), "--prob COL")


def test_one_class_and_nan_are_said(command, tables):
    pl.DataFrame({"y": [0] * 50, "a": [0.1] * 50, "b": [0.2] * 50}).write_csv("zeros.csv")
    found = numbers(command("compare", "zeros.csv", "--target", "y", "--prob", "a", "--prob", "b", "--json"))
    assert found["p_value"] is None
    assert "0 items of the rarer class" in found["verdict"]
    pl.DataFrame({"y": [0, 1], "a": [0.1, float("nan")], "b": [0.2, 0.3]}).write_csv("nan.csv")
    refused(command("compare", "nan.csv", "--target", "y", "--prob", "a", "--prob", "b"), "row 2 of column 'a' is NaN")


def test_two_runs_are_joined_by_their_rows(command, tables, tmp_path):
    tables.select("a", "b", "g", "y").head(400).write_csv("table.csv")
    for name, seed in (("one", "0"), ("two", "1")):
        result = command(
            "train", "table.csv", "--target", "y", "--folds", "2", "--members", "1", "--no-trees", "--seed", seed,
            "--epochs", "3", "--out", name,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    found = numbers(command("compare", "one", "two", "--json"))
    assert found["count"] == 400
    assert found["names"] == ["one", "two"]


# Periods


def test_what_changed_between_two_files(command, tables):
    tables[:1500].select("y", "g", z="a").write_csv("last.csv")
    tables[1500:].select("y", "g", z=pl.col("a") + 1.0).write_csv("this.csv")
    found = numbers(command("compare", "last.csv", "this.csv", "--periods", *FLAGS, "--by", "g", "--json"))
    assert sum(found[name]["nats"] for name in ("base_rate", "separation", "calibration")) == pytest.approx(
        found["total"]["nats"]
    )
    assert sum(found[name]["nats"] for name in ("mix", "within")) == pytest.approx(found["total"]["nats"])
    assert "calibration" in found["verdict"]
    assert "separation" not in found["verdict"]


@pytest.mark.parametrize(
    ("every", "first", "count"), [("month", "2026-01", 4), ("week", "2026-W01", 15), ("year", "2026", 1)]
)
def test_one_model_over_time(command, tables, every, first, count):
    days = np.sort(np.random.default_rng(0).integers(0, 100, 3000))
    dates = [str(datetime.date(2026, 1, 1) + datetime.timedelta(days=int(day))) for day in days]
    tables.select("y", z="a").with_columns(date=pl.Series(dates)).write_csv("dated.csv")
    result = command("compare", "dated.csv", *FLAGS, "--by", "date", "--every", every, "--json")
    if count == 1:
        return refused(result, "there is 1 period; a change takes two")
    found = numbers(result)
    assert [len(found["periods"]), found["periods"][0]["name"]] == [count, first]
    assert sum(period["count"] for period in found["periods"]) == 3000
    return None


def test_pages_are_written_whole_and_say_the_verdict(command, tables):
    tables.select("y", z="a").with_columns(date=pl.Series(["2026-01-05", "2026-02-05"] * 1500)).write_csv("dated.csv")
    for asked in (
        ("a.csv", "b.parquet", *FLAGS, "--by", "g"),
        ("a.csv", "b.parquet", *FLAGS, "--periods"),
        ("dated.csv", *FLAGS, "--by", "date", "--every", "month"),
    ):
        result = command("compare", *asked, "--html", "page.html")
        assert result.exit_code == 0, result.output
        page = Path("page.html").read_text()
        assert html.escape(result.output.splitlines()[0], quote=False) in page.replace("&#39;", "'")
        assert "#000000" not in page[page.index("</style>") :]  # pictures take the page's colours
    refused(command("compare", "a.csv", "b.parquet", *FLAGS, "--html", "a.csv"), "--html a.csv is one of the files")
    before = Path("a.csv").read_bytes()
    for asked in (("a.csv", "b.parquet", "--periods"), ("dated.csv", "--by", "date", "--every", "month")):
        refused(command("compare", *asked, *FLAGS, "--html", asked[0]), f"--html {asked[0]} is one of the files")
    assert Path("a.csv").read_bytes() == before


def test_periods_need_dates_and_two_files(command, tables):
    refused(command("compare", "a.csv", *FLAGS, "--by", "g", "--every", "month"), "column 'g'", "which is no date")
    refused(command("compare", "a.csv", *FLAGS, "--every", "month"), "needs --by COL, a column of dates")
    refused(command("compare", "a.csv", *FLAGS, "--periods"), "--periods takes two files")
    refused(command("compare", "a.csv", *FLAGS, "--by", "g", "--every", "hour"), "--every is 'hour'")


def test_files_that_both_are_sorted_by_their_target_are_not_paired_by_row(command, tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    frame = pl.DataFrame({"customer": [f"c{i}" for i in range(n)], "bought": (rng.random(n) < 0.3).astype(int)})
    frame = frame.with_columns(probability=pl.Series(rng.uniform(0.05, 0.95, n)))
    frame.sort("bought", maintain_order=True).write_csv("a.csv")
    frame.reverse().sort("bought", maintain_order=True).write_csv("b.csv")
    flags = ("--target", "bought", "--prob", "probability")
    given = ("compare", "a.csv", "b.csv", *flags)
    refused = command(*given)
    assert refused.exit_code == 3, refused.output
    assert "'customer' in another order" in refused.stderr
    assert "--key customer" in refused.stderr
    assert command(*given, "--key", "customer").exit_code == 0
    frame.sort("bought", maintain_order=True).with_columns(probability=0.5).write_csv("c.csv")
    assert command("compare", "a.csv", "c.csv", *flags).exit_code == 0


@pytest.mark.parametrize("more", ["id", "rank", "loss", "few values", "id and rank"])
def test_columns_that_do_not_show_another_order_refuse_nothing(more, command, tables):
    for name, p in (("one", tables["p"]), ("two", (1 / (1 + np.exp(-tables["a"]))).alias("p"))):
        y = tables["y"]
        columns = {
            "id": [tables["id"]],
            "rank": [p.rank("ordinal").alias("rank")],
            "loss": [(-(y * p.log() + (1 - y.cast(pl.Int8)) * (1 - p).log())).alias("loss")],
            "few values": [pl.Series("fold", np.random.default_rng(len(name + more)).permutation(3000) % 5)],
            "id and rank": [p.rank("ordinal").alias("rank"), tables["id"]],
        }
        columns["few values"][0] = columns["few values"][0].sort(descending=name == "two")
        pl.DataFrame([y, p, *columns[more]]).write_csv(f"{name}.csv")
    result = command("compare", "one.csv", "two.csv", "--target", "y", "--prob", "p")
    assert result.exit_code == 0, result.output


def test_numbers_of_rows_do_not_hide_another_order(command, tables):
    frame = tables.select("y", "p", "id")
    count = pl.int_range(1, 3001).alias("row")
    frame.sort("y", maintain_order=True).with_columns(count).write_csv("one.csv")
    frame.reverse().sort("y", maintain_order=True).with_columns(count).write_csv("two.csv")
    refused(command("compare", "one.csv", "two.csv", "--target", "y", "--prob", "p"), "'id' in another order")
