"""Models that differ in how sure they are of what hardly ever fails: a sample without failures tells nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import torchbce
from torchbce.comparison.bets import Bets, gaps
from torchbce.comparison.compare import comparison
from torchbce.comparison.file import from_bytes, to_bytes
from torchbce.comparison.pairs import Pairs
from torchbce.explanation.statistics.unseen import SURE, due

RATES = [(1e-5, 1e-3), (1e-4, 1e-2), (1e-6, 1e-4)]  # said by the surer model; true, and said by the other


def logit(p):
    return math.log(p / (1 - p))


def halves(n, said, true, seed, noise=0.0):
    """Half of the items are ordinary ones; of the others model b is far too sure."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n // 2)
    y = np.r_[rng.random(n // 2) < 1 / (1 + np.exp(-z)), rng.random(n // 2) < true].astype(float)
    a, b = (np.r_[z + noise * rng.normal(size=n // 2), np.full(n // 2, logit(p))] for p in (true, said))
    return a, b, y


def lucky(n, said, true):
    """The same, where none of the sure items failed."""
    a, b, y = halves(n, said, true, 1)
    y[n // 2 :] = 0
    return a, b, y


def loss(p, z):
    return np.logaddexp(0, z) - p * z


def names_b_better(found):
    return found.p_value is not None and found.p_value < 0.05 and found.difference < 0


@pytest.mark.grid
@pytest.mark.parametrize("n", [300, 1000, 10_000])
@pytest.mark.parametrize(("said", "true"), RATES)
def test_the_model_that_is_too_sure_is_never_called_better(n, said, true):
    sets = 25 if n < 10_000 else 8
    truth = 0.5 * (loss(true, logit(said)) - loss(true, logit(true)))
    wrong = held = 0
    for seed in range(sets):
        found = torchbce.compare(*halves(n, said, true, seed), from_logits=True)
        slots = [found.interval] + [one.interval for one in (found.parts.separation, found.parts.calibration)]
        wrong += names_b_better(found) or any(one.high < 0 for one in slots)
        held += found.interval.low <= truth <= found.interval.high
    assert wrong == 0
    assert held >= stats.binom.ppf(0.001, sets, 0.95)


@pytest.mark.parametrize("option", ["weight", "cluster", "groups", "noise"])
def test_nor_with_weights_clusters_groups_or_noise_in_the_others(option):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        given = {
            "weight": {"weight": rng.exponential(1, 1000)},
            "cluster": {"cluster": rng.integers(0, 200, 1000)},
            "groups": {"groups": np.repeat(["ordinary", "sure"], 500)},
            "noise": {},
        }[option]
        models = halves(1000, 1e-5, 1e-3, seed, 0.3 * (option == "noise"))
        found = torchbce.compare(*models, from_logits=True, **given)
        assert not names_b_better(found) or option == "noise"
        above = [slot for slot in (*found.groups, *found.bands) if slot.name in ("sure", "above 99 %")]
        assert above
        assert all(slot.interval.high > 0 for slot in above)


def test_the_verdict_says_why_and_how_many_more_items_it_takes():
    a, b, y = lucky(1000, 1e-5, 1e-3)
    found = torchbce.compare(a, b, y, from_logits=True)
    assert found.p_value is None
    assert found.verdict.startswith("These items do not show whether a or b is better: ")
    assert "of 500 items of which the model with the lower BCE is surer 0 went against it" in found.verdict
    assert "as many as 3.7 may have been due, and that would turn the sign" in found.verdict
    reach = -math.log(0.025) * (logit(1e-3) - logit(1e-5)) / 1000
    assert found.interval.high == pytest.approx(found.difference + reach)
    assert found.more_items == pytest.approx(1000 * reach / abs(found.difference) - 1000, abs=1)


def test_the_wrong_one_of_three_is_not_the_best_and_the_reason_is_given():
    a, b, y = lucky(1000, 1e-5, 1e-3)
    found = torchbce.compare_all({"clipped": a, "sure": b, "coin": 0 * a}, y, from_logits=True)
    assert found.models[0].name == "sure"
    assert "do not show that it is better than clipped. clipped: the difference hangs on" in found.verdict
    clipped = next(model for model in found.models if model.name == "clipped")
    assert clipped.p_value is None
    assert clipped.interval.low <= 0
    assert found.models[2].p_value < 0.05


def test_where_enough_failures_were_seen_the_better_model_is_named():
    found = torchbce.compare(*halves(10_000, 1e-4, 1e-2, 0), from_logits=True)
    assert found.p_value < 1e-6
    assert found.verdict.startswith("b is worse by")


@pytest.mark.parametrize(("n", "rate"), [(100, 0.4), (1000, 0.03)])
def test_ordinary_models_have_students_interval_and_a_p_value(n, rate):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = logit(rate) + rng.normal(0, 1, n)
        y = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)
        if min(y.sum(), n - y.sum()) < 20:
            continue
        a, b = (true + rng.normal(0, 0.7, n) for _ in range(2))
        theirs = stats.ttest_rel(loss(y, b), loss(y, a))
        found = torchbce.compare(a, b, y, from_logits=True)
        assert found.p_value == pytest.approx(theirs.pvalue)
        assert tuple(found.interval) == pytest.approx(tuple(theirs.confidence_interval()))


def test_as_many_may_have_been_due_as_the_poisson_limit_says():
    for seen in (0, 1, 4):
        assert due(seen) == pytest.approx(stats.chi2.ppf(0.975, 2 * seen + 2) / 2)
    a, b, y = (np.array(values, float) for values in ([-4, -4, -4, 3, 9], [-9, -9, -5, 9, 3], [0, 1, 0, 1, 1]))
    bets, w = Bets(10, ""), np.array([1.0, 2, 1, 1, 1])
    bets.add_bets(np.zeros(5, int), ["all"], *map(torch.from_numpy, (a, b, y, w)))
    by_b, by_a = np.array([5.0, 10, 1, 6]), np.array([6.0])  # weights times the distance of the logits
    found = bets.gaps("all", 6.0, 1.0)
    size = (by_b**2).sum() / by_b.sum()
    assert found.above.reach == pytest.approx((by_b.sum() / size - 1) * size / 6)  # no more than all of them
    assert found.above.items == 4
    assert found.below.reach == pytest.approx((by_a**2).sum() / by_a.sum() / 6)
    assert bets.gaps("others", 6.0, 1.0).above.reach == 0


def test_failures_of_less_sure_items_are_not_those_of_the_surest():
    levels = np.zeros((2, len(SURE), 5))
    levels[1, 0] = 1000, 30, 1000, 1000, 30  # above 95 %, of which enough failed
    levels[1, 3] = 500, 0, 2000, 8000, 0  # above 99.995 %
    found = gaps(*levels, 1500.0).above
    assert (found.items, found.seen) == (500, 0)
    assert found.reach == pytest.approx(due(0) * 4 / 1500)


def test_clusters_count_as_many_times_less():
    levels = np.zeros((2, len(SURE), 5))
    levels[1, 0] = 1000, 2, 1000, 1000, 2
    alone, together = (gaps(*levels, 1000.0, factor=factor).above.reach for factor in (1.0, 4.0))
    assert alone == pytest.approx((due(2) - 2) / 1000)
    assert together == pytest.approx(4 * (due(0.5) - 0.5) / 1000)


def test_shards_add_up_and_are_saved():
    given = [torch.from_numpy(values) for values in lucky(2000, 1e-5, 1e-3)]
    groups = (np.arange(2000) % 3, ["u", "v", "w"])
    whole, *parts = (Pairs((True, True)) for _ in range(3))
    for pairs, part in zip((whole, *parts), (slice(None), slice(0, 1200), slice(1200, None)), strict=True):
        a, b, y = (values[part] for values in given)
        pairs.add((a, b), y, rows=np.arange(2000)[part], groups=(groups[0][part], groups[1]))
    merged = from_bytes(to_bytes(parts[0]))
    merged.merge(from_bytes(to_bytes(parts[1])))
    one, other = comparison(whole), comparison(merged)
    assert one.p_value is None
    assert other.evidence.reason == one.evidence.reason
    for mine, theirs in zip((one, *one.groups, *one.bands), (other, *other.groups, *other.bands), strict=True):
        assert tuple(mine.interval) == pytest.approx(tuple(theirs.interval))


def test_a_loss_that_could_have_been_infinite_leaves_no_bound():
    a, b, y = lucky(400, 1e-5, 1e-3)
    b[np.flatnonzero(y == 0)[-5:]] = -math.inf
    found = torchbce.compare(a, b, y, from_logits=True)
    assert found.interval.high == math.inf
    assert found.p_value is None
    assert "nan" not in str(found)
    assert found.to_dict()["interval"][1] is None


@pytest.mark.grid
@pytest.mark.parametrize(("said", "true"), RATES)
@pytest.mark.parametrize("n", [300, 1000])
def test_the_mean_of_one_model_reaches_as_far_as_its_surest_items_may_cost(n, said, true):
    z = np.random.default_rng(9).normal(size=1_000_000)
    truth = 0.5 * loss(1 / (1 + np.exp(-z)), z).mean() + 0.5 * loss(true, logit(said))
    sets, held = 30, 0
    for seed in range(sets):
        _, b, y = halves(n, said, true, seed)
        low, high = torchbce.explain(b, y, from_logits=True, top=0).intervals["mean"]
        held += low <= truth <= high
    assert held >= stats.binom.ppf(0.01, sets, 0.95)


def test_explain_says_that_the_surest_items_failed_too_rarely():
    _, b, y = lucky(1000, 1e-5, 1e-3)
    found = torchbce.explain(b, y, from_logits=True)
    assert "of the 500 items that are surest 0 went the other way, too few to tell what others cost" in str(found)
    assert found.intervals["mean"].high == pytest.approx(found.mean - math.log(0.025) * -logit(1e-5) / 1000)
    _, b, y = halves(1000, 1e-2, 1e-2, 1)
    assert "surest" not in str(torchbce.explain(b, y, from_logits=True))
