"""What training tells nothing of gets the average answer: a category that it lacks, a gap where it had none."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch

from predicting import predict
from torchbce import BCEClassifier, RunFolderError, load
from torchbce.io.files import FileRows
from torchbce.table.columns.background import COUNT, StandIns, averaged_over, background, filled
from torchbce.table.columns.columns import FEWEST_OF_A_CODE, CalendarColumn, NumericColumn, encode, inputs_of
from torchbce.table.columns.infer import fit_encoders
from torchbce.table.run.export.files import exported_program
from torchbce.table.run.export.onnx import to_onnx

pytestmark = pytest.mark.filterwarnings("ignore:X. .* categories not seen in training:UserWarning")
MOMENT = datetime.datetime(2021, 3, 1)


def table(count: int, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """One category says nearly all, another column nothing: a row is of the class in 14 or 86 of 100."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b"], count)
    frame = pl.DataFrame({"kind": kind, "flag": kind == "a", "number": rng.normal(size=count)})
    return frame, rng.random(count) < np.where(kind == "a", 0.14, 0.86)


def new_row(**changes: object) -> pl.DataFrame:
    """A row with some other cells."""
    row = {"kind": "a", "flag": True, "number": 0.0} | changes
    return pl.DataFrame({name: [value] for name, value in row.items()}, schema_overrides={"kind": pl.String})


