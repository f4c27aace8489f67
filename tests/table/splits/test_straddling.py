"""With groups and times no group is on both sides of a split and none of it goes back in time: in memory, in blocks."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchbce import InputError
from torchbce.io.files import FileRows
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.memory_table import prepare
from torchbce.table.packed.prepare import prepare_stream
from torchbce.table.splits.group_spans import GroupSpans
from torchbce.table.splits.holdout import Holdout
from torchbce.table.splits.splits import by_time, folds, last_or_random, member_splits
from torchbce.table.train_args import TrainArgs

ROLES = ColumnRoles("y", group="g", time="t", exclude=["row"])


@st.composite
def tables(draw) -> pl.DataFrame:
    """Groups that last for a moment, for some time or always, alone too; times with and without ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, groups = draw(st.integers(60, 300)), draw(st.integers(2, 60))
    lasting = draw(st.sampled_from([0.0, 0.05, 0.3, 1.0]))
    group = rng.integers(0, groups, rows)
    start = rng.random(groups)[group] * (1 - lasting)
    times = np.floor((start + lasting * rng.random(rows)) * draw(st.sampled_from([12, 1000])))
    alone = pl.Series(rng.random(rows) < draw(st.sampled_from([0.0, 0.2])))
    return pl.DataFrame(
        {
            "x": rng.normal(size=rows),
            "g": pl.Series([f"g{g}" for g in group]).set(alone, None),
            "t": times,
            "row": np.arange(rows),
            "y": rng.permutation(np.arange(rows) % 2),
        }
    )


def examples_of(table: pl.DataFrame) -> Dataset:
    names = table["g"].fill_null(pl.Series([f"alone {i}" for i in range(table.height)]))
    return Dataset(
        frame=table,
        name=FileRows("t"),
        kinds={"x": "numeric"},
        y=table["y"].to_numpy().astype(np.uint8),
        groups=np.unique(names.to_numpy(), return_inverse=True)[1],
        times=table["t"].to_numpy(),
    )


def assert_apart(groups: np.ndarray, times: np.ndarray, *parts: np.ndarray) -> None:
    """The parts are in the order of their times, and share no group."""
    for i, earlier in enumerate(parts):
        for later in parts[i + 1 :]:
            assert times[earlier].max() < times[later].min()
            assert not np.intersect1d(groups[earlier], groups[later]).size


@settings(max_examples=200)
@given(tables(), st.integers(2, 6), st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.integers(0, 5))
def test_every_splitter_goes_forward_in_time_with_no_group_on_both_sides(table, count, share, seed):
    some = examples_of(table)
    for splits in (
        lambda: folds(some, count, seed),
        lambda: [last_or_random(some, share, seed)],
        lambda: member_splits(some, count, 3, seed),
    ):
        try:
            found = splits()
        except InputError:  # one class, or nothing, on a side
            continue
        for train, aside in found:
            assert_apart(some.groups, some.times, train, aside)


@settings(max_examples=100)
@given(tables(), st.integers(2, 6), st.integers(0, 5))
def test_only_rows_of_groups_on_both_sides_are_left_out(table, count, seed):
    some = examples_of(table)
    try:
        found = folds(some, count, seed)
    except InputError:
        return
    whole = {int(some.times[aside].min()): split for split in by_time(some, count) for aside in split[1:] if len(aside)}
    for train, aside in found:
        start = max(border for border in whole if border <= some.times[aside].min())
        straddling = np.intersect1d(*(some.groups[rows] for rows in whole[start]))
        for kept, all_rows in zip((train, aside), whole[start], strict=True):
            assert set(kept) <= set(all_rows)
            assert set(some.groups[np.setdiff1d(all_rows, kept)]) <= set(straddling)
        used = np.concatenate([some.groups[train], some.groups[aside]])
        assert set(straddling) <= set(used)  # each counts on one side


