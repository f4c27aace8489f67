"""EpochBCE: exact over ragged batches, and it refuses a mean without its count."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torchbce
from torchbce import EpochBCE
from torchbce.explanation.statistics.entropy import cross_entropy, percent_below
from torchbce.functional import binary_cross_entropy_with_logits


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.sampled_from(["mean", "sum", "items"]))
def test_ragged_batches_give_the_mean_over_items(sizes, form):
    torch.manual_seed(0)
    x, y = torch.randn(sum(sizes), 1), torch.randint(2, (sum(sizes), 1)).float()
    meter = EpochBCE()
    for a, b in zip(x.split(sizes), y.split(sizes), strict=True):
        reduction = "none" if form == "items" else form
        loss = binary_cross_entropy_with_logits(a, b, reduction=reduction)
        meter.update(loss, b, **({} if form == "items" else {"reduction": form}))
    exact = binary_cross_entropy_with_logits(x.double(), y.double()).item()
    assert meter.compute() == pytest.approx(exact, rel=1e-6)
    assert meter.count == sum(sizes)
    assert meter.share == pytest.approx(y.mean().item())


def test_the_mean_of_batch_means_is_another_number():
    meter = EpochBCE()
    meter.update(0.5, count=100)
    meter.update(3.0, count=1)
    assert meter.compute() == pytest.approx((50 + 3) / 101)
    assert meter.compute() != pytest.approx((0.5 + 3.0) / 2)


def test_merged_meters_are_one_meter():
    torch.manual_seed(0)
    one, parts = EpochBCE(), [EpochBCE(), EpochBCE()]
    for i in range(6):
        loss, targets = torch.rand(()), torch.randint(2, (i + 1,)).float()
        one.update(loss, targets)
        parts[i % 2].update(loss, targets)
    parts[0].merge(parts[1])
    assert parts[0].compute() == pytest.approx(one.compute(), rel=1e-12)
    assert (parts[0].count, parts[0].baseline) == (one.count, pytest.approx(one.baseline))


def test_a_mean_without_its_count_is_refused():
    with pytest.raises(ValueError, match="a mean means nothing without its count"):
        EpochBCE().update(torch.tensor(0.5))


def test_counts_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="the numbers of items differ: targets 3, count 2"):
        EpochBCE().update(torch.tensor(0.5), torch.zeros(3), count=2)
    with pytest.raises(ValueError, match="targets 4, loss 3"):
        EpochBCE().update(torch.zeros(3), torch.zeros(4))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction is 'avg'"):
        EpochBCE().update(0.5, count=1, reduction="avg")


def test_it_keeps_no_graph_and_sums_in_float64():
    meter = EpochBCE()
    weight = torch.ones((), requires_grad=True)
    for _ in range(1000):
        meter.update(weight * 0.1, count=16_777_217)
    assert meter.compute() == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_reset_forgets_and_nothing_seen_is_nan():
    meter = EpochBCE()
    meter.update(0.5, count=2)
    meter.update(torch.empty(0), torch.empty(0))
    assert meter.count == 2
    meter.reset()
    assert math.isnan(meter.compute())
    assert str(meter) == "no items yet"


def test_it_prints_the_mean_beside_the_baseline():
    meter = EpochBCE(torch.nn.BCELoss())
    meter.update(math.log(2) / 2, torch.tensor([0.0, 1.0]))
    assert str(meter) == "0.3466 nats per item over 2 items, 50.0 % below baseline"
    unknown = EpochBCE()
    unknown.update(0.5, count=1_000)
    assert str(unknown) == "0.5000 nats per item over 1,000 items, each loss taken for a mean"


def test_the_loss_function_says_what_a_number_is():
    meter = EpochBCE(torch.nn.BCELoss(reduction="sum"))
    meter.update(torch.tensor(6.0), torch.ones(3))
    assert meter.compute() == 2.0
    assert str(meter).startswith("2.0000 nats per item over 3 items")
    assert "taken for" not in str(meter)


def test_entropy_of_known_base_rates():
    assert cross_entropy(0.5, 0.5) == pytest.approx(0.6931, abs=5e-5)
    assert cross_entropy(0.1, 0.1) == pytest.approx(0.3251, abs=5e-5)
    assert cross_entropy(0.001, 0.001) == pytest.approx(0.0079, abs=5e-5)
    assert cross_entropy(0.0, 0.0) == cross_entropy(1.0, 1.0) == 0
    assert cross_entropy(0.5, 0.0) == math.inf


def test_percent_below_says_above_and_undefined():
    assert percent_below(0.3, 0.6) == "50.0 % below baseline"
    assert percent_below(0.9, 0.6) == "50.0 % above baseline"
    assert percent_below(0.1, 0.0) == "no baseline (one class only)"


LOSSES = {
    "BCE": (lambda: torchbce.BCELoss(), True),
    "torch's": (lambda: torch.nn.BCEWithLogitsLoss(), True),
    "functions": (lambda: torchbce.functional.binary_cross_entropy, True),
    "a function of the user's own": (lambda: lambda x, y: (x - y).square().mean(), True),
    "no smoothing": (lambda: torchbce.BCEWithLogitsLoss(label_smoothing=0.0), True),
    "pos_weight": (lambda: torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(2)), False),
    "weight": (lambda: torchbce.BCELoss(weight=torch.ones(2)), False),
    "smoothing": (lambda: torchbce.BCEWithLogitsLoss(label_smoothing=0.1), False),
    "focal": (lambda: torchbce.FocalLoss(), False),
    "focal's function": (lambda: torchbce.focal_loss_with_logits, False),
    "fused": (lambda: torchbce.fused_loss(squared), False),
}


def squared(x, y):
    return (x - y) ** 2


@pytest.mark.parametrize("name", LOSSES)
def test_only_plain_bce_is_compared_with_the_base_rate(name):
    """A weighted or focal loss has another unit: a percentage of the entropy would say nothing."""
    make, compared = LOSSES[name]
    meter = torchbce.EpochBCE(make())
    meter.update(torch.tensor(0.9), torch.tensor([0.0, 1.0]), reduction="mean")
    assert ("baseline" in str(meter)) == compared
    assert math.isnan(meter.gathered().baseline) != compared
