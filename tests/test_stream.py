"""Tables larger than memory: what the passes find, which rows go where, what the cache holds, and what is refused."""

from __future__ import annotations

import datetime
import errno
import fractions
import gzip
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from torchbce import InputError, OutputError
from torchbce.common.lock import locked
from torchbce.common.splitmix import hashed
from torchbce.io import shards
from torchbce.io.files import FileRows
from torchbce.io.opened import Format
from torchbce.io.scan import files_of
from torchbce.table.columns import fitter, levels
from torchbce.table.columns.columns import CategoricalColumn, NumericColumn, encode, levels_of, number_count
from torchbce.table.columns.infer import fit_encoders
from torchbce.table.columns.levels import Levels, most_frequent
from torchbce.table.columns.moments import Moments
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.network.compiled import encoded
from torchbce.table.network.edges import cells, quantile_edges
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.packed import part_file, records
from torchbce.table.packed.pieces import Pieces
from torchbce.table.packed.prepare import prepare_stream
from torchbce.table.packed.shuffled import Shuffled
from torchbce.table.read import read_dataset
from torchbce.table.splits.holdout import Holdout
from torchbce.table.splits.row_sample import RowSample
from torchbce.table.splits.splits import last_or_random

ROWS = 3000
ROLES = ColumnRoles("y", weight="w", categorical=["code"])


