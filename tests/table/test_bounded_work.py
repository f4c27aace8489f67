"""What comes after the last epoch takes seconds for any table, and is said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from torchbce.table import baselines, importance, memory_table
from torchbce.table.columns.columns import CategoricalColumn, NumericColumn
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble import ensemble, linear
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import UserOptions
from torchbce.table.ensemble.ensemble import Ensemble
from torchbce.table.model import Model
from torchbce.table.network.table_network import NetworkSpec, TableNetwork
from torchbce.table.splits.holdout import Holdout
from torchbce.table.train import train
from torchbce.table.train_args import TrainArgs


def coded(rows: int, columns: int, levels: int, seed: int = 0):
    """Encoded rows: two numbers and codes, their answers, and the columns."""
    r = np.random.default_rng(seed)
    numbers = [NumericColumn(name=f"x{i}", mean=0, scale=1, low=-9, high=9, gaps=False) for i in range(2)]
    texts = [
        CategoricalColumn(name=f"c{i}", levels=[f"l{k}" for k in range(levels)], gaps=False, others=False)
        for i in range(columns)
    ]
    codes = r.integers(0, levels + 1, (rows, columns))
    encoded = np.concatenate([r.normal(size=(rows, 2)), codes], 1).astype(np.float32)
    return encoded, (r.random(rows) < 1 / (1 + np.exp(-encoded[:, 0]))).astype(np.float32), [*numbers, *texts]


def one_hot(encoded, levels):
    codes = encoded[:, 2:].astype(int)
    return np.concatenate([encoded[:, :2], *(np.eye(levels + 1)[codes[:, i]] for i in range(codes.shape[1]))], 1)


def test_the_baseline_is_scikit_learns_on_codes_one_hot():
    encoded, answers, columns = coded(500, 3, 4)
    expected = LogisticRegression(max_iter=1000).fit(one_hot(encoded, 4), answers)
    found = baselines.logistic_regression(EncodedTable(columns, encoded, answers, None))(encoded)
    np.testing.assert_allclose(found, expected.decision_function(one_hot(encoded, 4)), atol=1e-2)
    assert np.corrcoef(found, expected.decision_function(one_hot(encoded, 4)))[0, 1] > 0.9999


@pytest.mark.parametrize("rows", [200, 4000])
def test_the_baseline_reads_so_many_cells_and_no_more(monkeypatch, rows):
    monkeypatch.setattr(baselines, "MAX_CELLS", 2000)
    monkeypatch.setattr(baselines, "WORK", 100_000)
    fitted = []

    class Spied(LogisticRegression):
        def fit(self, inputs, answers, weight=None):
            fitted.append((inputs.shape, inputs.nnz, self.max_iter))
            return super().fit(inputs, answers, weight)

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression", Spied)
    encoded, answers, columns = coded(rows, 6, 300)
    found = baselines.logistic_regression(EncodedTable(columns, encoded, answers, np.ones(rows)))(encoded)
    assert len(found) == rows
    (shape, cells, steps), *rest = fitted
    assert not rest
    assert cells <= 2000
    assert shape == (rows if rows == 200 else 250, 2 + 6 * 301)
    assert steps * cells <= 100_000 + cells


def test_a_table_of_fewer_rows_than_inputs_is_fitted_among_its_rows(monkeypatch):
    """With the same coefficients, without the square of all inputs."""
    encoded, answers, _ = coded(60, 8, 40)
    data = TrainingMatrix(encoded, answers, [41] * 8, None)
    widths = []

    class Spied(LogisticRegression):
        def fit(self, inputs, *others):
            widths.append(inputs.shape)
            return super().fit(inputs, *others)

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression", Spied)
    found = linear._network_of(data, np.arange(60)).logits(encoded)
    assert widths == [(60, 60)]
    model = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(one_hot(encoded, 40), answers)
    np.testing.assert_allclose(found, model.decision_function(one_hot(encoded, 40)), atol=1e-5)


def test_the_worth_of_many_columns_is_seen_on_fewer_rows():
    def model(columns: int) -> Model:
        made = coded(1, columns - 2, 2)[2]
        return Model(made, Ensemble([TableNetwork(NetworkSpec(pieces=[0] * 2, levels=[3] * (columns - 2), hidden=[]))]))

    assert importance.rows_seen(model(50), 5000) == 5000
    assert importance.rows_seen(model(50), 1000) == 1000
    seen = importance.rows_seen(model(200), 5000)
    assert 100 < seen * importance.REPEATS * 200 * 200 <= importance.WORK
    assert importance.rows_seen(model(2000), 5000) == importance.FEWEST


@pytest.mark.parametrize("held", [Holdout(share=0.3), Holdout(folds=3)])
def test_stages_after_the_last_epoch_are_said(tmp_path, held):
    r = np.random.default_rng(0)
    x = r.normal(size=200)
    pl.DataFrame({"x": x, "z": r.normal(size=200), "y": (x > 0).astype(int)}).write_csv(tmp_path / "t.csv")
    told: list[str] = []
    options = UserOptions(epochs=2, trees=False, hidden=(4,))
    args = TrainArgs(str(tmp_path / "t.csv"), ColumnRoles("y"), held, options)
    callbacks = Callbacks(epoch=lambda epoch: told.append("epoch"), stage=told.append)
    train(memory_table.prepare(args), args, callbacks=callbacks)
    stages = ["base rate", "logistic regression", "worth of the columns"]
    assert [what for what in told if what != "epoch"] == stages * (held.folds or 1)
    assert told[-1] == ("epoch" if held.folds else stages[-1])


def test_the_worth_of_columns_sets_networks_up_once(monkeypatch):
    encoded, answers, columns = coded(50, 3, 4)
    network = TableNetwork(NetworkSpec(pieces=[0] * 2, levels=[5] * 3, hidden=[4])).eval()
    model, made = Model(columns, Ensemble([network])), []
    compiled = ensemble.compiled
    monkeypatch.setattr(ensemble, "compiled", lambda *a, **k: made.append(a) or compiled(*a, **k))
    assert len(importance.permutation_increase(model, encoded, answers, 0)) == 5
    assert len(made) == 1
