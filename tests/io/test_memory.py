"""What files take in memory: small ones that decode to gigabytes, in any format."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import subprocess
import sys
import zipfile

import numpy as np
import polars as pl
import pytest
from numpy.lib import format as npy

from torchbce import InputError
from torchbce.cli.shared import shards
from torchbce.comparison import file as pairs_file
from torchbce.explanation.sketch import archive
from torchbce.explanation.sketch import file as sketch_file
from torchbce.io import windows
from torchbce.io.arrow_batches import largest_batch
from torchbce.io.scan import read_batches
from torchbce.io.size import CELL_BYTES, TEXT_COPIES, fits_in_memory
from torchbce.io.source import SourceFile
from torchbce.table.columns import levels
from torchbce.table.columns.levels import Levels
from torchbce.table.packed import records, shuffled
from torchbce.table.packed.records import BLOCK, Layout
from torchbce.table.splits import row_sample
from torchbce.table.splits.row_sample import RowSample

PEAK = """
import resource, sys
from pathlib import Path
{imports}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{work}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
READ = (
    """
from torchbce.io.source import SourceFile
from torchbce.io.scan import column_names, read_batches
""",
    """
source = SourceFile(Path(sys.argv[1]), "t")
rows = sum(frame.height for _, frame in read_batches(source, column_names(source), "", rows=65536))
assert rows == int(sys.argv[2])
""",
)
PREPARE = (
    """
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.splits.holdout import Holdout
from torchbce.table.packed.prepare import prepare_stream
from torchbce.io.size import fits_in_memory
""",
    """
assert not fits_in_memory([sys.argv[1]], 900e6)
stream = prepare_stream([sys.argv[1]], ColumnRoles("y"), Holdout(), seed=1, pieces=8, format=None,
                        folder=Path(sys.argv[1] + ".cache"), on_rows=None)
assert stream.train.blocks
""",
)

REFUSED = (
    """
from torchbce.explanation.sketch.file import from_bytes
""",
    """
try:
    from_bytes(Path(sys.argv[1]).read_bytes())
    sys.exit("it was taken")
except ValueError as error:
    assert "would be unpacked to" in str(error)
""",
)