def made(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Numbers with and without gaps, texts, dates, true and false, whole numbers of few values, and odd names."""
    r = np.random.default_rng(seed)

    def some(values: pl.Series, share: float) -> pl.Series:
        return values.set(pl.Series(r.random(rows) < share), None)

    days = pl.Series([datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in r.integers(0, 900, rows)])
    return pl.DataFrame(
        {
            "a": r.normal(size=rows),
            "^a$": some(pl.Series(r.lognormal(size=rows) * 1e6), 0.2),
            "few": r.integers(0, 6, rows),
            "gappy": some(pl.Series(r.integers(-5, 50, rows)), 0.1),
            "yes": some(pl.Series(r.random(rows) < 0.3), 0.05),
            "day": some(days, 0.1),
            "text": some(pl.Series(r.choice(["x", "yy", "z z", "ä"], rows, p=[0.5, 0.3, 0.15, 0.05])), 0.1),
            "code": r.choice([3, 14, 15, 92], rows),
            "constant": np.full(rows, 7),
            "id": np.arange(rows) + 100,
            "name": [f"n{i}" for i in range(rows)],
            "empty": pl.Series([None] * rows, dtype=pl.String),
            "w": r.integers(0, 4, rows) * 0.5 + 0.25,
            "y": np.where(r.random(rows) < 0.4, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return made()


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch):
    monkeypatch.setattr(fitter, "MANY_ROWS", 1000)


def written(table: pl.DataFrame, folder: Path, kind: str, parts: int = 1) -> list[str]:
    """The table in so many files of unequal lengths."""
    folder.mkdir(exist_ok=True)
    cuts = [0, *sorted(np.random.default_rng(parts).choice(table.height, parts - 1, replace=False)), table.height]
    names = []
    for i in range(parts):
        path = folder / f"part-{i}.{kind}"
        piece = table[int(cuts[i]) : int(cuts[i + 1])]
        piece.write_parquet(path) if kind == "parquet" else piece.write_csv(path)
        names.append(str(path))
    return names


def prepared(names: list[str], place: Path, roles: ColumnRoles = ROLES, held: Holdout = Holdout(), **more):  # noqa: B008
    options = {"seed": 5, "pieces": 16, "format": None, "on_rows": None} | more
    return prepare_stream(names, roles, held, place=place, **options)


def rows_of(stored) -> np.ndarray:
    """The numbers of a part's rows, from 0."""
    if stored is None:
        return np.zeros(0, np.int64)
    return np.concatenate([window.numbers.copy() for window in stored.in_order()]) - 1


def parts_of(stream) -> np.ndarray:
    """0, 1 or 2 for each row of the table, which is in one part."""
    rows = [rows_of(part) for part in (stream.train, stream.valid, stream.test)]
    parts = np.full(sum(map(len, rows)), 9)
    for part, some in enumerate(rows):
        parts[some] = part
    assert sorted(np.concatenate(rows)) == list(range(len(parts)))
    return parts


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
    monkeypatch.setattr(shards, "ROWS", batch)
    stream = prepared(written(table, tmp_path / "t", kind, files), tmp_path / "cache")
    whole = written(table, tmp_path / "whole", kind)[0]
    read = read_dataset(whole, ROLES)
    train = read.dataset.of(rows_of(stream.train))
    expected = fit_encoders(train.frame, read.dataset.kinds, FileRows("t"), ".", read.dataset.dates, train.weight)
    assert_same_columns(stream.columns, expected)
    assert [c.name for c in stream.columns if isinstance(c, CategoricalColumn)] == ["few", "gappy", "text", "code"]
    assert stream.kinds == read.dataset.kinds
    assert stream.left_out == read.left_out
    assert stream.left_out == {
        "constant": "constant",
        "id": "counts the rows",
        "name": "all different",
        "empty": "empty",
    }
    assert stream.target == read.target
    answers = read.dataset.y
    for part, rows in zip(
        (stream.train, stream.valid, stream.test), (parts_of(stream) == part for part in range(3)), strict=True
    ):
        assert (len(part), part.ones) == (rows.sum(), answers[rows].sum())
        assert part.share == pytest.approx(np.average(answers[rows], weights=read.dataset.weight[rows]), rel=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_records_decode_to_what_is_encoded_in_memory(table, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shards, "ROWS", 700)
    stream = prepared(written(table, tmp_path / "t", kind, 2), tmp_path / "cache")
    read = read_dataset(written(table, tmp_path / "whole", kind)[0], ROLES).dataset
    pieces = [len(cuts) - 1 if len(cuts) > 2 else 0 for cuts in stream.edges]
    network = TableNetwork(NetworkSpec(pieces=pieces, levels=levels_of(stream.columns), hidden=[8]))
    network.set_edges([cuts for cuts in stream.edges if len(cuts) > 2])
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
            assert np.array_equal(stream.sample, matrix)
            assert np.array_equal(stream.sample_answers, some.y)
            assert stream.sample_weight == pytest.approx(some.weight / mean, rel=1e-12)
            for found, wanted in zip(
                stream.edges, quantile_edges(matrix[:, : number_count(stream.columns)], 16), strict=True
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


@pytest.fixture
def small_blocks(monkeypatch):
    from torchbce.table.packed import shuffled, stored

    for module in (records, part_file, stored, shuffled):
        monkeypatch.setattr(module, "BLOCK", 64)


def test_a_shuffle_visits_every_row_once_an_epoch(table, tmp_path, small_blocks):
    stream = prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "c")
    shuffle = Shuffled(stream.train, seed=3, blocks=5)
    in_table = {}
    for window in stream.train.in_order(256):
        in_table |= dict(zip(window.numbers.tolist(), window.rows.fractions.tolist(), strict=True))
    epochs, orders = [], set()
    for _ in range(3):
        seen, sizes = [], []
        for _ in range(shuffle.windows):
            window, order = next(shuffle)
            assert order.dtype == torch.int32
            numbers = window.numbers[order.numpy()]
            assert all(
                in_table[n] == f
                for n, f in zip(numbers.tolist(), window.rows.fractions[order.long()].tolist(), strict=True)
            )
            seen += numbers.tolist()
            sizes.append(len(order))
            orders.add(tuple(order.tolist()))
        assert set(sizes[:-1]) == {5 * 64}
        assert sorted(seen) == sorted(in_table)
        epochs.append(seen)
    assert len(orders) == 3 * shuffle.windows
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert abs(np.corrcoef(epochs[0], epochs[1])[0, 1]) < 0.1


def test_a_shuffle_goes_on_where_its_state_says(table, tmp_path, small_blocks):
    stream = prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "c")

    def takes(shuffle: Shuffled, count: int) -> list[list[int]]:
        return [window.numbers[order.numpy()].tolist() for window, order in (next(shuffle) for _ in range(count))]

    first = Shuffled(stream.train, seed=3, blocks=5)
    takes(first, 9)
    state = json.loads(json.dumps(first.state_dict()))
    resumed = Shuffled(stream.train, seed=3, blocks=5)
    resumed.load_state_dict(state)
    rest = takes(first, 12)
    assert takes(resumed, 12) == rest
    assert takes(Shuffled(stream.train, seed=4, blocks=5), 1) != takes(Shuffled(stream.train, seed=3, blocks=5), 1)
    with pytest.raises(InputError, match="no window 99"):
        resumed.load_state_dict({"epoch": 0, "window": 99})


def test_a_window_is_not_touched_by_reading_in_order(table, tmp_path, small_blocks):
    stream = prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "c")
    window = stream.train.window([3, 1])
    before = window.numbers.copy()
    rows_of(stream.train)
    assert np.array_equal(window.numbers, before)
    assert np.array_equal(window.numbers[64:], rows_of(stream.train)[64:128] + 1)


