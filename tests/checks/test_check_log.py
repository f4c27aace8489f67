"""Checks of predictions and logs: rises, stuck losses, sums over batches, divergence; several files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from check_codes import codes
from corpus.seeded import predictions
from torchbce import check_log, check_predictions
from torchbce.checks.catalogue.finding import Level
from torchbce.explanation.statistics.decomposition import Decomposition


def test_a_rise_is_split_into_miscalibration_and_overfitting():
    def parts(miscalibration, discrimination):
        return Decomposition(0.69, miscalibration, discrimination, 0.0, 0.0, 0.0)

    valid = [0.6, 0.5, 0.45, 0.5, 0.6, 0.8]
    confident = [parts(loss - 0.40, 0.29) for loss in valid]
    found = check_log(valid, valid, decompositions=confident)["BCE026"]
    assert "+0.3500 by miscalibration, +0.0000 by what is left" in found.message
    assert "calibrate" in found.fix
    overfitted = [parts(0.01, 0.7 - loss) for loss in valid]
    found = check_log(valid, valid, decompositions=overfitted)["BCE026"]
    assert "+0.3500 by what is left" in found.message
    assert "overfits" in found.fix
    with pytest.raises(ValueError, match="valid has 6 epochs and decompositions 2"):
        check_log(valid, valid, decompositions=overfitted[:2])


def test_infinite_logits_fail_where_they_are_wrong():
    outputs, targets = [math.inf, -math.inf] + [1.0, -1.0] * 15, [1, 0] + [1, 0] * 15
    assert check_predictions(outputs, targets, from_logits=True)["BCE002"].level is Level.PASS
    targets[0] = 0
    assert codes(check_predictions(outputs, targets, from_logits=True))[0] == "BCE002"


def test_probabilities_out_of_range_are_told_apart():
    z, y = predictions()
    p = 1 / (1 + np.exp(-z))
    for outputs, word in ((np.append(p[1:], 1.2), "look at these"), (100 * p, "/ 100"), (z, "from_logits=True")):
        assert word in check_predictions(outputs, y, from_logits=False)["BCE029"].fix
    with_nan = check_predictions(np.append(p[1:], math.nan), y, from_logits=False)
    assert codes(with_nan) == ["BCE002"]


def test_three_classes_are_not_two():
    found = check_predictions(predictions()[0], np.arange(5000) % 3, from_logits=True)["BCE001"]
    assert "class numbers 0 to 2" in found.message
    assert "CrossEntropyLoss" in found.fix


def test_one_class_only_is_said():
    assert codes(check_predictions(predictions()[0], np.ones(5000), from_logits=True)) == ["BCE033"]


def test_rare_events_are_not_stuck():
    assert not check_log([0.0062, 0.0045, 0.0041, 0.0039], base_rate=0.001).issues
    assert codes(check_log([0.0080, 0.0079, 0.0079, 0.0079], base_rate=0.001)) == ["BCE020"]
    assert codes(check_log([0.5] * 10)) == ["BCE020"]


def trained(share, *last, epochs=8, seed=0):
    """The share of ones and the loss of each epoch of a small network on separable items."""
    torch.manual_seed(seed)
    y = (torch.rand(2000, 1) < share).float()
    x = torch.randn(2000, 4) + 2 * y
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1), *last)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(2000).split(100):
            loss = bce(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / 20
        losses.append(total)
    return y.mean().item(), losses


@pytest.mark.parametrize("share", [0.1, 0.2, 0.95])
def test_a_sigmoid_applied_twice_shows_in_the_log_where_ones_are_not_half(share):
    base_rate, losses = trained(share, torch.nn.Sigmoid())
    found = check_log(losses, base_rate=base_rate)
    assert codes(found) == ["BCE035"]
    entropy = -(base_rate * math.log(base_rate) + (1 - base_rate) * math.log(1 - base_rate))
    floor = (1 - base_rate) * math.log(2) + base_rate * math.log(1 + math.exp(-1))
    assert f"above {entropy:.4f} in all 8 epochs" in found["BCE035"].message
    assert "A sigmoid applied twice" in found["BCE035"].message
    assert f"= {floor:.4f}" in found["BCE035"].message
    assert min(losses) > floor
    assert codes(check_log(trained(share)[1], base_rate=base_rate)) == []


def test_a_loss_above_the_cost_of_the_base_rate_is_no_sigmoid_twice_outside_of_its_range():
    found = check_log([2.9, 2.1, 1.9, 1.85, 1.84, 1.84], base_rate=0.2)
    assert codes(found) == ["BCE035"]
    assert "worse than always predicting 20 %" in found["BCE035"].message
    assert "sigmoid" not in found["BCE035"].message


def test_a_loss_that_still_falls_or_was_below_the_cost_of_the_base_rate_once_is_none_above_it():
    slow = [0.69 - 0.003 * epoch for epoch in range(20)]  # a small rate: rare events cost 0.2 at the end
    assert check_log(slow, base_rate=0.05)["BCE035"].level is Level.PASS
    assert check_log([0.6, 0.3, 0.29, 0.5, 0.5, 0.5], base_rate=0.1)["BCE035"].level is Level.PASS
    dropout = [0.75, 0.70, 0.68, 0.68, 0.68, 0.68]
    assert check_log(dropout, [0.6, 0.55, 0.55, 0.55, 0.55, 0.55], base_rate=0.3)["BCE035"].level is Level.PASS
    assert check_log(dropout)["BCE035"].level is Level.NOT_APPLICABLE


def test_log_two_is_set_beside_the_cost_of_the_base_rate_and_names_the_sigmoid_twice():
    found = check_log([0.9, 0.7, 0.6935, 0.6933, 0.6932], base_rate=0.1)
    assert codes(found) == ["BCE020"]  # not a second time as BCE035
    assert "always answering 10 % costs 0.3251" in found["BCE020"].message
    assert "a sigmoid before a loss of logits" in found["BCE020"].fix


def test_sums_over_batches_are_recognised_beside_noise():
    train = np.array([0.6, 0.5, 0.42, 0.36])
    valid = train * np.array([1.05, 1.1, 1.2, 1.3])
    assert codes(check_log(train, 32 * valid, batch_size=32)) == ["BCE023"]
    assert not check_log(train, valid, batch_size=32).issues


@pytest.mark.parametrize("train", [[0.69, 1, 4, 20, 90, 99], [55, 60, 70, 72, 75]])
def test_divergence_is_found(train):
    assert codes(check_log(train)) == ["BCE034"]


def test_weights_lower_what_is_certain():
    alarms = 0
    for seed in range(20):
        z, y = predictions(2000, seed=seed)
        w = np.random.default_rng(seed).lognormal(0, 2, 2000)
        alarms += bool(check_predictions(z, y, weight=w, from_logits=True)["BCE028"].level is Level.WARN)
    assert alarms <= 1


def test_several_files_and_weights_on_the_command_line(command):
    for name in ("a", "b"):
        Path(f"{name}.csv").write_text("p,y,w\n" + "0.2,no,1\n0.9,yes,2\n" * 60)
    result = command("check", "*.csv", "--prob", "p", "--target", "y", "--weight", "w")
    assert "240 predictions" in result.stdout
    assert result.exit_code == 0
