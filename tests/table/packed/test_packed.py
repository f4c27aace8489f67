"""Tables larger than memory: what the passes find, which rows go where, what the cache holds, and what is refused."""

from __future__ import annotations

import datetime
import gzip
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import packed_tables
from packed_tables import ROLES, ROWS, made, parts_of, prepared, rows_of, written
from torchbce import InputError
from torchbce.io import shards
from torchbce.io.files import FileRows
from torchbce.table.columns.columns import CategoricalColumn, NumericColumn, encode, levels_of, number_count
from torchbce.table.columns.infer import fit_encoders
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.network.bins import quantile_bin_edges
from torchbce.table.network.compiled import encoded
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.read import read_dataset
from torchbce.table.splits.holdout import Holdout
from torchbce.table.splits.splits import last_or_random

table = packed_tables.table
few_rows_are_many = packed_tables.few_rows_are_many


def assert_same_columns(found, expected) -> None:
    assert [c.model_dump(exclude={"mean", "scale"}) for c in found] == [
        c.model_dump(exclude={"mean", "scale"}) for c in expected
    ]
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, NumericColumn):
            assert one.mean == pytest.approx(other.mean, rel=1e-12, abs=1e-12 * other.scale)
            assert one.scale == pytest.approx(other.scale, rel=1e-12)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("batch", "files"), [(1 << 16, 1), (1 << 16, 4), (997, 1), (64, 3)])
def test_columns_are_those_of_a_table_in_memory(table, tmp_path, monkeypatch, kind, batch, files):
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", batch)
    stream = prepared(written(table, tmp_path / "t", kind, files), tmp_path / "cache")
    whole = written(table, tmp_path / "whole", kind)[0]
    read = read_dataset(whole, ROLES)
    train = read.dataset.of(rows_of(stream.train))
    expected = fit_encoders(train.frame, read.dataset.kinds, FileRows("t"), ".", read.dataset.dates, train.weight)
    assert_same_columns(stream.columns, expected)
    assert [c.name for c in stream.columns if isinstance(c, CategoricalColumn)] == ["few", "gappy", "text", "code"]
    assert stream.described.kinds == read.dataset.kinds
    assert stream.described.left_out == read.left_out
    assert stream.described.left_out == {
        "constant": "constant",
        "id": "counts the rows",
        "name": "all different",
        "empty": "empty",
    }
    assert stream.described.target == read.target
    answers = read.dataset.y
    for part, rows in zip(
        (stream.train, stream.valid, stream.test), (parts_of(stream) == part for part in range(3)), strict=True
    ):
        assert (len(part), part.ones) == (rows.sum(), answers[rows].sum())
        assert part.share == pytest.approx(np.average(answers[rows], weights=read.dataset.weight[rows]), rel=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_records_decode_to_what_is_encoded_in_memory(table, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 700)
    stream = prepared(written(table, tmp_path / "t", kind, 2), tmp_path / "cache")
    read = read_dataset(written(table, tmp_path / "whole", kind)[0], ROLES).dataset
    pieces = [len(cuts) - 1 if len(cuts) > 2 else 0 for cuts in stream.sample.edges]
    network = TableNetwork(NetworkSpec(pieces=pieces, levels=levels_of(stream.columns), hidden=[8]))
    network.set_bin_edges([cuts for cuts in stream.sample.edges if len(cuts) > 2])
    mean = read.weight[rows_of(stream.train)].mean()
    for part in (stream.train, stream.valid, stream.test):
        some = read.of(rows_of(part))
        matrix = encode(some.frame, stream.columns, FileRows("t"))
        expected = encoded(matrix, network, some.y, some.weight / mean)
        (window,) = part.in_order()
        for name in ("bins", "fractions", "numbers", "codes", "target", "weight"):
            found, wanted = getattr(window.rows, name), getattr(expected, name)
            assert found.dtype == wanted.dtype
            assert torch.equal(
                found.view(torch.int16) if found.dtype == torch.uint16 else found,
                wanted.view(torch.int16) if wanted.dtype == torch.uint16 else wanted,
            )
        if part is stream.train:  # all of them are in the sample
            assert np.array_equal(stream.sample.rows, matrix)
            assert np.array_equal(stream.sample.answers, some.y)
            assert stream.sample.weight == pytest.approx(some.weight / mean, rel=1e-12)
            for found, wanted in zip(
                stream.sample.edges, quantile_bin_edges(matrix[:, : number_count(stream.columns)], 16), strict=True
            ):
                assert np.array_equal(found, wanted)


def test_rows_are_where_they_are_in_csv_in_parquet_in_shards_and_compressed(table, tmp_path):
    names = written(table, tmp_path / "t", "csv", 3)
    for name in names:
        Path(name + ".gz").write_bytes(gzip.compress(Path(name).read_bytes()))
    found = [
        prepared(some, tmp_path / f"cache{i}")
        for i, some in enumerate(
            [
                written(table, tmp_path / "one", "csv"),
                names,
                [f"{name}.gz" for name in names],
                [str(tmp_path / "t" / "*.csv")],
                written(table, tmp_path / "p", "parquet", 2),
                [str(tmp_path / "p")],
            ]
        )
    ]
    for other in found[1:]:
        assert np.array_equal(parts_of(other), parts_of(found[0]))
        assert_same_columns(
            [c.model_copy(update={"date": ""}) if hasattr(c, "date") else c for c in other.columns],
            [c.model_copy(update={"date": ""}) if hasattr(c, "date") else c for c in found[0].columns],
        )


def test_parts_depend_on_the_seed_and_the_row_alone(table, tmp_path):
    held = Holdout(share=0.3)
    all_rows = parts_of(prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "c", held=held))
    fewer = parts_of(prepared(written(table[:2000], tmp_path / "u", "parquet"), tmp_path / "d", held=held))
    other = parts_of(prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "e", held=held, seed=6))
    assert np.array_equal(all_rows[:2000], fewer)
    assert (all_rows != other).mean() > 0.3
    for part, share in ((2, 0.3), (1, 0.07)):
        assert abs((all_rows == part).mean() - share) < 4 * math.sqrt(share / ROWS)


