"""Boosted trees: the same numbers as scikit-learn's, compiled or in torch, and as much to say as they are worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from torchbce import BCEClassifier
from torchbce.table.columns.matrix import TrainingMatrix
from torchbce.table.ensemble.blend import fit_blend
from torchbce.table.ensemble.calibration import bce
from torchbce.table.ensemble.config import UserOptions, default_config
from torchbce.table.ensemble.ensemble import Ensemble, mean_logits
from torchbce.table.ensemble.fit import fit_ensemble
from torchbce.table.trees.boosted import BoostedTrees
from torchbce.table.trees.boosting import Boosting, grow
from torchbce.table.trees.compiled import sums
from tree_tables import halves, table

ROUNDINGS = 1e-6  # of leaves, which are kept in float32: some hundred of about 0.1


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "weighted"])
def grown(request) -> tuple[TrainingMatrix, list[BoostedTrees], list]:
    """Also scikit-learn's own models, which the trees were taken from."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    made = []
    fit = HistGradientBoostingClassifier.fit

    def noticed(model, *args, **options):
        made.append(model)
        return fit(model, *args, **options)

    data = table(weighted=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HistGradientBoostingClassifier, "fit", noticed)
        patch.setattr(torch, "get_num_threads", lambda: 1)
        return data, grow(data, halves(data), Boosting(0.1, 15), seed=3), made


def test_trees_say_what_scikit_learn_says(grown):
    data, found, models = grown
    rows = torch.from_numpy(data.rows)
    for trees, model in zip(found, models, strict=True):
        expected = model.decision_function(trees.numbers(rows).numpy())
        assert np.abs(trees.logits(rows).numpy() - expected).max() < ROUNDINGS
        assert trees.spec.trees == model.n_iter_ > 5


def test_numbers_at_a_threshold_and_beside_it_go_the_same_way(grown):
    """Midpoints of float32 numbers need not be float32 themselves."""
    data, found, models = grown
    trees, model = found[0], models[0]
    inner = trees.threshold.isfinite()
    columns, thresholds = trees.column[inner], trees.threshold[inner]
    numbers = trees.numbers(torch.from_numpy(data.rows[: len(columns)])).clone()
    for side in (None, torch.inf, -torch.inf):
        moved = thresholds if side is None else torch.nextafter(thresholds, torch.tensor(side))
        for i, (column, number) in enumerate(zip(columns, moved[: len(numbers)], strict=False)):
            numbers[i, column] = number
        plain = BoostedTrees(trees.spec.model_copy(update={"numbers": numbers.shape[1], "levels": []}))
        plain.load_state_dict(trees.state_dict() | {"shares": torch.zeros(0)})
        assert np.abs(plain.logits(numbers).numpy() - model.decision_function(numbers.numpy())).max() < ROUNDINGS


def test_compiled_trees_are_those_in_torch(grown):
    data, found, _ = grown
    for count in (0, 1, 63, 64, 65, len(data.rows)):
        rows = torch.from_numpy(data.rows[:count])
        for trees in found:
            torch.testing.assert_close(trees.logits(rows), trees(rows), rtol=1e-12, atol=1e-12)


def test_categories_are_seen_by_their_share_of_ones(grown):
    data, found, _ = grown
    train = halves(data)[0][0]
    weight = np.ones(len(data.target)) if data.weight is None else data.weight
    ones, of_code = data.target[train] * weight[train], data.rows[train, 3]
    base = ones.sum() / weight[train].sum()
    for code in range(9):
        own = of_code == code
        expected = (ones[own].sum() + 10 * base) / (weight[train][own].sum() + 10)
        assert found[0].shares[code].item() == pytest.approx(expected, rel=1e-6)


def test_a_seed_gives_the_same_trees_with_any_number_of_threads(monkeypatch):
    data = table()
    states = []
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        states.append([trees.state_dict() for trees in grow(data, halves(data), Boosting(0.1, 15), seed=7)])
    for one, other in zip(*states, strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert not torch.equal(states[0][0]["value"][:50], states[0][1]["value"][:50])


def test_a_budget_makes_fewer_trees():
    data = table()
    few = grow(data, halves(data), Boosting(0.01, 15), seed=0, budget=0.05)
    assert max(trees.spec.trees for trees in few) < 100
    for trees in few:
        trees.check()


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("left", 0, 10**6, "out of its tree"),
        ("left", 0, -1, "leads back"),
        ("left", 0, "last", "out of its tree"),  # the node after it would be another's
        ("column", 0, 5, "a column is not between 0 and 4"),
        ("column", 0, -1, "a column is not between"),
        ("root", 0, 10**6, "does not begin"),
        ("root", 1, 1, "out of its tree"),
        ("depth", 0, 10**6, "a depth is not between"),
        ("value", -1, torch.nan, "value holds"),
        ("threshold", -1, 0.0, "leave a leaf"),
        ("threshold", 0, torch.nan, "not a number"),
        ("start", 0, torch.inf, "start holds"),
    ],
)
def test_trees_that_lead_out_of_memory_are_refused(grown, name, place, value, message):
    data, found, _ = grown
    trees = BoostedTrees(found[0].spec)
    trees.load_state_dict(found[0].state_dict())
    trees.check()
    getattr(trees, name)[place] = trees.spec.nodes - 1 if value == "last" else value
    with pytest.raises(ValueError, match=message):
        trees.check()
    if name not in ("value", "start"):  # where compiled code is called, too
        with pytest.raises(ValueError, match=message):
            trees.logits(torch.from_numpy(data.rows))


