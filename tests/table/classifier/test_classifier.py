"""BCEClassifier is a scikit-learn classifier in full, takes tables as they are, and shares run folders with the CLI."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from predicting import predict
from torchbce import BCEClassifier, InputError, OutputError, RunFolderError, load
from torchbce.table.columns.drift import AVERAGE

QUICK = {"epochs": 3, "members": 2, "random_state": 0}


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers with gaps, texts, categories, dates, pandas' own integers, booleans."""
    rng = np.random.default_rng(0)
    count = 600
    frame = pd.DataFrame(
        {
            "a": np.where(np.arange(count) % 7 == 0, np.nan, rng.normal(size=count)),
            "b": np.where(np.arange(count) % 11 == 0, None, rng.choice(list("xyz"), count)),
            "c": pd.Categorical(rng.choice(["u", "v"], count)),
            "d": pd.date_range("2020-01-01", periods=count, freq="h"),
            "e": pd.array(rng.integers(0, 5, count), dtype="Int64"),
            "f": rng.random(count) < 0.5,
        }
    )
    y = np.where(frame["a"].fillna(0) + (frame["b"] == "x") + rng.normal(size=count) > 0.5, "yes", "no")
    return frame, y


@pytest.fixture(scope="module")
def fitted(data) -> BCEClassifier:
    return BCEClassifier(**QUICK).fit(*data)


def polars_of(frame: pd.DataFrame) -> pl.DataFrame:
    return pl.DataFrame({n: frame[n].astype(object).where(frame[n].notna(), None).tolist() for n in frame})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([BCEClassifier(random_state=0)])
def test_scikit_learns_own_checks_pass(estimator, check):
    if check.func.__name__ != "check_array_api_input":  # needs a library of its own
        check(estimator)


def test_scikit_learn_has_many_checks():
    assert len(list(estimator_checks_generator(BCEClassifier(), legacy=True))) > 50


def test_what_scikit_learn_users_look_at(fitted, data):
    frame, y = data
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.n_features_in_ == 6
    assert fitted.feature_names_in_.tolist() == list("abcdef")
    p = fitted.predict_proba(frame)
    assert p.shape == (600, 2)
    assert p.sum(1) == pytest.approx(1)
    assert p[:, 1] == pytest.approx(1 / (1 + np.exp(-fitted.decision_function(frame))))
    assert (fitted.predict(frame) == np.where(p[:, 1] > 0.5, "yes", "no")).all()
    assert fitted.score(frame, y) > 0.6
    assert len(fitted.history_) == fitted.n_iter_ == 3


def test_the_same_table_in_any_form_is_the_same(fitted, data):
    frame, y = data
    expected = fitted.predict_proba(frame)
    assert (fitted.predict_proba(polars_of(frame)) == expected).all()
    assert (fitted.predict_proba(polars_of(frame).lazy()) == expected).all()
    assert (BCEClassifier(**QUICK).fit(polars_of(frame), y).predict_proba(frame) == expected).all()
    array = frame[["a"]].to_numpy()
    assert (
        BCEClassifier(**QUICK).fit(array, y).decision_function(array)
        == BCEClassifier(**QUICK).fit(frame[["a"]], y).decision_function(frame[["a"]])
    ).all()


def test_pickles_and_clones_without_loss(fitted, data):
    frame, y = data
    expected = fitted.predict_proba(frame)
    assert (pickle.loads(pickle.dumps(fitted)).predict_proba(frame) == expected).all()
    assert (clone(fitted).fit(frame, y).predict_proba(frame) == expected).all()
    with pytest.raises(NotFittedError):
        clone(fitted).predict(frame)


