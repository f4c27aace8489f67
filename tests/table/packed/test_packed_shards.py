"""Tables in several files, targets and weights that are refused with their row, and sums over batches."""

from __future__ import annotations

import fractions
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import packed_tables
from packed_tables import ROWS, parts_of, prepared, rows_of, written
from torchbce import InputError
from torchbce.common.splitmix import hashed
from torchbce.io import shards
from torchbce.io.scan import expand_names
from torchbce.table.columns import levels
from torchbce.table.columns.levels import Levels, most_frequent
from torchbce.table.columns.moments import Moments
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.network.bins import bins_and_fractions, quantile_bin_edges
from torchbce.table.packed.pieces import Pieces
from torchbce.table.splits.row_sample import RowSample

table = packed_tables.table
few_rows_are_many = packed_tables.few_rows_are_many


def test_a_folder_stands_for_its_tables_in_order(table, tmp_path):
    folder = tmp_path / "t"
    written(table, folder, "csv", 3)
    (folder / ".hidden.csv").write_text("z\n")
    (folder / "notes.txt").write_text("z")
    assert [Path(name).name for name in expand_names([str(folder)])] == ["part-0.csv", "part-1.csv", "part-2.csv"]
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
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 100)

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
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 500)

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
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 500)
    answers = table["y"].to_list()
    ways = {"yes": ["1", "1.0", "1.00"], "no": ["0", " 0", "0.0"]}
    column = [ways[y][i * 3 // ROWS] for i, y in enumerate(answers)]
    table.with_columns(y=pl.Series(column)).write_csv(tmp_path / "t.csv")
    stream = prepared([str(tmp_path / "t.csv")], tmp_path / "c")
    assert (stream.described.target.positive, stream.described.target.negative) == ("1", "0")
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
    monkeypatch.setattr(shards, "MAX_BATCH_ROWS", 500)

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
    edges = quantile_bin_edges(numbers[:3000], 64)
    pieces = Pieces(edges, numbers.shape[1])
    used = [edges[i] for i in pieces.cut]
    most = max(len(cuts) for cuts in used) - 1
    start, length = np.zeros((2, len(used), most), np.float32)
    for i, cuts in enumerate(used):
        start[i, : len(cuts) - 1], length[i, : len(cuts) - 1] = cuts[:-1], np.diff(cuts)
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = np.concatenate([numbers, numbers * 3, -numbers, *(np.tile(c[:, None], 8) for c in used)])
        expected = bins_and_fractions(beyond[:, pieces.cut], start, length)
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
