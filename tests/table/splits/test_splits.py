"""Nothing leaks between the rows that are learnt from and those kept aside; estimates say which rows they are of."""

from __future__ import annotations

import re
import shutil

import numpy as np
import polars as pl
import pytest

from torchbce import InputError
from torchbce.io.files import FileRows
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.memory_table import prepare
from torchbce.table.read import read_dataset
from torchbce.table.splits.holdout import Holdout
from torchbce.table.splits.splits import folds, last_or_random, member_splits
from torchbce.table.train_args import TrainArgs


def examples(answers: np.ndarray, **parts) -> Dataset:
    frame = pl.DataFrame({"x": np.arange(len(answers), dtype=float)})
    return Dataset(frame=frame, name=FileRows("t"), kinds={"x": "numeric"}, y=answers.astype(np.uint8), **parts)


RARE = np.zeros(200, int)
RARE[::10] = 1


@pytest.mark.parametrize("count", [2, 5, 10, 50])
def test_each_row_is_kept_aside_once_with_the_same_share_of_ones(count):
    found = folds(examples(RARE), count, seed=0)
    aside = np.concatenate([part for _, part in found])
    assert sorted(aside) == list(range(200))
    for train, part in found:
        assert sorted([*train, *part]) == list(range(200))
        assert RARE[part].sum() in (20 // len(found), -(-20 // len(found)))
    assert len(found) == min(count, 20)  # no more than there are rows of the rarer class


def test_rows_of_one_group_stay_together():
    groups = np.arange(200) // 7
    for train, aside in folds(examples(RARE, groups=groups), 5, seed=0):
        assert not set(groups[train]) & set(groups[aside])
    train, aside = last_or_random(examples(RARE, groups=groups), 0.2, seed=0)
    assert not set(groups[train]) & set(groups[aside])
    for train, aside in member_splits(examples(RARE, groups=groups), 5, 4, seed=0):
        assert not set(groups[train]) & set(groups[aside])


def test_later_rows_are_predicted_from_earlier_ones():
    times = np.random.default_rng(0).permutation(200) // 3  # with ties
    some = examples(RARE, times=times.astype(float))
    for train, aside in [*folds(some, 5, seed=0), last_or_random(some, 0.2, seed=0)]:
        assert times[train].max() < times[aside].min()
    splits = member_splits(some, 5, 3, seed=0)
    assert len(splits) == 3
    assert all(times[train].max() < times[aside].min() for train, aside in splits)


def test_members_are_judged_by_different_rows():
    splits = member_splits(examples(RARE), 5, 4, seed=0)
    aside = np.concatenate([part for _, part in splits])
    assert len(set(aside)) == len(aside) == 160


def test_a_class_of_one_row_is_learnt_from_all_rows():
    answers = np.zeros(20, int)
    answers[3] = 1
    for train, aside in member_splits(examples(answers), 5, 2, seed=0):
        assert len(train) == len(aside) == 20


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"groups": np.zeros(200, int)}, "all rows are of one group"),
        ({"times": np.zeros(200)}, "hold 0 of the positive class|all rows have one time"),
        ({"groups": RARE}, "hold (0|20) of the positive class"),
    ],
)
def test_what_cannot_be_split_is_said(parts, message):
    with pytest.raises(InputError, match=message):
        last_or_random(examples(RARE, **parts), 0.2, seed=0)


def write(tmp_path, count: int = 400, **more) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=count)
    y = (rng.random(count) < 1 / (1 + np.exp(-2 * x))).astype(int)
    path = tmp_path / "t.csv"
    pl.DataFrame({"x": x, "z": rng.normal(size=count), "y": y} | more).write_csv(path)
    return str(path)