@pytest.mark.parametrize(("columns", "pieces"), [(["text"], 16), (["a"], 16), (["a", "gappy", "text"], 0)])
def test_a_table_may_have_numbers_alone_texts_alone_and_no_pieces(table, tmp_path, columns, pieces):
    names = written(table.select(*columns, "y"), tmp_path / "t", "parquet")
    stream = prepared(names, tmp_path / "c", ColumnRoles("y"), pieces=pieces)
    frame = table[rows_of(stream.train)]
    matrix = encode(frame, stream.columns, FileRows("t"))
    (window,) = stream.train.in_order()
    count = number_count(stream.columns)
    assert np.array_equal(window.rows.codes.numpy(), matrix[:, count:])
    assert window.rows.bins.shape[1] + window.rows.numbers.shape[1] == count
    assert window.rows.weight is None
    if not pieces:
        assert stream.edges == []
        assert np.array_equal(window.rows.numbers.numpy(), matrix[:, :count])


def test_a_cache_is_used_again_for_the_same_and_for_nothing_else(table, tmp_path):
    names, place = written(table, tmp_path / "t", "csv", 2), tmp_path / "c"
    first = prepared(names, place)
    again = prepared(names, place)
    assert not first.reused
    assert again.reused
    assert again.fingerprint == first.fingerprint
    assert again.columns == first.columns
    assert all(map(np.array_equal, again.edges, first.edges))
    assert np.array_equal(again.sample, first.sample)
    assert np.array_equal(again.sample_weight, first.sample_weight)
    for changed in (
        {"seed": 6},
        {"pieces": 8},
        {"held": Holdout(share=0.4)},
        {"roles": ColumnRoles("y")},
        {"format": Format(delimiter=",")},
    ):
        assert not prepared(names, place, **changed).reused
    assert not prepared(names[::-1], place).reused
    other = prepared(names, place)
    text = Path(names[1]).read_bytes()
    Path(names[1]).write_bytes(text.replace(b",yy,", b",zz,", 1))
    now = prepared(names, place)
    assert not now.reused
    assert now.fingerprint != other.fingerprint
    assert {path.name for path in tmp_path.iterdir()} == {"t", "c"}


def test_a_content_that_changed_under_the_same_time_is_seen(table, tmp_path):
    (name,), place = written(table, tmp_path / "t", "csv"), tmp_path / "c"
    prepared([name], place)
    before = os.stat(name)
    text = bytearray(Path(name).read_bytes())
    digit = text.index(b"\n") + 5
    text[digit : digit + 1] = b"1" if text[digit : digit + 1] != b"1" else b"2"
    Path(name).write_bytes(text)
    os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not prepared([name], place).reused


@pytest.mark.parametrize("damage", ["cut", "longer", "gone", "edited", "tensors", "json"])
def test_a_damaged_cache_is_made_anew_and_it_is_said(table, tmp_path, damage):
    names, place = written(table, tmp_path / "t", "parquet"), tmp_path / "c"
    whole = prepared(names, place)
    rows, described, tensors = place / "train.records", place / "cache.json", place / "tensors.safetensors"
    if damage == "cut":
        rows.write_bytes(rows.read_bytes()[:-8])
    elif damage == "longer":
        rows.write_bytes(rows.read_bytes() + bytes(8))
    elif damage == "gone":
        rows.unlink()
    elif damage == "edited":
        described.write_text(described.read_text().replace('"seed": 5', '"seed": 7'))
    elif damage == "tensors":
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.write_bytes(content)
    else:
        described.write_text(described.read_text()[:-9])
    found = prepared(names, place)
    assert not found.reused
    assert any("has been made anew, as it could not be used again" in note for note in found.notes)
    assert found.columns == whole.columns
    assert prepared(names, place).reused