def test_trees_of_other_elements_are_refused(grown):
    data, found, _ = grown
    trees = BoostedTrees(found[0].spec)
    trees.load_state_dict(found[0].state_dict())
    trees.column = trees.column.long()
    with pytest.raises(ValueError, match="column is torch.int64"):
        trees.logits(torch.from_numpy(data.rows))
    with pytest.raises(ValueError, match=r"expected torch.float32 \(N, 5\)"):
        sums(found[0].nodes, torch.zeros(3, 4), 0.0)


def test_the_weight_of_trees_minimizes_the_loss():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    target = (rng.random(20_000) < 1 / (1 + np.exp(-2 * truth))).astype(float)
    networks, trees = (2 * truth + noise * rng.normal(size=20_000) for noise in (1.0, 1.5))
    found = fit_blend(networks, trees, target)
    costs = [bce((1 - share) * networks + share * trees, target).mean() for share in np.linspace(0, 1, 101)]
    assert 0.1 < found.tree_weight < 0.5
    assert min(costs) - 1e-4 < found.both < min(costs) + 1e-9
    assert found.both < found.networks == pytest.approx(costs[0])
    assert found.both < found.trees == pytest.approx(costs[-1])


def test_trees_or_networks_that_add_nothing_have_no_weight():
    rng = np.random.default_rng(0)
    target = (rng.random(5000) < 0.5).astype(float)
    right, wrong = 2 * (2 * target - 1) + rng.normal(size=5000), rng.normal(size=5000) * 9
    assert fit_blend(right, wrong, target).tree_weight == 0
    assert fit_blend(wrong, right, target).tree_weight == 1
    assert "boosted trees: weight 0 in the blended logit" in fit_blend(right, wrong, target).summary()
    assert "boosted trees: weight 1 in the blended logit" in fit_blend(wrong, right, target).summary()


@pytest.mark.parametrize("members", [3, 5])
def test_held_out_logits_are_of_members_that_have_not_seen_the_row(members):
    data, rows = table(), np.arange(1200)
    splits = [(rows[rows % 3 != i % 3], rows[rows % 3 == i % 3]) for i in range(members)]
    chosen = default_config(1200, UserOptions(members=members, epochs=2, patience=9))
    found = fit_ensemble(data, splits, replace(chosen, folds=3), seed=0)
    ensemble = found.ensemble
    assert len(ensemble.trees) == 3
    assert 0 < ensemble.tree_weight == found.blend.tree_weight < 1
    assert np.array_equal(found.chosen_on, rows)
    for fold in range(3):
        own = rows % 3 == fold
        networks = Ensemble(ensemble.networks[fold::3]).logits(data.rows[own])
        trees = ensemble.trees[fold].logits(torch.from_numpy(data.rows[own])).numpy()
        mean = (1 - ensemble.tree_weight) * networks + ensemble.tree_weight * trees
        assert np.abs(found.held_out_logits[own] - mean).max() < 1e-5
    whole = (1 - ensemble.tree_weight) * Ensemble(ensemble.networks).logits(data.rows)
    by_tree = [trees.logits(torch.from_numpy(data.rows)).numpy() for trees in ensemble.trees]
    whole += ensemble.tree_weight * mean_logits(np.stack(by_tree, 1))
    assert np.abs(ensemble.logits(data.rows) - whole).max() < 1e-9


def test_steps_are_what_trees_are_for():
    """Four corners of a square, on fresh rows, against networks alone and against trees alone."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (6000, 4))
    p = np.where((X[:, 0] > 0.3) ^ (X[:, 1] > -0.2), 0.9, 0.1)
    y = rng.random(6000) < p
    costs = {}
    for trees in (True, False):
        model = BCEClassifier(random_state=0, epochs=4, trees=trees).fit(X[:3000], y[:3000])
        costs[trees] = bce(model.decision_function(X[3000:]), y[3000:].astype(float)).mean()
        assert bool(model.model_.ensemble.trees) == trees
    assert costs[True] < costs[False]


def test_a_frame_without_anything_in_it_needs_no_trees():
    frame = pl.DataFrame({"same": [1.0] * 300})
    model = BCEClassifier(random_state=0, epochs=2).fit(frame, np.arange(300) % 3 == 0)
    assert not model.model_.ensemble.trees
    assert model.predict_proba(frame)[:, 1] == pytest.approx(1 / 3, abs=0.05)