def streamed(file: Path, roles: ColumnRoles, held: Holdout, seed: int = 0):
    place = file.with_suffix(".cache")
    return prepare_stream([str(file)], roles, held, seed=seed, pieces=0, format=None, folder=place, on_rows=None)


def numbers_of(part) -> np.ndarray:
    """Of the rows of a part in its table, from 0."""
    return np.concatenate([window.numbers.copy() for window in part.in_order()]) - 1


def parts_in_blocks(table: pl.DataFrame, held: Holdout, seed: int) -> tuple[list[np.ndarray], list[str]] | None:
    """The rows of each part, and what is said of the others; None where the table cannot be split."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        table.write_parquet(path)
        try:
            stream = streamed(path, ROLES, held, seed)
        except InputError:  # too few of a class in a part
            return None
        return [
            numbers_of(part) for part in (stream.train, stream.valid, stream.test) if part
        ], stream.described.dropped


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from([None, 0.0, 0.5]), st.integers(0, 5))
def test_blocks_go_forward_in_time_with_no_group_in_two_parts(table, share, seed):
    found = parts_in_blocks(table, Holdout(share=share), seed)
    if found is None:
        return
    parts, said = found
    some = examples_of(table)
    assert_apart(some.groups, some.times, *parts)
    used = np.concatenate(parts)
    missing = np.setdiff1d(np.arange(len(some)), used)
    assert [re.match(r"\S+", text).group() for text in said] == [str(len(missing))] * (len(missing) > 0)
    spans = {group: np.ptp(some.times[some.groups == group]) for group in some.groups[missing]}
    assert all(span > 0 for span in spans.values())


@settings(max_examples=50)
@given(st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(-5, 5)), max_size=30), max_size=8))
def test_spans_are_those_of_all_rows_together(batches):
    spans = GroupSpans()
    rows: dict[int, list[int]] = {}
    for batch in batches:
        spans.add(np.array([g for g, _ in batch], np.uint64), np.array([float(t) for _, t in batch]))
        for group, time in batch:
            rows.setdefault(group, []).append(time)
    groups, first, last = spans.spans()
    assert groups.tolist() == sorted(rows)
    assert first.tolist() == [min(rows[g]) for g in sorted(rows)]
    assert last.tolist() == [max(rows[g]) for g in sorted(rows)]


def patients(count: int = 120, each: int = 20) -> pl.DataFrame:
    """Who a patient is says all, and nothing says it of another; each is there from the first day to the last."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(count), each)
    marks = rng.normal(size=(count, 3))[group]
    table = {f"x{i}": marks[:, i] + 0.01 * rng.normal(size=len(group)) for i in range(3)}
    table |= {"g": [f"p{g}" for g in group], "t": rng.permutation(len(group)), "y": rng.permutation(count)[group] % 2}
    return pl.DataFrame(table)[rng.permutation(len(group))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags", [("--folds", 4), ("--test-share", 0.3), ("--test-share", 0.3, "--memory", "1K")], ids=str
)
def test_what_only_the_group_knows_is_worth_nothing_later(command, flags):
    patients().write_parquet("t.parquet")
    said = command(
        *("train", "t.parquet", "--target", "y", "--group", "g", "--time", "t", "--exclude", "g", "--out", "run"),
        *("--members", 2, "--epochs", 10, *flags),
    )
    assert said.exit_code == 0, said.output
    assert float(re.search(r"estimate\s+(\S+)", said.stdout).group(1)) > 0.65
    told = re.search(r"([\d,]+ rows are (left out|not predicted): their groups are on both sides[^\n]*)", said.stdout)
    assert told.group(1) in Path("run/MODEL_CARD.md").read_text()
    assert ("those predicted out of fold" if "--folds" in flags else "the test rows") in said.stdout