def test_rows_of_a_group_are_in_one_part_wherever_they_stand(table, tmp_path):
    groups = np.random.default_rng(1).integers(0, 300, ROWS)
    frame = table.with_columns(pl.Series("g", [f"g{g}" for g in groups]).set(pl.Series(groups == 0), None))
    order = np.random.default_rng(2).permutation(ROWS)
    roles = ColumnRoles("y", group="g", exclude=["name", "id"])
    found = [
        parts_of(prepared(written(some, tmp_path / f"t{i}", "csv"), tmp_path / f"c{i}", roles))
        for i, some in enumerate((frame, frame[order]))
    ]
    named = {g: set(found[0][groups == g]) for g in range(1, 300) if (groups == g).any()}
    assert all(len(parts) == 1 for parts in named.values())
    assert {part for parts in named.values() for part in parts} == {0, 1, 2}
    assert np.array_equal(found[0][order][groups[order] > 0], found[1][groups[order] > 0])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_latest_rows_are_the_test_as_in_memory(table, tmp_path, kind):
    roles = ColumnRoles("y", time="day")
    frame = table.with_columns(pl.col("day").fill_null(datetime.date(2021, 2, 2)))
    names = written(frame, tmp_path / "t", kind)
    stream = prepared(names, tmp_path / "c", roles)
    read = read_dataset(names[0], roles).dataset
    train, test = last_or_random(read, 0.2, 0)
    assert np.array_equal(rows_of(stream.test), test)
    assert np.array_equal(np.sort(np.concatenate([rows_of(stream.train), rows_of(stream.valid)])), train)
    assert read.times[rows_of(stream.train)].max() < read.times[rows_of(stream.valid)].min()
    assert abs(len(stream.valid) / len(train) - 0.1) < 0.01


def test_test_rows_come_from_another_file_if_one_is_named(table, tmp_path):
    names = written(table, tmp_path / "t", "csv")
    aside = made(500, seed=9).drop("constant").with_columns(few=pl.Series([2.5] * 500), text=pl.Series([" yy "] * 500))
    other = written(aside, tmp_path / "u", "csv", 2)
    stream = prepared(names, tmp_path / "c", held=Holdout(file=str(tmp_path / "u")))
    assert len(other) == 2
    assert len(stream.train) + len(stream.valid) == ROWS
    (window,) = stream.test.in_order()
    assert window.numbers.tolist() == list(range(1, 501))
    few, text = (
        i
        for i, c in enumerate(c for c in stream.columns if not isinstance(c, NumericColumn))
        if c.name in ("few", "text")
    )
    assert set(window.rows.codes[:, few].tolist()) == set(range(1, 7))  # 2.5 is unknown: a value drawn for each row
    level = next(c for c in stream.columns if c.name == "text").levels.index("yy") + 1
    assert (window.rows.codes[:, text] == level).all()
    written(aside.with_columns(y=pl.lit("perhaps")), tmp_path / "u", "csv", 2)
    with pytest.raises(
        InputError, match=r"part-0.csv: row 1 of the target column 'y' is 'perhaps'; the model knows 'no' and 'yes'"
    ):
        prepared(names, tmp_path / "c", held=Holdout(file=str(tmp_path / "u")))


def test_no_test_rows_if_none_are_wanted(table, tmp_path):
    stream = prepared(written(table, tmp_path / "t", "csv"), tmp_path / "c", held=Holdout(share=0))
    assert stream.test is None
    assert len(stream.train) + len(stream.valid) == ROWS
    with pytest.raises(InputError, match="--folds"):
        prepared(written(table, tmp_path / "t", "csv"), tmp_path / "c", held=Holdout(folds=5))