def test_a_file_that_is_cut_while_it_is_read_is_named(table, tmp_path):
    stream = prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "c")
    with (tmp_path / "c" / "train.records").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(InputError, match=r"train.records: block 0 has 100 of"):
        stream.train.window([0])


def test_a_full_disk_leaves_nothing_and_says_how_much_is_needed(table, tmp_path, monkeypatch):
    names = written(table, tmp_path / "t", "parquet")

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part_file.PartFile, "_write", full)
    with pytest.raises(OutputError, match=r"needs about [\d,]+ bytes, and [\d,]+ are free there.*--cache DIR"):
        prepared(names, tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_too_small_a_disk_is_seen_before_anything_is_packed(table, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"needs about [\d,]+ bytes, and 1,000 are free"):
        prepared(written(table, tmp_path / "t", "parquet"), tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interruption_leaves_nothing_but_an_old_cache(table, tmp_path, monkeypatch, after):
    monkeypatch.setattr(shards, "ROWS", 1000)
    names = written(table, tmp_path / "t", "parquet")
    old = prepared(names, tmp_path / "c", seed=1)
    heard = []

    def on_rows(done: int, total: int | None) -> None:
        heard.append((done, total))
        if len(heard) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(names, tmp_path / "c", on_rows=on_rows)
    assert {path.name for path in tmp_path.iterdir()} == {"t", "c"}
    assert prepared(names, tmp_path / "c", seed=1).reused
    assert heard[0] == (1000, 2 * ROWS)
    assert len(old.train) > 0


def test_drafts_of_killed_runs_are_removed_and_a_cache_is_made_by_one_run(table, tmp_path):
    names = written(table, tmp_path / "t", "parquet")
    (tmp_path / ".c.draft-0123").mkdir()
    (tmp_path / ".c.draft-0123" / "train.records").write_bytes(b"x")
    script = (
        "import sys; from pathlib import Path; from torchbce.common.lock import locked\n"
        "with locked(Path(sys.argv[1])): print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "c")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(OutputError, match="about to be made by another run"):
            prepared(names, tmp_path / "c")
        holder.communicate(b"\n")
    prepared(names, tmp_path / "c")
    assert {path.name for path in tmp_path.iterdir()} == {"t", "c"}
    with locked(tmp_path / "c") as mine:
        assert mine


def test_what_is_no_cache_is_not_replaced(table, tmp_path):
    names = written(table, tmp_path / "t", "parquet")
    with pytest.raises(OutputError, match="is no cache"):
        prepared(names, tmp_path / "t")
    assert Path(names[0]).exists()


MEMORY = """
import sys
from pathlib import Path
from torchbce.io import shards, windows
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.packed import fit_pass, prepare
from torchbce.table.splits.holdout import Holdout
fit_pass.EDGE_ROWS = 5000
shards.ROWS = 16384
windows.SLICE = 1 << 20
roles, held = ColumnRoles("y"), Holdout()
prepare.prepare_stream([sys.argv[1]], roles, held, seed=1, pieces=8, format=None, place=Path(sys.argv[2]), on_rows=None)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say it in this way")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    r = np.random.default_rng(0)

    def peak(rows: int) -> float:
        columns = {f"x{i}": r.integers(0, 100, rows) / 7 for i in range(8)}  # a small file, as it is mapped into memory
        pl.DataFrame(columns | {"y": r.integers(0, 2, rows)}).write_parquet(tmp_path / "t", row_group_size=16384)
        arguments = [str(tmp_path / "t"), str(tmp_path / "c")]
        run = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
        return int(run.stdout) / 1024

    assert peak(800_000) - peak(100_000) < 45  # MB; in memory the other rows would take 50, and encoded 50 more


def test_a_folder_stands_for_its_tables_in_order(table, tmp_path):
    folder = tmp_path / "t"
    written(table, folder, "csv", 3)
    (folder / ".hidden.csv").write_text("z\n")
    (folder / "notes.txt").write_text("z")
    assert [Path(name).name for name in files_of([str(folder)])] == ["part-0.csv", "part-1.csv", "part-2.csv"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none is a folder without tables"):
        prepared([str(tmp_path / "none")], tmp_path / "c")


def test_shards_with_other_columns_are_named(table, tmp_path):
    names = written(table, tmp_path / "t", "parquet", 3)
    table.drop("few").write_parquet(names[1])
    with pytest.raises(InputError, match=r"part-1.parquet has no column 'few', as .*part-0"):
        prepared(names, tmp_path / "c")
    table.with_columns(more=1).write_parquet(names[1])
    with pytest.raises(InputError, match=r"part-1.parquet has a column 'more'"):
        prepared(names, tmp_path / "c")


def test_a_shard_of_a_header_alone_is_no_error(table, tmp_path):
    names = written(table, tmp_path / "t", "csv", 2)
    table[:0].write_csv(tmp_path / "t" / "part-05.csv")
    stream = prepared([names[0], str(tmp_path / "t" / "part-05.csv"), names[1]], tmp_path / "c")
    assert len(parts_of(stream)) == ROWS
    table[:0].write_csv(tmp_path / "none.csv")
    with pytest.raises(InputError, match="a header and no rows"):
        prepared([str(tmp_path / "none.csv")], tmp_path / "d")


def test_a_text_among_numbers_is_named_by_its_shard_and_row(table, tmp_path):
    names = written(table, tmp_path / "t", "csv", 3)
    strange = pl.read_csv(names[2], infer_schema=False)
    value = strange["a"].to_list()
    value[17] = "abc"
    strange.with_columns(a=pl.Series(value)).write_csv(names[2])
    with pytest.raises(
        InputError, match=r"part-2.csv: row 18 of column 'a' is 'abc'; the model takes this column as numbers"
    ):
        prepared(names, tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_late_values_that_contradict_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 100)

    def refused(column: list[str], match: str) -> None:
        rows = len(column)
        pl.DataFrame({"x": column, "y": ["0", "1"] * (rows // 2)}).write_csv(tmp_path / "t.csv")
        with pytest.raises(InputError, match=match):
            prepared([str(tmp_path / "t.csv")], tmp_path / "c", ColumnRoles("y"))

    refused(
        [f"2020-01-{i % 28 + 1:02d}" for i in range(250)] + ["soon"] * 50,
        r"row 251 of column 'x' is 'soon'.*dates written like %Y-%m-%d",
    )
    refused(["true", "false"] * 75 + ["1"] * 50, "row 151 of column 'x' is '1'.*true and false")
    refused([str(i % 9) for i in range(200)] + ["007"] * 100, "row 201 of column 'x' is '007', with a zero in front")
    refused([str(i % 9) for i in range(199)] + ["inf"], "row 200 of column 'x' is inf")
    refused(["a", *(str(i) for i in range(199))], "row 1 of column 'x' is 'a', but 99.5% of the column are numbers")


def test_a_target_is_refused_as_in_memory_with_the_row(table, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 500)

    def refused(target: list, match: str, **more) -> None:
        table.with_columns(y=pl.Series(target)).write_csv(tmp_path / "t.csv")
        with pytest.raises(InputError, match=match):
            prepared([str(tmp_path / "t.csv")], tmp_path / "c", ColumnRoles("y", **more))

    both = ["yes", "no"] * (ROWS // 2)
    refused([*both[:-1], "maybe"], r"row 3000 of the target column 'y' is 'maybe', a third value")
    refused([*both[:-1], None], r"row 3000 of the target column 'y' is missing")
    refused(["yes"] * ROWS, "holds one value only, 'yes'")
    refused(both, "no value 'perhaps'", positive="perhaps")
    refused(["no"] * (ROWS - 3) + ["yes"] * 3, r"train rows: only [0-3] of \d+ rows (is|are) of the positive class")


def test_a_target_may_be_written_in_several_ways(table, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 500)
    answers = table["y"].to_list()
    ways = {"yes": ["1", "1.0", "1.00"], "no": ["0", " 0", "0.0"]}
    column = [ways[y][i * 3 // ROWS] for i, y in enumerate(answers)]
    table.with_columns(y=pl.Series(column)).write_csv(tmp_path / "t.csv")
    stream = prepared([str(tmp_path / "t.csv")], tmp_path / "c")
    assert (stream.target.positive, stream.target.negative) == ("1", "0")
    for part in (stream.train, stream.valid, stream.test):
        (window,) = part.in_order()
        assert window.rows.target.tolist() == [answers[row] == "yes" for row in rows_of(part)]


def test_weights_and_times_are_refused_with_their_rows(table, tmp_path):
    names = written(table, tmp_path / "t", "csv")
    frame = table.with_columns(pl.Series("w", [*table["w"][:2].to_list(), -1.0, *table["w"][3:].to_list()]))
    frame.write_csv(names[0])
    with pytest.raises(InputError, match="row 3 of the weights 'w' is -1"):
        prepared(names, tmp_path / "c")
    frame.with_columns(w=pl.lit(0.0)).write_csv(names[0])
    with pytest.raises(InputError, match="all weights of rows to learn from in 'w' are 0"):
        prepared(names, tmp_path / "c")
    with pytest.raises(InputError, match=r"row \d+ of the times 'day' is missing"):
        prepared(names, tmp_path / "c", ColumnRoles("y", time="day"))
    with pytest.raises(InputError, match="rows cannot be ordered by it"):
        prepared(names, tmp_path / "c", ColumnRoles("y", time="constant"))


def test_a_damaged_or_changing_shard_is_named(table, tmp_path, monkeypatch):
    names = written(table, tmp_path / "t", "parquet", 3)
    content = Path(names[1]).read_bytes()
    Path(names[1]).write_bytes(content[:-200])
    with pytest.raises(InputError, match=r"part-1.parquet is a damaged or truncated"):
        prepared(names, tmp_path / "c")
    Path(names[1]).write_bytes(content)
    monkeypatch.setattr(shards, "ROWS", 500)

    def on_rows(done: int, total: int | None) -> None:
        if done <= 500:
            Path(names[2]).write_bytes(Path(names[2]).read_bytes() + b" ")

    with pytest.raises(InputError, match=r"part-2.parquet (changed while|is a?\s?damaged)"):
        prepared(names, tmp_path / "c", on_rows=on_rows)


def test_names_that_are_not_there_are_refused(table, tmp_path):
    names = written(table, tmp_path / "t", "csv")
    for roles, match in (
        (ColumnRoles("z"), r"no column 'z' \(--target\)"),
        (ColumnRoles("y", group="z"), r"no column 'z' \(--group\)"),
        (ColumnRoles("y", exclude=["y"]), "cannot be named in --exclude"),
        (
            ColumnRoles("y", exclude=[c for c in table.columns if c not in ("y", "id", "constant")]),
            "no column to learn from",
        ),
    ):
        with pytest.raises(InputError, match=match):
            prepared(names, tmp_path / "c", roles)
    with pytest.raises(InputError, match="no such file"):
        prepared([str(tmp_path / "nothing.csv")], tmp_path / "c")


@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-300, 1e-310])
@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_exact_arithmetic(scale, weighted):
    r = np.random.default_rng(3)
    values = (r.normal(size=400) + 7) * scale * np.repeat([1e-3, 1.0], 200)
    weight = r.integers(0, 5, 400) * 1.5 if weighted else None
    exact = [fractions.Fraction(v) for v in values]
    w = [fractions.Fraction(x) for x in (weight if weighted else np.ones(400))]
    mean = sum(a * b for a, b in zip(w, exact, strict=True)) / sum(w)
    variance = sum(a * (b - mean) ** 2 for a, b in zip(w, exact, strict=True)) / sum(w)
    unit = fractions.Fraction(2) ** (math.frexp(float(np.abs(values).max()))[1])
    for cuts in (400, 7, 1):
        found = Moments()
        for i in range(0, 400, cuts):
            with_gaps = np.append(values[i : i + cuts], np.nan)
            found.add(with_gaps, None if weight is None else np.append(weight[i : i + cuts], 9.0))
        assert found.gaps
        assert (found.low, found.high) == (values.min(), values.max())
        rounding = 400 * 2**-52 + float(fractions.Fraction(5e-324) / variance_root(variance, unit))
        assert abs(found.mean - float(mean)) <= rounding * float(variance_root(variance, unit)) * 10
        assert abs(found.scale / float(variance_root(variance, unit)) - 1) <= rounding


def variance_root(variance: fractions.Fraction, unit: fractions.Fraction) -> fractions.Fraction:
    """The square root, by way of a size that a float can hold."""
    return fractions.Fraction(math.sqrt(float(variance / unit**2))) * unit


def test_pieces_are_those_of_a_search():
    r = np.random.default_rng(4)
    columns = [
        r.normal(size=5000),
        r.lognormal(sigma=6, size=5000),
        r.integers(0, 3, 5000),
        r.integers(0, 2, 5000),
        np.full(5000, 3.0),
        np.where(r.random(5000) < 0.5, 1e30, 1e30 * (1 + 1e-6 * r.random(5000))),
        np.where(r.random(5000) < 0.5, r.random(5000) * 1e-42, 1e-41),
        np.where(r.random(5000) < 0.01, 3e38, -r.random(5000)),
    ]
    numbers = np.stack(columns, 1).astype(np.float32)
    edges = quantile_edges(numbers[:3000], 64)
    pieces = Pieces(edges, numbers.shape[1])
    used = [edges[i] for i in pieces.cut]
    most = max(len(cuts) for cuts in used) - 1
    start, length = np.zeros((2, len(used), most), np.float32)
    for i, cuts in enumerate(used):
        start[i, : len(cuts) - 1], length[i, : len(cuts) - 1] = cuts[:-1], np.diff(cuts)
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.concatenate([numbers, numbers * 3, -numbers, *(np.tile(c[:, None], 8) for c in used)])
        expected = cells(beyond[:, pieces.cut], start, length)
        found = pieces.encode(beyond)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1], equal_nan=True)
    assert pieces.plain == [i for i, cuts in enumerate(edges) if len(cuts) <= 2]


def test_frequent_levels_survive_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(levels, "KEPT", 2000)
    r = np.random.default_rng(5)
    counted = Levels()
    texts = [f"often{i}" for i in range(50)] * 400 + [f"once{i}" for i in range(20_000)]
    r.shuffle(texts)
    for i in range(0, len(texts), 999):
        some = pl.Series(texts[i : i + 999])
        assert counted.add(some, pl.Series(np.ones(len(some), bool))) == len(some)
    assert most_frequent(counted.counts)["level"][:50].to_list() == sorted(f"often{i}" for i in range(50))
    assert counted.counts["train"].max() == 400
    assert counted.distinct == pytest.approx(20_050, rel=4 / math.sqrt(2000))
    assert counted.known.startswith("about ")


def test_a_sample_depends_on_the_rows_alone():
    def sample(batch: int) -> list[int]:
        kept = RowSample(300, seed=1, purpose=2)
        for i in range(0, 20_000, batch):
            numbers = np.arange(i, min(i + batch, 20_000))
            places, keys = kept.chosen(numbers, numbers % 2 == 0)
            kept.add(pl.DataFrame({"n": numbers[places]}), keys)
        return kept.frame()["n"].to_list()

    found = sample(20_000)
    assert len(found) == 300
    assert found == sorted(found)
    assert sample(77) == sample(1000) == found
    assert not any(n % 2 for n in found)
    uniform = np.abs(np.array(found) / 20_000 - (np.arange(300) + 0.5) / 300).max()
    assert uniform < math.sqrt(math.log(2 / 1e-6) / 600)  # Dvoretzky, Kiefer and Wolfowitz


def test_hashes_are_those_of_splitmix64():
    # The first outputs of the published generator, from the seed 0.
    assert [hex(n) for n in hashed(np.array([1, 2, 3]), 0)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]