def test_weights_groups_and_times_are_read_and_not_learnt_from(tmp_path):
    path = write(tmp_path, w=np.arange(400.0), g=np.arange(400) // 4, t=np.arange(400))
    read = read_dataset(path, ColumnRoles("y", weight="w", group="g", time="t"))
    assert set(read.dataset.kinds) == {"x", "z"}
    assert read.dataset.weight.tolist() == list(range(400))
    assert len(np.unique(read.dataset.groups)) == 100
    assert read.dataset.times.tolist() == list(range(400))


@pytest.mark.parametrize(
    ("column", "role", "message"),
    [
        ([-1.0, *[1.0] * 399], "weight", r"row 1 of the weights 'c' is -1; a weight is a finite number from 0"),
        ([None, *[1.0] * 399], "weight", r"row 1 of the weights 'c' is missing"),
        ([0.0] * 400, "weight", r"all weights in 'c' are 0"),
        ([None, *range(399)], "time", r"row 1 of the times 'c' is missing"),
    ],
)
def test_roles_that_cannot_be_used_are_named(tmp_path, column, role, message):
    path = write(tmp_path, c=column)
    with pytest.raises(InputError, match=message):
        read_dataset(path, ColumnRoles("y", **{role: "c"}))


def test_rows_are_kept_aside_as_it_is_said(tmp_path):
    path = write(tmp_path)
    assert len(prepare(TrainArgs(path, ColumnRoles("y"), Holdout())).table.splits) == 5
    shared = prepare(TrainArgs(path, ColumnRoles("y"), Holdout(share=0.25))).table
    assert (len(shared.train), len(shared.test)) == (300, 100)
    assert not set(shared.test_rows - 1) & set(shared.train.frame.with_row_index().filter(False)["index"])
    none = prepare(TrainArgs(path, ColumnRoles("y"), Holdout(share=0.0))).table
    assert (len(none.train), none.test, none.splits) == (400, None, [])
    other = prepare(TrainArgs(path, ColumnRoles("y"), Holdout(file=path))).table
    assert (len(other.train), len(other.test)) == (400, 400)


def train(command, path: str, *flags: str) -> str:
    shutil.rmtree("run", ignore_errors=True)
    result = command("train", path, "--target", "y", "--epochs", "3", "--no-trees", "--out", "run", *flags)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_test_file_is_what_the_estimate_is_of(command, tmp_path):
    path = write(tmp_path)
    new = tmp_path / "new.csv"
    pl.read_csv(path).head(150).write_csv(new)
    out = train(command, path, "--test", str(new))
    assert "400 rows to learn from, 150 kept aside to test" in out
    assert "on 150 rows, the test rows" in out
    table = pl.read_parquet("run/predictions.parquet")
    assert table["split"].unique().to_list() == ["test"]
    assert table["row"].to_list() == list(range(1, 151))


def test_a_share_is_kept_from_the_model(command, tmp_path):
    out = train(command, write(tmp_path), "--test-share", "0.25")
    table = pl.read_parquet("run/predictions.parquet")
    assert table.height == 100
    found = float(re.search(r"estimate\s+(\S+) \+-", out).group(1))
    assert table["loss"].mean() == pytest.approx(found, abs=1e-6)


def test_without_rows_aside_no_estimate_is_claimed(command, tmp_path):
    out = train(command, write(tmp_path), "--test-share", "0")
    assert "none kept aside: there will be no honest estimate" in out
    assert "too good, as it was chosen" in out


def test_boosted_trees_are_compared_on_the_same_rows(command, tmp_path):
    out = train(command, write(tmp_path), "--compare", "--folds", "3")
    assert "HistGradientBoosting" in out
    assert re.search(r"HistGradientBoosting costs \S+ on the same rows: \S+ (more|less), 95 % \S+ to \S+", out)
    assert "fold    3  of 3" in out


def test_weights_count_in_the_estimate(command, tmp_path):
    rng = np.random.default_rng(5)
    path = write(tmp_path, w=rng.random(400))
    out = train(command, path, "--weight", "w")
    table, weight = pl.read_parquet("run/predictions.parquet"), pl.read_csv(path)["w"].to_numpy()
    found = float(re.search(r"estimate\s+(\S+) \+-", out).group(1))
    assert np.average(table["loss"].to_numpy(), weights=weight) == pytest.approx(found, abs=1e-6)


def test_a_group_that_repeats_rows_is_not_mistaken_for_knowledge(command, tmp_path):
    """Each row ten times, with a target of pure chance: split by rows, the copies would be known by heart."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    copies = np.repeat(np.arange(60), 10)
    path = tmp_path / "t.csv"
    pl.DataFrame({f"x{i}": x[copies, i] for i in range(3)} | {"y": y[copies], "g": copies}).write_csv(path)
    outs = [train(command, str(path), *flags, "--epochs", "30") for flags in (["--group", "g"], ["--exclude", "g"])]
    grouped, leaking = (float(re.search(r"estimate\s+(\S+) \+-", out).group(1)) for out in outs)
    assert leaking < grouped - 0.1


def test_ways_to_keep_rows_aside_exclude_each_other(command, tmp_path):
    result = command("train", write(tmp_path), "--target", "y", "--folds", "3", "--test-share", "0.2")
    assert result.exit_code == 2
    assert "--test-share and --folds were both given" in result.stderr


@pytest.mark.parametrize("text", ["0s", "abc", "5x"])
def test_a_time_budget_is_seconds_minutes_or_hours(command, tmp_path, text):
    result = command("train", write(tmp_path), "--target", "y", "--time-budget", text)
    assert result.exit_code == 2
    assert "write 90s, 5m or 2h" in result.stderr


def test_a_time_budget_is_kept(command, tmp_path):
    import time

    start = time.perf_counter()
    out = train(command, write(tmp_path), "--epochs", "100000", "--patience", "100000", "--time-budget", "1s")
    assert ", 1 s, seed 42" in out
    assert time.perf_counter() - start < 30