def test_run_folders_are_shared_with_the_command_line(fitted, data, tmp_path, trained, mixed, mixed_table):
    frame, _ = data
    fitted.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert (again.predict_proba(frame) == fitted.predict_proba(frame)).all()
    assert again.predict(frame[:1]) == fitted.predict(frame[:1])
    assert again.predict_proba(frame.assign(more=1)[["more", *"fedcba"]]) == pytest.approx(fitted.predict_proba(frame))
    file = tmp_path / "t.parquet"
    polars_of(frame).with_columns(pl.col("d").cast(pl.Datetime("us"))).write_parquet(file)
    printed = predict(tmp_path / "run", str(file)).table["probability"].to_numpy()
    assert printed == pytest.approx(fitted.predict_proba(frame)[:, 1], abs=1e-12)
    other = load(trained)
    assert other.classes_.tolist() == ["no", "yes"]
    expected = predict(trained, mixed).table["probability"].to_numpy()
    assert other.predict_proba(pl.read_csv(mixed, try_parse_dates=True))[:, 1] == pytest.approx(expected)
    with pytest.raises(OutputError, match="exists already"):
        fitted.save(tmp_path / "run")
    with pytest.raises(RunFolderError, match="does not exist"):
        load(tmp_path / "nothing")
    with pytest.raises(InputError, match="X has no columns 'a', 'c', 'd', 'e', 'f', which the model needs"):
        again.predict(frame[["b"]])


def test_arrays_with_columns_of_no_use_are_read_again_in_order(tmp_path):
    rng = np.random.default_rng(0)
    X = np.stack([np.ones(300), rng.normal(size=300), np.zeros(300), rng.normal(size=300)], 1)
    model = BCEClassifier(**QUICK).fit(X, X[:, 1] > 0)
    assert sorted(model.left_out_) == ["x0", "x2"]
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    assert not hasattr(again, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 2 features, but BCEClassifier is expecting 4 features"):
        again.predict(X[:, :2])


@pytest.mark.parametrize("classes", [[0, 1], [False, True], [-1, 1], [0.0, 1.0], ["a", "b"], ["0", "1"]])
def test_classes_come_back_as_they_were(data, tmp_path, classes):
    y = np.array(classes)[(data[1] == "yes").astype(int)]
    model = BCEClassifier(**QUICK).fit(data[0], y)
    model.save(tmp_path / "run")
    assert model.classes_.tolist() == load(tmp_path / "run").classes_.tolist() == classes


def test_it_works_within_scikit_learn(data):
    frame, y = data
    numbers = frame[["a", "e"]].astype(float).fillna(0.0)
    quick = BCEClassifier(epochs=2, members=1, random_state=0)
    assert make_pipeline(StandardScaler(), quick).fit(numbers, y).predict_proba(numbers).shape == (600, 2)
    search = GridSearchCV(quick, {"heads": [1, 2]}, scoring="neg_log_loss", cv=2).fit(frame, y)
    assert search.best_params_["heads"] in (1, 2)
    assert cross_val_predict(quick, frame, y, method="predict_proba", cv=2).shape == (600, 2)
    assert CalibratedClassifierCV(quick, cv=2).fit(frame, y).predict_proba(frame).shape == (600, 2)


def test_an_eval_set_chooses_the_epoch(data):
    frame, y = data
    model = BCEClassifier(epochs=30, patience=3, random_state=0).fit(
        frame[:400], y[:400], eval_set=(frame[400:], y[400:])
    )
    p = model.predict_proba(frame[400:])
    right = np.where(y[400:] == "yes", p[:, 1], p[:, 0])
    assert -np.log(right).mean() == pytest.approx(model.history_.best.valid, rel=0.05)
    assert model.n_iter_ <= 30
    with pytest.raises(ValueError, match="eval_set's y holds 'perhaps'"):
        BCEClassifier(**QUICK).fit(frame, y, eval_set=(frame, np.full(600, "perhaps")))


def test_a_warm_start_goes_on(data):
    frame, y = data
    model = BCEClassifier(**QUICK, warm_start=True).fit(frame, y)
    first = model.history_[0].running
    assert model.fit(frame, y).history_[0].running < first


def test_groups_are_kept_together(data):
    frame, y = data
    model = BCEClassifier(**QUICK).fit(frame, y, groups=np.arange(600) // 3)
    assert model.n_iter_ == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (sparse.csr_matrix(np.eye(20)), np.arange(20) % 2), "Sparse data was passed"),
        (lambda X, y: (X, np.arange(600) % 3), "Only binary classification is supported"),
        (lambda X, y: (X, np.zeros(600)), "y holds one class only"),
        (lambda X, y: (X.assign(a=[np.inf, *range(599)]), y), "infinite values cannot be scaled"),
        (lambda X, y: ([1, 2, 3], [0, 1, 0]), "Expected 2D array"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
    ],
)
def test_what_cannot_be_used_is_refused(data, change, message):
    X, y = change(*data)
    with pytest.raises((ValueError, TypeError), match=message):
        BCEClassifier(**QUICK).fit(X, y)


