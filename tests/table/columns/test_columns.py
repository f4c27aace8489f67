"""What a column is and how it is encoded is the same however its table is cut into batches."""

from __future__ import annotations

import datetime
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchbce.io.files import FileRows
from torchbce.io.kinds import typed
from torchbce.table.columns import fitter
from torchbce.table.columns.column_type import ColumnType
from torchbce.table.columns.columns import FittedColumn, NumericColumn
from torchbce.table.columns.fitter import ColumnFitter
from torchbce.table.columns.infer import fit_encoders, infer_column_types
from torchbce.table.columns.levels import Levels
from torchbce.table.columns.requirements import USABLE
from torchbce.table.columns.target_encoder import TargetEncoder

FLOATS = st.floats(-1e300, 1e300, allow_subnormal=False)
DAYS = st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1))
STORED = {
    "floats": (FLOATS, pl.Float64),
    "few whole numbers": (st.integers(-3, 3), pl.Int64),
    "whole numbers": (st.integers(-(10**12), 10**12), pl.Int64),
    "booleans": (st.booleans(), pl.Boolean),
    "days": (DAYS, pl.Date),
    "moments": (st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2100, 1, 1)), pl.Datetime("us")),
    "texts": (st.sampled_from(["a", "b", " b ", "z z", "ä"]), pl.String),
    "many texts": (st.integers(0, 10**6).map("n{}".format), pl.String),
}
WRITTEN = {
    "floats": FLOATS.map(repr),
    "whole numbers": st.integers(-3, 10**6).map(str),
    "amounts": st.integers(1000, 10**6).map("${:,}".format),
    "both": st.one_of(st.integers(0, 9).map(str), st.integers(0, 9).map("{}.5".format)),
    "booleans": st.sampled_from(["true", "False", "TRUE"]),
    "days": DAYS.map("{:%Y-%m-%d}".format),
    "moments": st.datetimes(datetime.datetime(1970, 1, 1)).map("{:%Y-%m-%d %H:%M}".format),
    "texts": st.sampled_from(["a", "b", " b ", "z z", "ä"]),
}
GAPS = st.sampled_from([None, "", "NA", "?"])  # as they may be written


@pytest.fixture(autouse=True, scope="module")
def few_rows_are_many():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitter, "MANY_ROWS", 10)
        yield


@st.composite
def series(draw: st.DrawFn) -> pl.Series:
    """A column as a Parquet file stores it, or as it stands in a CSV file; with gaps, without, and of gaps alone."""
    gaps = draw(st.sampled_from(["none", "some", "all"]))
    if draw(st.booleans()):
        values, dtype = draw(st.sampled_from(list(STORED.values())))
        cell = {"none": values, "some": st.one_of(st.none(), values), "all": st.none()}[gaps]
    else:
        values, dtype = draw(st.sampled_from(list(WRITTEN.values()))), pl.String
        cell = {"none": values, "some": st.one_of(GAPS, values), "all": GAPS}[gaps]
    if draw(st.integers(0, 9)) == 0:
        rows = draw(st.integers(1, 60))
        return pl.Series("x", np.arange(rows) + draw(st.integers(-5, 5)))
    return pl.Series("x", draw(st.lists(cell, min_size=1, max_size=60)), dtype=dtype)


@st.composite
def cuts(draw: st.DrawFn, rows: int) -> list[int]:
    return [0, *sorted(draw(st.sets(st.integers(1, rows - 1), max_size=5)) if rows > 1 else []), rows]


def of_batches(
    values: pl.Series, cuts: list[int], train: np.ndarray, weight: np.ndarray | None, *, is_category: bool
) -> tuple[str, list[FittedColumn]]:
    found = ColumnFitter(ColumnType(values.name, ".", is_category=is_category), Levels())
    for start, stop in itertools.pairwise(cuts):
        name, some = FileRows("t", 1 + start), train[start:stop]
        read = found.type.read(values[start:stop], name)
        found.add(read, some, None if weight is None else weight[start:stop][some], name)
    kind = found.kind()
    return kind, found.encoders(kind) if kind in USABLE else []


def of_one_batch(
    values: pl.Series, train: np.ndarray, weight: np.ndarray | None, *, is_category: bool
) -> tuple[str, list[FittedColumn]]:
    table, read = typed(values.to_frame(), "t", ".", set())
    kinds = infer_column_types(table, [], [values.name] if is_category else [], FileRows("t"))
    usable = {name: kind for name, kind in kinds.items() if kind in USABLE}
    some = None if weight is None else weight[train]
    return kinds[values.name], fit_encoders(
        table.filter(pl.Series(train)), usable, FileRows("t"), ".", read.dates, some
    )


@given(st.data())
def test_columns_fitted_from_any_batches_are_those_fitted_from_one(data):
    values = data.draw(series())
    rows = len(values)
    train = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    weighted = data.draw(st.booleans())
    weight = np.array(data.draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows))) / 2 if weighted else None
    is_category = data.draw(st.booleans())
    kind, columns = of_batches(values, data.draw(cuts(rows)), train, weight, is_category=is_category)
    expected_kind, expected = of_one_batch(values, train, weight, is_category=is_category)
    assert kind == expected_kind
    assert [c.model_dump(exclude={"mean", "scale"}) for c in columns] == [
        c.model_dump(exclude={"mean", "scale"}) for c in expected
    ]
    for column, other in zip(columns, expected, strict=True):
        if isinstance(column, NumericColumn):
            size = max(abs(other.low), abs(other.high))
            assert column.mean == pytest.approx(other.mean, rel=1e-12, abs=1e-13 * size)
            differ = min(column.scale, other.scale) > 1e-12 * size  # else the values are one but for rounding
            assert not differ or column.scale == pytest.approx(other.scale, rel=1e-9 + 1e-14 * size / other.scale)


@given(st.data())
def test_a_target_is_the_same_in_any_batches(data):
    ways = data.draw(
        st.sampled_from([(["yes"], ["no", " no"]), (["1", "1.0"], ["0", "0.0"]), (["True", "true"], ["FALSE"])])
    )
    y = data.draw(st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda y: 0 < sum(y) < len(y)))
    values = pl.Series("y", [data.draw(st.sampled_from(ways[not one])) for one in y])
    encoder, codes = TargetEncoder("y"), []
    borders = data.draw(cuts(len(y)))
    for start, stop in itertools.pairwise(borders):
        codes.append(encoder.codes(values[start:stop], FileRows("t", 1 + start)))
    target = encoder.target(None, "t")
    table, _ = typed(values.to_frame(), "t", ".", set())
    expected, ones = TargetEncoder.of_table(table, "y", None, FileRows("t"))
    assert target == expected
    assert encoder.ones(target, "t")[np.concatenate(codes)].tolist() == ones.tolist() == y
    assert encoder.encode(values, target, FileRows("t")).to_list() == y
