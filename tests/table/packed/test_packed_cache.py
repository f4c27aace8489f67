"""The cache of a packed table: shuffled reading, use again, damage, full disks, interruptions, memory."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import forked
import packed_tables
from packed_tables import ROWS, prepared, rows_of, written
from torchbce import InputError, OutputError
from torchbce.common.lock import locked
from torchbce.io import shards
from torchbce.io.files import FileRows
from torchbce.io.source import Format
from torchbce.table.columns.columns import encode, number_count
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.packed import part_file, records
from torchbce.table.packed.shuffled import Shuffled
from torchbce.table.splits.holdout import Holdout

table = packed_tables.table
few_rows_are_many = packed_tables.few_rows_are_many


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
        assert stream.sample.edges == []
        assert np.array_equal(window.rows.numbers.numpy(), matrix[:, :count])


def test_a_cache_is_used_again_for_the_same_and_for_nothing_else(table, tmp_path):
    names, place = written(table, tmp_path / "t", "csv", 2), tmp_path / "c"
    first = prepared(names, place)
    again = prepared(names, place)
    assert not first.reused
    assert again.reused
    assert again.described.fingerprint == first.described.fingerprint
    assert again.columns == first.columns
    assert all(map(np.array_equal, again.sample.edges, first.sample.edges))
    assert np.array_equal(again.sample.rows, first.sample.rows)
    assert np.array_equal(again.sample.weight, first.sample.weight)
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
    assert now.described.fingerprint != other.described.fingerprint
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
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 1000)
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
shards.MAX_BATCH_ROWS = 16384
windows.SLICE_BYTES = 1 << 20
given = ColumnRoles("y"), Holdout()
prepare.prepare_stream([sys.argv[1]], *given, seed=1, pieces=8, format=None, folder=Path(sys.argv[2]), on_rows=None)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say it in this way")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    r = np.random.default_rng(0)

    def peak(rows: int) -> float:
        columns = {f"x{i}": r.integers(0, 100, rows) / 7 for i in range(8)}  # a small file, as it is mapped into memory
        pl.DataFrame(columns | {"y": r.integers(0, 2, rows)}).write_parquet(tmp_path / "t", row_group_size=16384)
        arguments = [str(tmp_path / "t"), str(tmp_path / "c")]
        run = forked.run(MEMORY, *arguments)
        assert run.returncode == 0, run.stderr
        return int(run.stdout) / 1024

    assert peak(800_000) - peak(100_000) < 45  # MB; in memory the other rows would take 50, and encoded 50 more