@pytest.mark.parametrize("parameters", [{"optimizer": "adam"}, {"epochs": 0}, {"lr": -1.0}, {"members": -2}])
def test_parameters_without_sense_are_refused(data, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        BCEClassifier(**parameters).fit(*data)


def test_new_rows_far_out_are_as_the_furthest_known(data):
    """Predictions stay within what the training rows' range gives."""
    rng = np.random.default_rng(0)
    X = np.concatenate([np.ones((300, 1)) + 1e-9 * rng.normal(size=(300, 1)), rng.normal(size=(300, 1))], 1)
    y = (X[:, 1] > 0).astype(int)
    model = BCEClassifier(random_state=0).fit(X, y)
    ends = np.array([[low, x] for low in (X[:, 0].min(), X[:, 0].max()) for x in (X[:, 1].min(), X[:, 1].max())])
    limits = model.decision_function(ends)
    far = model.decision_function(np.array([[1e300, 1e300], [-1e300, -1e300], [2.0, 1e6], [1e-300, -1e6]]))
    assert far == pytest.approx(limits[[3, 0, 3, 0]], abs=1e-5)


def test_unknown_categories_are_warned_of_once_in_a_call_by_column_and_value(fitted, data, tmp_path):
    frame = data[0].head(8).assign(b=["x", "new", None, "new", "other", "y", "z", "x"], a=1000.0)
    gap = frame.assign(b=frame["b"].where(frame["b"].isin(["x", "y", "z"]), None))
    known = ~frame["b"].isin(["new", "other"]).to_numpy()
    fitted.save(tmp_path / "run")
    text = f"X: b: 3 rows with categories not seen in training, or once only, {AVERAGE}: 'new', 'other'"
    for model in (fitted, load(tmp_path / "run")):
        for method in (model.predict_proba, model.predict, model.decision_function):
            with pytest.warns(UserWarning, match="^X: b: 3 rows") as found:
                answers = method(frame)
            assert [str(one.message) for one in found] == [text]
            assert found[0].filename == __file__
            assert (answers[known] == method(gap)[known]).all()  # which warns of nothing, or the test fails
    many = frame.assign(b=list("klmnopqr"), c=list("uuuuvvwv"))
    with pytest.warns(UserWarning, match=r"training: 'k', 'l', 'm', 'n', 'o', \.\.\.; c: 1 row with .* training: 'w'$"):
        fitted.predict(many)


def test_codes_that_lost_a_zero_in_front_are_refused(tmp_path):
    """Read as numbers, 01007 is 1007: every place would be unknown, and the probabilities wrong without a word."""
    rng = np.random.default_rng(0)
    places = np.array(["01007", "02139", "90210"])[rng.integers(0, 3, 300)]
    frame = pl.DataFrame({"zip": places, "x": rng.normal(size=300)})
    y = (rng.random(300) < np.where(places == "01007", 0.9, 0.2)).astype(int)
    BCEClassifier(epochs=2, random_state=0, trees=False).fit(frame, y).save(tmp_path / "run")
    model = load(tmp_path / "run")
    assert model.predict_proba(frame).shape == (300, 2)
    with pytest.raises(InputError, match=r"numbers in column 'zip', where the model knows texts such as '0\d+'"):
        model.predict_proba(frame.with_columns(pl.col("zip").cast(pl.Int64)))