def test_in_memory_it_is_said_how_many_rows_are_left_out(tmp_path):
    path = tmp_path / "t.parquet"
    patients().write_parquet(path)
    roles = ColumnRoles("y", group="g", time="t")
    task = prepare(TrainArgs(str(path), roles, Holdout(share=0.2)))
    shared = task.table
    missing = 2400 - len(shared.train) - len(shared.test)
    assert missing > 0
    assert task.outline.dropped[0].startswith(f"{missing:,} rows are left out")
    assert shared.test.times.min() > shared.train.times.max()
    assert not np.intersect1d(shared.test.groups, shared.train.groups).size
    by_folds = prepare(TrainArgs(str(path), roles, Holdout(folds=4)))
    predicted = sum(len(aside) for _, aside in by_folds.table.splits)
    assert by_folds.outline.dropped[0].startswith(f"{4 * 480 - predicted:,} rows are not predicted")
    assert prepare(TrainArgs(str(path), ColumnRoles("y", time="t"), Holdout(folds=4))).outline.dropped == []


def other_table(table: pl.DataFrame) -> pl.DataFrame:
    """Half of the rows later, half of them new patients, and some without a name."""
    later = table["t"] + np.where(np.arange(table.height) % 2, 10_000, 0)
    new = pl.Series([f"n{g}" if i % 4 > 1 else g for i, g in enumerate(table["g"])])
    return table.with_columns(t=later, g=new.set(pl.Series(np.arange(table.height) % 7 == 0), None))


@pytest.mark.parametrize("blocks", [False, True], ids=["memory", "blocks"])
@pytest.mark.parametrize("by", [{"group": "g"}, {"time": "t"}, {"group": "g", "time": "t"}], ids=str)
def test_another_table_is_tested_on_where_it_is_later_and_of_other_groups(tmp_path, blocks, by):
    table = patients()
    other = other_table(table)
    for name, frame in (("t", table), ("new", other)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    held, roles = Holdout(file=str(tmp_path / "new.parquet")), ColumnRoles("y", **by)
    if blocks:
        stream = streamed(tmp_path / "t.parquet", roles, held)
        rows = numbers_of(stream.test)
        dropped = stream.described.dropped[-1]
    else:
        task = prepare(TrainArgs(str(tmp_path / "t.parquet"), roles, held))
        rows, dropped = task.table.test_rows - 1, task.outline.dropped[-1]
        assert task.table.test.y.tolist() == other["y"].gather(rows).to_list()
    wanted = np.ones(other.height, bool)
    if "time" in by:
        wanted &= other["t"].to_numpy() > table["t"].max()
    if "group" in by:
        wanted &= ~other["g"].is_in(table["g"].to_list()).fill_null(False).to_numpy()
    assert rows.tolist() == np.flatnonzero(wanted).tolist()
    assert dropped.startswith(f"{(~wanted).sum():,} rows of new.parquet are left out")


@pytest.mark.parametrize("blocks", [False, True], ids=["memory", "blocks"])
def test_a_table_with_nothing_apart_is_refused(tmp_path, blocks):
    path = tmp_path / "t.parquet"
    patients().write_parquet(path)
    held, roles = Holdout(file=str(path)), ColumnRoles("y", group="g")
    split = streamed if blocks else lambda file, *given: prepare(TrainArgs(str(file), *given))
    with pytest.raises(InputError, match=r"no row is left to test on: with --time only those .* with --group only"):
        split(path, roles, held)


@pytest.mark.parametrize(
    "roles",
    [
        ColumnRoles("y", group="y"),
        ColumnRoles("y", weight="y"),
        ColumnRoles("y", group="t", time="t"),
        ColumnRoles("y", None, ["y"]),
    ],
)
def test_one_column_has_no_two_roles(tmp_path, roles):
    path = tmp_path / "t.parquet"
    patients().write_parquet(path)
    for held in (Holdout(share=0.2), Holdout(folds=3)):
        with pytest.raises(InputError, match="is named by --|cannot be named in"):
            prepare(TrainArgs(str(path), roles, held))
    with pytest.raises(InputError, match="is named by --|cannot be named in"):
        streamed(path, roles, Holdout())