WAYS = {
    "logistic regression": (80, {}),
    "networks": (400, {"trees": False}),
    "trees": (400, {}),
    "a linear network": (400, {"hidden": ()}),
    "pieces": (2000, {"epochs": 4, "members": 2}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("column", ["kind", "flag"])
def test_unknown_cells_get_the_mean_over_the_values_of_the_training_rows(way, column):
    count, choices = WAYS[way]
    frame, y = table(count)
    model = BCEClassifier(random_state=0, **choices).fit(frame.select(column, "number"), y)
    each = {value: model.predict_proba(new_row(**{column: value}))[0, 1] for value in frame[column].unique()}
    assert abs(np.subtract(*each.values())) > 0.4
    mean = np.mean([each[value] for value in frame[column]])
    for unknown in ["new", None] if column == "kind" else [None]:
        assert model.predict_proba(new_row(**{column: unknown}))[0, 1] == pytest.approx(mean, abs=0.02)


def test_rows_beside_an_unknown_cell_are_as_they_were():
    frame, y = table(300)
    model = BCEClassifier(epochs=2, random_state=0).fit(frame, y)
    both = pl.concat([frame[:5], new_row(kind="new"), frame[5:9], new_row(number=None, flag=None)])
    found = model.decision_function(both)
    assert (np.delete(found, [5, 10]) == model.decision_function(frame[:9])).all()
    assert found[5] == model.decision_function(new_row(kind="new"))[0]
    assert np.isfinite(found).all()
    nothing = new_row(kind=None, flag=None, number=None)
    assert model.predict_proba(nothing)[0, 1] == pytest.approx(y.mean(), abs=0.1)


def test_gaps_and_rare_categories_are_learnt_where_training_has_enough_of_them():
    frame, _ = table(400)
    few, enough = FEWEST_OF_A_CODE - 1, FEWEST_OF_A_CODE
    cases = {"gaps": ([None] * enough, True, False), "few gaps": ([None] * few, False, False)}
    cases |= {
        "rare": ([f"r{i}" for i in range(enough)], False, True),
        "few": ([f"r{i}" for i in range(few)], False, False),
    }
    cases |= {"both": ([None] * 20 + [f"r{i}" for i in range(enough)], True, False)}
    for values, gaps, others in cases.values():
        kind = pl.Series("kind", [*values, *frame["kind"][len(values) :]])
        (column,) = fit_encoders(kind.to_frame(), {"kind": "categorical"}, FileRows("t"), ".", {})
        assert (column.gaps, column.others) == (gaps, others)
        codes = column.encode(pl.DataFrame({"kind": [None, "new", "a"]}, schema={"kind": pl.String}), FileRows("t"))[0]
        assert np.isnan(codes).tolist() == [not gaps, not others, False]


def test_a_month_that_training_lacks_is_unknown():
    days = pl.datetime_range(datetime.datetime(2020, 1, 1), datetime.datetime(2020, 6, 30), "7h", eager=True)
    columns = fit_encoders(days.to_frame("when"), {"when": "numeric"}, FileRows("t"), ".", {})
    months = encode(pl.DataFrame({"when": [MOMENT, MOMENT.replace(month=9), None]}), columns, FileRows("t"))
    assert np.isnan(months).tolist() == [[False] * 4, [False, True, False, False], [True] * 4]


def test_values_for_unknown_cells_come_as_often_as_in_training():
    rows = np.array([[0.0, 1.0]] * 30 + [[1.0, 2.0]] * 10 + [[np.nan, 3.0]] * 5, np.float32)
    for weight, share in ((None, 0.75), (np.r_[np.ones(30), np.full(10, 9.0), np.ones(5)], 0.25)):
        values = background(rows, [[0, 1]], weight)
        assert values.shape == (COUNT, 2)
        assert (values[:, 1] == values[:, 0] + 1).all()  # both inputs of one column are of one row
        assert (values[:, 0] == 0).mean() == share
    assert (background(rows[-5:], [[0], [1]], None)[:, 0] == 0).all()
    spread = averaged_over(np.array([[np.nan, 7.0]], np.float32), values)
    assert (spread[:, 0] == values[:, 0]).all()
    assert (spread[:, 1] == 7).all()


def test_a_packed_row_gets_the_same_values_in_any_batch_and_those_to_learn_from_none():
    values = np.stack([np.arange(COUNT), np.arange(COUNT)], 1).astype(np.float32)
    stand_ins = StandIns(values, [[0, 1]], 1)
    numbers, codes = np.full((500, 1), np.nan, np.float32), np.full((500, 1), -1, np.int32)
    rows, learnt_from = np.arange(1, 501), np.arange(500) < 100
    stand_ins.fill(numbers, codes, rows, learnt_from)
    assert not numbers[:100].any()
    assert not codes[:100].any()
    assert (numbers == codes).all()
    assert len(np.unique(codes[100:])) == COUNT
    again = np.full((7, 1), np.nan, np.float32), np.full((7, 1), -1, np.int32)
    stand_ins.fill(*again, rows[200:207], learnt_from[200:207])
    assert (again[1] == codes[200:207]).all()


@pytest.mark.slow
@pytest.mark.parametrize("memory", [(), ("--memory", "1K", "--cache", "cache")], ids=["in memory", "in blocks"])
def test_the_command_answers_alike_in_memory_and_in_blocks(command, memory):
    frame, y = table(1500)
    frame.with_columns(y=y).write_csv("t.csv")
    trained = command(
        "train",
        "t.csv",
        "--target",
        "y",
        "--epochs",
        "4",
        "--members",
        "1",
        "--no-trees",
        "--test-share",
        "0.2",
        *memory,
        "--out",
        "run",
    )
    assert trained.exit_code == 0, trained.stderr
    rows = pl.concat([frame[:200], new_row(kind="new", flag=None), new_row(kind=None, flag=None, number=0.3)])
    rows.write_csv("new.csv")
    found = predict(Path("run"), "new.csv").table["probability"].to_numpy()
    assert found[-2:] == pytest.approx(y.mean(), abs=0.08)
    assert load("run").predict_proba(rows)[:, 1] == pytest.approx(found, abs=1e-9)


def onnx_of(model: BCEClassifier, frame: pl.DataFrame) -> np.ndarray:
    session = onnxruntime.InferenceSession(to_onnx(model.model_, {}).SerializeToString())
    days = frame["when"].dt.epoch("us").cast(pl.Float64) / 86_400e6
    given = {"when": days} | {name: frame[name].cast(pl.Float64) for name in ("flag", "number")}
    numbers = {name: values.fill_null(float("nan")).to_numpy()[:, None] for name, values in given.items()}
    texts = frame["kind"].fill_null("").to_numpy().astype(object)[:, None]
    return session.run(["probability"], numbers | {"kind": texts})[0]


@pytest.mark.slow
def test_exported_models_answer_alike(tmp_path):
    """September is a month that training lacks."""
    frame, y = table(400)
    frame = frame.with_columns(
        when=pl.datetime_range(datetime.datetime(2020, 1, 1), datetime.datetime(2020, 6, 30), "10h", eager=True)[:400]
    )
    changes = [{"kind": "new"}, {"flag": None}, {"number": None, "kind": None}, {"when": None}, {}]
    rows = [new_row(**{"when": MOMENT} | some) for some in [*changes, {"when": MOMENT.replace(month=9)}]]
    unknown = pl.concat(rows, how="vertical_relaxed").cast({"when": pl.Datetime("us")})
    parts = (unknown, unknown[:1], unknown[4:5], unknown[-1:], frame[:7], pl.concat([frame[:3], unknown]))
    quick = {"epochs": 3, "hidden": (8,), "random_state": 0}
    model = BCEClassifier(members=2, **quick).fit(frame, y)
    for some in parts:
        assert onnx_of(model, some) == pytest.approx(model.predict_proba(some)[:, 1], abs=1e-6)
    model = BCEClassifier(members=1, trees=False, **quick).fit(frame, y)  # torch.export takes long for trees
    (tmp_path / "model.pt2").write_bytes(exported_program(model.model_))
    program = torch.export.load(tmp_path / "model.pt2").module()
    columns = [column for column in model.model_.columns if isinstance(column, NumericColumn)]
    coded = len(model.model_.columns) - len(columns)
    for some in parts:
        numbers = torch.from_numpy(np.stack([column.values(some, FileRows("t")) for column in columns], 1))
        codes = np.nan_to_num(encode(some, model.model_.columns, FileRows("t"))[:, -coded:], nan=-1).astype(np.int64)
        for given in (codes, np.maximum(codes, 0)):  # a 0 of which training had nothing is unknown as well
            found = program(numbers, torch.from_numpy(given)).numpy()
            assert found == pytest.approx(model.predict_proba(some)[:, 1], abs=1e-6)


def test_run_folders_keep_the_values_and_refuse_those_that_are_none(tmp_path):
    frame, y = table(300)
    model = BCEClassifier(epochs=1, random_state=0).fit(frame, y)
    model.save(tmp_path / "run")
    rows = pl.concat([frame[:5], new_row(kind="new", number=None)])
    assert (load(tmp_path / "run").predict_proba(rows) == model.predict_proba(rows)).all()
    (code,) = inputs_of(model.model_.columns)["kind"]
    for bad in (-1.0, 3.0, 0.5, np.nan, 2e9):
        values = model.model_.ensemble.background
        values[3, code] = bad
        model.save(tmp_path / f"bad{bad}")
        with pytest.raises(RunFolderError, match="background holds what is no value of its columns"):
            load(tmp_path / f"bad{bad}")


def test_rows_to_learn_from_are_as_ever():
    """What is trained does not change: unknown cells among them are the mean, and code 0."""
    rows = np.array([[1.0, np.nan], [np.nan, 2.0]], np.float32)
    assert filled(rows).tolist() == [[1.0, 0.0], [0.0, 2.0]]
    whole = np.ones((2, 2), np.float32)
    assert filled(whole) is whole


def test_a_month_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="-2 is no month: they are numbered from 0 to 12"):
        CalendarColumn(name="since", part="month", known=[1, -2])