def peak(program: tuple[str, str], *arguments: object) -> int:
    """MB beyond what the imports take."""
    source = PEAK.format(imports=program[0], work=program[1])
    command = [sys.executable, "-c", source, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def constant(rows: int, columns: int) -> pl.DataFrame:
    """A target, and columns of one value, which take no memory before they are written."""
    made = pl.select(y=(pl.int_range(rows) // 7 % 2).cast(pl.Int8), x=(pl.int_range(rows) // 3 % 5).cast(pl.Float64))
    return made.with_columns([pl.lit(float(i)).alias(f"c{i}") for i in range(columns)])


@pytest.mark.slow
def test_a_row_group_that_decodes_to_a_gigabyte_is_read_in_parts(tmp_path):
    constant(1_200_000, 100).write_parquet(tmp_path / "t", row_group_size=1_200_000)
    assert (tmp_path / "t").stat().st_size < 1_000_000
    assert peak(READ, tmp_path / "t", 1_200_000) < 250  # 970 where a row group is decoded at once


@pytest.mark.slow
def test_such_a_file_is_packed_within_bounds(tmp_path):
    constant(300_000, 40).write_parquet(tmp_path / "t", row_group_size=300_000)
    assert peak(PREPARE, tmp_path / "t") < 300


def test_what_fits_is_known_by_rows_and_not_by_bytes_on_the_disk(tmp_path):
    constant(100_000, 4).write_parquet(tmp_path / "t.parquet")
    constant(100_000, 4).write_ipc(tmp_path / "t.arrow", compression="zstd", record_batch_size=10_000)
    table = constant(100_000, 4).write_csv().encode()
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(table))
    taken = 100_000 * 6 * CELL_BYTES
    for name in ("t.parquet", "t.arrow", "t.csv.gz"):
        path = tmp_path / name
        assert 100 * path.stat().st_size < taken, name
        assert fits_in_memory([str(path)], taken + 1), name
        assert not fits_in_memory([str(path)], taken - 1), name
        assert not fits_in_memory([str(path), str(path)], 2 * taken - 1), name  # the file of --test too


def test_long_texts_are_counted_however_few_there_are(tmp_path):
    texts = pl.Series("s", ["a" * 5000, "b" * 5000]).gather(np.arange(2000) % 2)
    table = pl.DataFrame({"s": texts, "y": np.arange(2000) % 2})
    table.write_parquet(tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 5000
    taken = 2000 * 5000 * TEXT_COPIES
    assert fits_in_memory([str(tmp_path / "t.parquet")], taken + 1)
    assert not fits_in_memory([str(tmp_path / "t.parquet")], taken - 1)


def test_long_texts_are_read_in_parts_in_every_format(tmp_path, monkeypatch):
    lengths = np.random.default_rng(0).integers(0, 300, 500)
    table = pl.DataFrame({"^s$": ["x" * int(n) or None for n in lengths], "n": np.arange(500)})
    table.write_parquet(tmp_path / "t.parquet")
    table.write_ipc(tmp_path / "t.arrow")
    table.write_csv(tmp_path / "t.csv")
    monkeypatch.setattr(windows, "WINDOW_BYTES", 1000)
    for name in ("t.parquet", "t.arrow", "t.csv"):
        found = list(read_batches(SourceFile(tmp_path / name, name), ["^s$", "n"], "", rows=100))
        assert [number for number, _ in found] == [1, *(1 + np.cumsum([f.height for _, f in found])[:-1]).tolist()]
        whole = pl.concat([frame for _, frame in found])
        assert whole["n"].cast(pl.Int64).to_list() == list(range(500)), name
        assert whole["^s$"].to_list() == table["^s$"].to_list(), name
        assert max(int(windows.text_lengths(frame).sum()) for _, frame in found) <= 1000, name


def test_rows_of_a_part_are_those_of_the_whole_whatever_a_slice_holds(tmp_path, monkeypatch):
    pl.DataFrame({"n": np.arange(1000)}).write_parquet(tmp_path / "t", row_group_size=170)
    monkeypatch.setattr(windows, "SLICE_BYTES", 8 * 37)
    found = [
        (first, frame["n"].to_list())
        for k in range(3)
        for first, frame in read_batches(SourceFile(tmp_path / "t", "t"), ["n"], "", (k, 3))
    ]
    assert all(values[0] == first - 1 for first, values in found)
    assert [value for _, values in found for value in values] == list(range(1000))


def test_a_record_batch_that_is_larger_than_memory_is_refused(tmp_path):
    constant(100_000, 4).write_ipc(tmp_path / "t.arrow", compression="zstd", record_batch_size=100_000)
    source = SourceFile(tmp_path / "t.arrow", "t.arrow")
    assert largest_batch(source) == 100_000
    with pytest.raises(InputError, match=r"largest record batch has 100,000 rows, which take 4,100,000 bytes"):
        fits_in_memory([str(tmp_path / "t.arrow")], 4e6)
    constant(100_000, 4).write_ipc(tmp_path / "t.arrow", compression="zstd", record_batch_size=30_000)
    assert largest_batch(source) == 30_000
    assert not fits_in_memory([str(tmp_path / "t.arrow")], 4e6)


def test_damaged_footers_of_arrow_files_are_said_to_be_damaged(tmp_path):
    table = constant(1000, 2)
    table.write_ipc(tmp_path / "t.arrow", record_batch_size=100)
    whole = (tmp_path / "t.arrow").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(whole)
        for place in len(whole) - 1 - rng.integers(0, 500, 4):
            changed[int(place)] = int(rng.integers(256))
        (tmp_path / "t.arrow").write_bytes(changed)
        with contextlib.suppress(InputError):
            largest_batch(SourceFile(tmp_path / "t.arrow", "t.arrow"))
    (tmp_path / "t.arrow").write_bytes(whole[:-60])
    with pytest.raises(InputError, match=r"t.arrow is a damaged or truncated Arrow file"):
        largest_batch(SourceFile(tmp_path / "t.arrow", "t.arrow"))


def test_windows_of_training_hold_fewer_blocks_of_wide_tables():
    narrow, wide = (Layout(cut=columns, plain=0, coded=0, weighted=False) for columns in (10, 1000))
    assert narrow.blocks_within(64) == 64
    assert wide.blocks_within(64) * wide.block_bytes(BLOCK) <= records.WINDOW < 8 * wide.block_bytes(BLOCK)
    assert Layout(cut=100_000, plain=0, coded=0, weighted=False).blocks_within(64) == 1
    assert shuffled.Shuffled.__init__.__defaults__ == (64,)


def test_a_sample_is_smaller_where_its_rows_are_large(monkeypatch):
    monkeypatch.setattr(row_sample, "ROOM", 100_000)

    def sampled(batch: int) -> list[int]:
        sample = RowSample(1000, seed=1, purpose=2)
        for first in range(0, 5000, batch):
            numbers = np.arange(first, first + batch)
            places, keys = sample.chosen(numbers, np.ones(batch, bool))
            columns = {f"x{i}": numbers[places] for i in range(50)}
            sample.add(pl.DataFrame(columns), keys)
        assert sample.frame().estimated_size() <= 100_000
        return sample.frame()["x0"].to_list()

    assert sampled(100) == sampled(1000)
    assert len(sampled(500)) == 125  # 1,000 halved until 50 numbers and a key of each row fit


def test_levels_of_long_texts_are_fewer_and_the_frequent_ones_stay(monkeypatch):
    found = Levels(room=50_000)
    for batch in range(20):
        rare = [f"{batch}-{i}-" + "x" * 300 for i in range(50)]
        texts = pl.Series([*rare, *["often" + "y" * 300] * 50])
        found.add(texts, pl.Series(np.ones(100, bool)))
        assert found._bytes <= 50_000
    top = found.counts.sort("rows", descending=True).row(0, named=True)
    assert (top["level"], top["rows"]) == ("often" + "y" * 300, 1000)
    assert found.counts.estimated_size() <= 25_000
    assert found.distinct == 1001
    assert levels.Levels().add(pl.Series(["a", None]), pl.Series([True, True])) == 1


def a_sketch(magic: bytes, members: dict[str, bytes], listed: dict[str, int] | None = None) -> bytes:
    """With a digest that is right; `listed`: sizes that the archive states, others than those of the members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for member in archive.filelist:
            member.file_size = (listed or {}).get(member.filename, member.file_size)
    content = file.getvalue()
    return magic + hashlib.sha256(content).digest() + content


def npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("magic", [sketch_file.MAGIC, pairs_file.MAGIC])
def test_a_sketch_that_unpacks_to_gigabytes_is_refused_by_its_list_of_sizes(magic, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS", 1 << 20)
    bomb = a_sketch(magic, {"texts.npy": npy_header((1 << 20,)) + bytes(8 << 20)})
    assert len(bomb) < 10_000
    read = []
    monkeypatch.setattr(npy, "read_array", lambda *a, **k: read.append(a))
    restore = sketch_file.from_bytes if magic == sketch_file.MAGIC else pairs_file.from_bytes
    with pytest.raises(ValueError, match=r"its [\d,]+ bytes would be unpacked to 8,388,\d\d\d; at most [\d,]+ can be"):
        restore(bomb)
    assert not read


def test_a_sketch_that_lies_of_its_sizes_is_refused():
    small = npy_header((4,)) + bytes(32)
    huge = npy_header((1 << 40,)) + bytes(32)
    with pytest.raises(ValueError, match=r"texts.npy says that it has 8,796,093,022,\d\d\d bytes, and has 160"):
        sketch_file.from_bytes(a_sketch(sketch_file.MAGIC, {"texts.npy": huge}))
    for content in (npy_header((1 << 20,)) + bytes(8 << 20), small + bytes(1 << 20)):
        lying = a_sketch(sketch_file.MAGIC, {"texts.npy": content}, {"texts.npy": len(small)})
        with pytest.raises(ValueError, match="this sketch was not made by torchbce: Bad CRC"):
            sketch_file.from_bytes(lying)


@pytest.mark.slow
def test_a_sketch_of_a_gigabyte_takes_none_of_it(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made, made.open("texts.npy", "w") as into:
        into.write(npy_header((1 << 26,)))
        for _ in range(1 << 9):
            into.write(bytes(1 << 20))
    content = file.getvalue()
    (tmp_path / "s").write_bytes(sketch_file.MAGIC + hashlib.sha256(content).digest() + content)
    assert peak(REFUSED, tmp_path / "s") < 40


def test_a_compressed_sketch_is_not_read_where_it_is_too_large(command, monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "MOST", 1000)
    (tmp_path / "s.gz").write_bytes(gzip.compress(sketch_file.MAGIC + bytes(2000)))
    found = command("explain", "--merge", tmp_path / "s.gz")
    assert found.exit_code == 3
    assert "it has 2,018 bytes, and a sketch at most 1,000" in " ".join(found.stderr.split())
