"""Whatever a user hands over as X, y, weights, groups or an eval set works, or is refused by a message written here."""

from __future__ import annotations

import datetime
import traceback
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from torchbce import BCEClassifier, load
from torchbce.io.frames import to_frame

ROWS = 60
QUICK = {"epochs": 1, "members": 1, "hidden": (), "trees": False, "random_state": 0}
# scikit-learn's own check of arrays, whose messages its users know and its tests ask for.
ACCEPTED = ("torchbce/", "sklearn/utils/validation.py")


def table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "c": rng.choice(list("uvw"), rows)})


X, Y = table(), np.arange(ROWS) % 2
ARRAY = X[["a", "b"]].to_numpy().copy()
CASES = Path(torch.__file__)  # any object that is no table


def objects(*values: Any) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def repeated(*values: Any) -> np.ndarray:
    """An object array of as many values as there are rows."""
    return objects(*(values * ROWS)[:ROWS])


def refused(call: Callable[[], object]) -> str | None:
    """The message of an error that was written here, None where all went well; any other error fails the test."""
    found: Exception | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except (ValueError, TypeError) as error:
        found = error
    if found is None:
        return None
    raised_in = traceback.extract_tb(found.__traceback__)[-1].filename
    assert any(place in raised_in for place in ACCEPTED), "".join(traceback.format_exception(found))
    return str(found)


TABLES: dict[str, tuple[Any, str | None]] = {
    "a frame": (X, None),
    "polars": (pl.from_dict({name: X[name].to_list() for name in X}), None),
    "lazy": (pl.from_dict({name: X[name].to_list() for name in X}).lazy(), None),
    "an array": (ARRAY, None),
    "a list of lists": (ARRAY.tolist(), None),
    "a tensor": (torch.from_numpy(ARRAY), None),
    "a series": (X["a"], "X is Series of the shape"),
    "a polars series": (pl.Series("a", ARRAY[:, 0]), "Expected 2D array, got 1D array"),
    "one dimension": (ARRAY[:, 0], "Expected 2D array, got 1D array"),
    "three dimensions": (ARRAY[None], "Found array with dim 3"),
    "a dict": ({"a": ARRAY[:, 0]}, "Expected 2D array, got scalar"),
    "nothing": (None, "Expected 2D array, got scalar"),
    "a path": (CASES, "Expected 2D array, got scalar"),
    "a text": ("t.csv", "Expected 2D array, got scalar"),
    "sparse": (sparse.csr_matrix(ARRAY), "Sparse data was passed"),
    "lists of different lengths": ([[1.0], [1.0, 2.0]], "X is a list of rows of different lengths"),
    "complex": (ARRAY + 1j, "Complex data not supported"),
    "a complex column": (X.assign(d=np.arange(ROWS) * 1j), "column 'd' holds 0j, a complex"),
    "no rows": (X[:0], "with 0 rows and 3 columns"),
    "no columns": (X[[]], "with 0 rows and 0 columns"),
    "no rows in an array": (ARRAY[:0], "0 sample"),
    "no columns in an array": (ARRAY[:, :0], "0 feature"),
    "one row": (X[:1], "1 sample"),
    "fewer rows": (X[:7], "X has 7 rows, y has 60: inconsistent numbers of samples"),
    "doubled names": (X[["a", "b", "a"]], "X has more than one column 'a'"),
    "names that are written alike": (X.set_axis([1, "1", 2], axis=1), "X has more than one column '1'"),
    "numbers as names": (X.set_axis([1, 2, 3], axis=1), None),
    "names of several kinds": (X.set_axis(["a", 2, None], axis=1), None),
    "two levels of names": (X.set_axis(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]), axis=1), None),
    "another index": (X.set_axis(np.arange(ROWS)[::-1] * 3, axis=0), None),
    "two levels of rows": (X.set_axis(pd.MultiIndex.from_arrays([np.arange(ROWS), np.arange(ROWS)]), axis=0), None),
    "a doubled index": (X.set_axis(np.zeros(ROWS), axis=0), None),
    "lists": (X.assign(d=[[1]] * ROWS), "column 'd' holds [1], a list"),
    "dicts": (X.assign(d=[{"a": 1}] * ROWS), "column 'd' holds {'a': 1}, a dict"),
    "bytes": (X.assign(d=[b"a"] * ROWS), "column 'd' holds b'a', a bytes"),
    "objects": (X.assign(d=repeated(CASES, object())), "a object"),
    "polars lists": (pl.DataFrame({"a": [[1]] * ROWS}), "holds List(Int64)"),
    "polars structs": (pl.DataFrame({"a": [{"b": 1}] * ROWS}), "holds Struct"),
    "infinite": (X.assign(d=[np.inf, *range(ROWS - 1)]), "infinite values cannot be scaled"),
    "NA in an array": (np.stack([repeated(pd.NA, "x", "y", "x"), repeated(1, 2, pd.NA)], 1), None),
    "nothing but gaps": (X.assign(a=np.nan, b=pd.NA), None),
}
LABELS: dict[str, tuple[Any, str | None]] = {
    "a list": (Y.tolist(), None),
    "a series": (pd.Series(Y), None),
    "a series of another index": (pd.Series(Y, index=np.arange(ROWS)[::-1]), None),
    "polars": (pl.Series(Y), None),
    "a frame": (pd.DataFrame({"y": Y}), None),
    "a polars frame": (pl.DataFrame({"y": Y}), None),
    "a tensor": (torch.from_numpy(Y), None),
    "a column": (Y[:, None], None),
    "booleans": (Y == 1, None),
    "texts": (np.array(["no", "yes"])[Y], None),
    "texts with spaces": (np.array(["no ", "yes"])[Y], None),
    "a category": (pd.Series(np.array(["no", "yes"])[Y]).astype("category"), None),
    "pandas strings": (pd.array(np.array(["no", "yes"])[Y], dtype="string"), None),
    "pandas booleans": (pd.array(Y == 1, dtype="boolean"), None),
    "pandas integers": (pd.array(Y, dtype="Int64"), None),
    "objects": ((Y == 1).astype(object), None),
    "whole floats": (Y * 1.0, None),
    "None": (None, "requires y to be passed"),
    "a None": (repeated("a", "b", None), "y has no label in row 3 (20 such rows)"),
    "NaN": (np.where(np.arange(ROWS) == 4, np.nan, Y), "y has no label in row 5 (1 such rows)"),
    "a text and NaN": (repeated("a", np.nan), "y has no label in row 2"),
    "pandas strings with NA": (pd.array(["a", pd.NA, "b"] * 20, dtype="string"), "y has no label in row 2"),
    "pandas integers with NA": (pd.array([0, pd.NA, 1] * 20, dtype="Int64"), "y has no label in row 2"),
    "a category with NA": (pd.Series(["a", None, "b"] * 20).astype("category"), "y has no label in row 2"),
    "polars with null": (pl.Series([0, None, 1] * 20), "y has no label in row 2"),
    "dates with NaT": (pd.Series([pd.NaT, pd.Timestamp(0)] * 30), "y has no label in row 1"),
    "texts and numbers": (repeated("a", 1), "y holds 1, a int, beside 'a'"),
    "dates": (pd.Series(pd.date_range("2020", periods=2).repeat(30)), "Unknown label type: y holds datetime64"),
    "lists": ([[0], [0, 1]] * 30, "items of different lengths"),
    "tuples": (repeated((1, 2), (3, 4)), "Unknown label type: y holds (1, 2), a tuple"),
    "bytes": (np.array([b"a", b"b"])[Y], "Unknown label type: y holds |S1"),
    "complex": (Y * 1j, "Unknown label type: y holds complex128"),
    "numbers between": (np.linspace(0, 1, ROWS), "Unknown label type: y is continuous"),
    "infinite": (np.where(Y, np.inf, 0), "infinity"),
    "one class": (np.zeros(ROWS), "y holds one class only, 0.0"),
    "three classes": (np.arange(ROWS) % 3, "Only binary classification is supported"),
    "two columns": (np.stack([Y, Y], 1), "y is ndarray of the shape (60, 2); it is one label for each row"),
    "a number": (1, "y is int; it is one label for each row"),
    "a dict": ({"y": 1}, "y is dict; it is one label for each row"),
    "no labels": ([], "X has 60 rows, y has 0"),
}
WEIGHTS: dict[str, tuple[Any, str | None]] = {
    "a list": ([1.0] * ROWS, None),
    "a series": (pd.Series(np.ones(ROWS), index=np.arange(ROWS)[::-1]), None),
    "polars": (pl.Series([1] * ROWS), None),
    "pandas integers": (pd.array([1] * ROWS, dtype="Int64"), None),
    "booleans": (np.arange(ROWS) < 50, None),
    "a number": (2, None),
    "a column": (np.ones((ROWS, 1)), None),
    "a wrong length": (np.ones(7), "X has 60 rows, sample_weight has 7"),
    "two columns": (np.ones((ROWS, 2)), "it is one value for each row"),
    "NaN": ([np.nan, *[1.0] * (ROWS - 1)], "sample_weight of row 1 is missing (NaN)"),
    "NA": (pd.array([1, pd.NA, *[1] * (ROWS - 2)], dtype="Int64"), "sample_weight of row 2 is missing (NaN)"),
    "negative": ([1.0, -1.0, *[1.0] * (ROWS - 2)], "sample_weight of row 2 is -1, negative"),
    "infinite": ([np.inf, *[1.0] * (ROWS - 1)], "sample_weight of row 1 is inf"),
    "zero": (np.zeros(ROWS), "sample_weight is zero in all rows"),
    "of one class alone": (Y, "y holds one class only, 1"),
    "texts": (["a"] * ROWS, "sample_weight holds String, such as 'a'"),
    "lists": ([[1], [1, 2]] * 30, "items of different lengths"),
    "a text": ("balanced", "sample_weight holds String, such as 'balanced'"),
    "a dict": ({0: 1.0}, "it is one value for each row"),
    "dates": (pd.date_range("2020", periods=ROWS), "sample_weight holds Datetime"),
}
GROUPS: dict[str, tuple[Any, str | None]] = {
    "a list": ((np.arange(ROWS) // 3).tolist(), None),
    "texts with gaps": (repeated("a", "b", "c", "d", "e", "f", "g", None), None),
    "a category": (pd.Series(list("abcdef") * 10).astype("category"), None),
    "NA": (pd.array([1, 2, 3, 4, 5, pd.NA] * 10, dtype="Int64"), None),
    "dates": (pd.date_range("2020", periods=ROWS), None),
    "a wrong length": ([1, 2], "X has 60 rows, groups has 2"),
    "lists": ([[1]] * 30 + [[1, 2]] * 30, "items of different lengths"),
    "a number": (3, "groups is int, of the shape (); it is one value for each row"),
}
EVAL_SETS: dict[str, tuple[Any, str | None]] = {
    "a pair": ((X, Y), None),
    "a list of one pair": ([(X, Y)], None),
    "lists": ([[X, Y]], None),
    "an array": ((ARRAY, Y), "eval_set's X has no column 'a'"),
    "other columns too": ((X.assign(d=1)[["d", "c", "b", "a"]], Y), None),
    "two pairs": ([(X, Y), (X, Y)], "eval_set holds 2 pairs"),
    "a frame": (X, "eval_set is a DataFrame of the shape (60, 3)"),
    "no pair": ((), "eval_set is a tuple of 0"),
    "a dict": ({"X": X}, "eval_set is a dict"),
    "a column less": ((X[["a", "b"]], Y), "eval_set's X has no column 'c'"),
    "another kind": ((X.assign(a="x"), Y), "eval_set's X holds String in column 'a', where X holds Float64"),
    "fewer labels": ((X, Y[:5]), "eval_set's y has 5"),
    "a label that is missing": ((X, [None, *Y[1:].tolist()]), "eval_set's y has no label in row 1"),
    "another label": ((X, Y + 1), "eval_set's y holds 2; the classes of y are [0, 1]"),
    "labels of another kind": ((X, np.array(["a", "b"])[Y]), "eval_set's y holds 'a'"),
    "no rows": ((X[:0], Y[:0]), "eval_set"),
}


def expect(call: Callable[[], object], message: str | None) -> None:
    found = refused(call)
    assert (found is None) if message is None else message in (found or "nothing was said"), found


@pytest.mark.parametrize("case", TABLES)
def test_tables_to_learn_from(case):
    given, message = TABLES[case]
    expect(lambda: BCEClassifier(**QUICK).fit(given, Y).predict_proba(given), message)


@pytest.mark.parametrize("case", LABELS)
def test_labels(case):
    given, message = LABELS[case]
    expect(lambda: BCEClassifier(**QUICK).fit(X, given), message)


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights(case):
    given, message = WEIGHTS[case]
    expect(lambda: BCEClassifier(**QUICK).fit(X, Y, given), message)


@pytest.mark.parametrize("case", GROUPS)
def test_groups(case):
    given, message = GROUPS[case]
    expect(lambda: BCEClassifier(**QUICK).fit(X, Y, groups=given), message)


@pytest.mark.parametrize("case", EVAL_SETS)
def test_eval_sets(case):
    given, message = EVAL_SETS[case]
    expect(lambda: BCEClassifier(**QUICK).fit(X, Y, eval_set=given), message)


@pytest.fixture(scope="module", params=["fitted", "loaded"])
def model(request, tmp_path_factory) -> BCEClassifier:
    """Of columns a, b and c, fitted here or read from a run folder: no difference is to be seen."""
    model = BCEClassifier(**QUICK).fit(X, Y)
    if request.param == "fitted":
        return model
    folder = tmp_path_factory.mktemp("inputs") / "run"
    model.save(folder)
    return load(folder)


def test_columns_are_found_by_their_names(model):
    expected = model.predict_proba(X)
    assert (model.predict_proba(X[["c", "a", "b"]]) == expected).all()
    assert (model.predict_proba(X.assign(more=[[1]] * ROWS)[["more", "c", "b", "a"]]) == expected).all()
    assert (model.predict_proba(X.assign(more=1)[["more", "c", "b", "a"]]) == expected).all()
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        assert (model.predict_proba(X.to_numpy()) == expected).all()


NEW_ROWS: dict[str, tuple[Any, str | None]] = {
    **{name: case for name, case in TABLES.items() if case[1] is not None and isinstance(case[0], np.ndarray | str)},
    "a series": (X["a"], "X is Series of the shape"),
    "a column less": (X[["b", "c"]], "X has no column 'a', which the model needs"),
    "two columns less": (X[["b"]], "X has no columns 'a', 'c', which the model needs"),
    "an array of fewer columns": (ARRAY, "X has 2 features, but BCEClassifier is expecting 3 features as input"),
    "an array of texts": (np.full((3, 3), "x"), "the model takes this column as numbers"),
    "doubled names": (X[["a", "b", "c", "a"]], "X has more than one column 'a'"),
    "texts": (X.assign(a="x"), "the model takes this column as numbers"),
    "lists": (X.assign(a=[[1]] * ROWS), "column 'a' holds [1], a list"),
    "infinite": (X.assign(a=np.inf), "infinite values cannot be scaled"),
    "numbers where texts were": (X.assign(c=1), None),
    "no rows": (X[:0], None),
    "gaps": (X.assign(a=pd.NA, b=None, c=pd.Series([pd.NA] * ROWS, dtype="string")), None),
    "nothing": (None, "Expected 2D array"),
    "sparse": (sparse.csr_matrix(np.ones((3, 3))), "Sparse data was passed"),
}


@pytest.mark.parametrize("case", NEW_ROWS)
def test_new_rows(model, case):
    given, message = NEW_ROWS[case]
    for method in (model.predict, model.predict_proba, model.decision_function):
        expect(lambda method=method: method(given), message)
    expect(lambda: model.score(given, Y[: getattr(given, "shape", (0,))[0]]), message) if case != "no rows" else None


def test_a_frame_for_a_model_of_an_array_is_taken_in_order():
    model = BCEClassifier(**QUICK).fit(ARRAY, Y)
    with pytest.warns(UserWarning, match="fitted without feature names: its columns are taken in their order"):
        assert (model.predict_proba(X[["a", "b"]]) == model.predict_proba(ARRAY)).all()
    assert "X has no columns 'x0', 'x1'" in str(refused(lambda: model.predict(X)))  # three columns, for two


GAPS: dict[str, tuple[Any, list[Any]]] = {
    "string": (pd.array(["a", pd.NA, "b"], dtype="string"), ["a", None, "b"]),
    "str": (pd.array(["a", None, "b"], dtype="str"), ["a", None, "b"]),
    "Int64": (pd.array([1, pd.NA, 2], dtype="Int64"), [1, None, 2]),
    "UInt8": (pd.array([1, pd.NA, 2], dtype="UInt8"), [1, None, 2]),
    "Float64": (pd.array([1.5, pd.NA, np.nan], dtype="Float64"), [1.5, None, None]),
    "boolean": (pd.array([True, pd.NA, False], dtype="boolean"), [True, None, False]),
    "category": (pd.Categorical(["a", None, "b"]), ["a", None, "b"]),
    "category of strings": (pd.Series(["a", pd.NA, "b"], dtype="string").astype("category"), ["a", None, "b"]),
    "datetime": (pd.to_datetime(["1970-01-02", None, "1970-01-01"]), [86_400, None, 0]),
    "time zone": (
        pd.to_datetime(["1970-01-02", None, "1970-01-01"]).tz_localize("Europe/Berlin"),
        [82_800, None, -3600],
    ),
    "timedelta": (pd.to_timedelta([1, None, 2], unit="D"), [1.0, None, 2.0]),
    "objects": (objects("a", pd.NA, np.nan), ["a", None, None]),
    "object numbers": (objects(1, pd.NA, Decimal("2.5")), [1.0, None, 2.5]),
    "object booleans": (objects(True, pd.NA, np.bool_(False)), [1.0, None, 0.0]),
    "object moments": (objects(pd.Timestamp(0), pd.NaT, datetime.date(1970, 1, 2)), [0, None, 86_400]),
    "a mixture": (objects("a", pd.NaT, 1), ["a", None, "1"]),
    "polars category": (pl.Series(["a", None, "b"], dtype=pl.Categorical), ["a", None, "b"]),
    "polars decimal": (pl.Series([Decimal("1.5"), None]), [1.5, None]),
    "polars NaN": (pl.Series([1.5, float("nan"), None]), [1.5, None, None]),
    "polars time zone": (pl.Series([0, None]).cast(pl.Datetime("ms", "Asia/Tokyo")), [0, None]),
    "polars objects": (pl.Series([1, None], dtype=pl.Object), [1.0, None]),
    "arrow strings": ("string[pyarrow]", ["a", None, "b"]),
    "arrow numbers": ("int64[pyarrow]", [1, None, 2]),
    "arrow booleans": ("bool[pyarrow]", [True, None, False]),
    "arrow moments": ("timestamp[us][pyarrow]", [0, None, 1]),
}


@pytest.mark.parametrize("case", GAPS)
def test_gaps_of_every_kind_are_gaps(case):
    values, expected = GAPS[case]
    if isinstance(values, str):
        pytest.importorskip("pyarrow")
        values = pd.array(
            [v if v is None or "time" not in values else pd.Timestamp(v, unit="s") for v in expected], values
        )
    frame = pl.DataFrame([values.alias("c")]) if isinstance(values, pl.Series) else pd.DataFrame({"c": values})
    found = to_frame(frame)["c"]
    assert (found.dt.epoch("s") if found.dtype == pl.Datetime else found).to_list() == expected
    if isinstance(values, np.ndarray):
        assert to_frame(values[:, None])["x0"].to_list() == found.to_list()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.just(pd.NA),
            st.just(pd.NaT),
            st.floats(),
            st.integers(),
            st.booleans(),
            st.text("ab ", max_size=2),
            st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
            st.dates(),
            st.sampled_from([Decimal("1.5"), Decimal("NaN"), Decimal("sNaN")]),
            st.complex_numbers(),
            st.binary(max_size=2),
            st.lists(st.integers(), max_size=2),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_mixture_of_objects_is_read_or_refused(values):
    for frame in (pd.DataFrame({"c": pd.Series(values, dtype=object)}), objects(*values)[:, None]):
        found = []
        refused(lambda frame=frame, found=found: found.append(to_frame(frame)))
        for column in found:
            gaps = [str(value) in ("None", "nan", "<NA>", "NaT", "NaN", "sNaN") for value in values]
            assert column.to_series().is_null().to_list() == gaps
