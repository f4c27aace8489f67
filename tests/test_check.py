"""The checks: each finds its own bug by its own code, and healthy training raises no alarm."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cross_entropy, l1_loss, mse_loss, relu, softplus

import torchbce
from seeded import LOG_BUGS, PREDICTION_BUGS, predictions
from torchbce import check_log, check_loss, check_predictions
from torchbce.checks.catalogue.finding import Finding, Level
from torchbce.checks.probing.fingerprint import fingerprint
from torchbce.checks.report import CheckFailed, report
from torchbce.checks.rules import catalogue
from torchbce.explanation.statistics.decomposition import Decomposition

PAGES = Path(__file__).parents[1] / "docs" / "checks"


def codes(found):
    return [finding.code for finding in found.issues]


def focal(gamma, alpha=None):
    def loss(z, y):
        sign = 2 * y - 1
        weight = 1.0 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
        return (weight * torch.sigmoid(-sign * z) ** gamma * softplus(-sign * z)).mean()

    return loss


# The fingerprint


@pytest.mark.parametrize(
    ("loss_func", "text"),
    [
        (torch.nn.BCELoss(), "mean-reduced BCE of probabilities"),
        (torch.nn.BCELoss(reduction="sum"), "sum-reduced BCE of probabilities"),
        (torchbce.BCELoss(), "mean-reduced BCE of probabilities"),
        (torch.nn.BCEWithLogitsLoss(), "mean-reduced BCE of logits"),
        (torch.nn.BCEWithLogitsLoss(reduction="none"), "none-reduced BCE of logits"),
        (torchbce.BCEWithLogitsLoss(pos_weight=5.0), "mean-reduced BCE of logits with pos_weight 5"),
        (lambda z, y: bce(z, 0.9 * y + 0.05), "mean-reduced BCE of logits with label smoothing 0.1"),
        (
            lambda z, y: bce(z, 0.9 * y + 0.05, pos_weight=torch.tensor(3.0), reduction="sum"),
            "sum-reduced BCE of logits with pos_weight 3, label smoothing 0.1",
        ),
        (lambda z, y: bce(z, y) / math.log(2), "mean-reduced BCE of logits, times 1.443 (bits)"),
        (lambda z, y: 0.5 * bce(z, y), "mean-reduced BCE of logits, times 0.5"),
        (lambda z, y: bce(z, 1 - y), "mean-reduced BCE of logits with targets flipped"),
        (lambda z, y: bce(z.float(), y.float()), "mean-reduced BCE of logits"),
        (lambda z, y: bce(z.reshape(-1, 1), y.reshape(-1, 1)), "mean-reduced BCE of logits"),
        (lambda z, y: softplus(z[:, None] * (1 - 2 * y)).mean(), "a loss that compares every output with every target"),
        (lambda z, y: bce(torch.sigmoid(z), y), "sigmoid twice, not BCE"),
        (lambda z, y: mse_loss(torch.sigmoid(z), y), "the squared error of sigmoid(outputs), not BCE"),
        (mse_loss, "the squared error of the outputs, not BCE"),
        (lambda z, y: l1_loss(torch.sigmoid(z), y), "the absolute error of sigmoid(outputs), not BCE"),
        (lambda z, y: relu(1 - (2 * y - 1) * z).mean(), "the hinge loss, not BCE"),
        (focal(2.0), "focal loss with gamma 2, not BCE"),
        (focal(1.5, 0.25), "focal loss with gamma 1.5 and alpha 0.25, not BCE"),
        (lambda z, y: cross_entropy(z.reshape(-1, 1), 0 * y.long()), "a loss that does not depend on the outputs"),
        (lambda z, y: (z**4 * y).mean(), "not binary cross-entropy"),
    ],
)
def test_losses_are_identified(loss_func, text):
    assert str(fingerprint(loss_func)) == text


def test_losses_of_several_columns_are_identified():
    loss_func = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 3.0, 4.0]))
    assert fingerprint(loss_func, columns=3).pos_weight == (2, 3, 4)
    assert fingerprint(torch.nn.BCEWithLogitsLoss(pos_weight=torch.full((3,), 2.0)), columns=3).pos_weight == (2,)


def test_a_loss_that_fails_everywhere_says_why():
    def broken(z, y):
        raise TypeError("no such thing")

    with pytest.raises(ValueError, match="the loss function fails on 16 outputs: no such thing"):
        check_loss(broken)


@pytest.mark.parametrize(
    ("loss_func", "code", "level"),
    [
        (lambda z, y: softplus(z[:, None] * (1 - 2 * y)).mean(), "BCE003", Level.FAIL),
        (lambda z, y: bce(torch.sigmoid(z), y), "BCE004", Level.FAIL),
        (lambda z, y: cross_entropy(z.reshape(-1, 1), 0 * y.long()), "BCE006", Level.FAIL),
        (lambda z, y: bce(z, 1 - y), "BCE007", Level.FAIL),
        (lambda z, y: -bce(z, y), "BCE007", Level.FAIL),
        (mse_loss, "BCE007", Level.TIP),
        (torch.nn.BCELoss(reduction="sum"), "BCE008", Level.TIP),
    ],
)
def test_wrong_losses_are_named_by_their_own_code(loss_func, code, level):
    found = check_loss(loss_func)
    assert [f.code for f in found.findings if f.level in (Level.FAIL, Level.WARN, Level.TIP)] == [code]
    assert found[code].level is level
    assert found[code].fix


# Predictions


@pytest.mark.parametrize(("outputs", "targets", "from_logits", "code"), PREDICTION_BUGS)
def test_bugs_in_predictions_are_named_by_their_own_code(outputs, targets, from_logits, code):
    found = check_predictions(outputs, targets, from_logits=from_logits)
    assert codes(found)[0] == code
    assert found[code].message
    assert found[code].fix


def test_the_encoding_and_the_cause_are_named():
    z, y = predictions()
    assert "these look like {-1, 1}" in check_predictions(z, 2 * y - 1, from_logits=True)["BCE001"].message
    assert "class numbers 0 to 3" in check_predictions(z, np.arange(5000) % 4, from_logits=True)["BCE001"].message
    shifted = check_predictions(z + math.log(5), y, from_logits=True)["BCE028"]
    assert "pos_weight=" in shifted.fix
    assert float(shifted.evidence["shift"]) == pytest.approx(-math.log(5), abs=0.15)


def test_few_items_that_carry_the_loss_are_a_tip():
    y = np.arange(20_000) % 2.0
    wrong = np.arange(20_000) % 401 == 0
    found = check_predictions(6 * np.where(wrong, 1 - 2 * y, 2 * y - 1), y, from_logits=True)
    assert found["BCE031"].level is Level.TIP
    assert not found.issues
    rare = check_predictions(*predictions(20_000, mean=-7, scale=0.5), from_logits=True)
    assert rare["BCE031"].level is Level.PASS  # where else could the loss be?


def test_healthy_predictions_raise_no_alarm():
    alarms = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = int(10 ** rng.uniform(1.5, 4.5))
        z, y = predictions(n, mean=rng.uniform(-5, 3), scale=rng.uniform(0.7, 3), seed=seed)
        z = z.astype(rng.choice([np.float32, np.float64]))
        if not 10 < y.sum() < n - 10:
            continue
        alarms += [(seed, *codes(check_predictions(z, y, from_logits=True)))]
    assert [alarm for alarm in alarms if len(alarm) > 1] == []
    assert len(alarms) > 100


def test_narrow_predictions_are_not_taken_for_something_else():
    z, y = predictions(mean=0.5, scale=0.1)
    assert check_predictions(z, y, from_logits=True)["BCE029"].level is Level.PASS
    assert check_predictions(1 / (1 + np.exp(-z)), y, from_logits=False)["BCE029"].level is Level.PASS


# Logs


@pytest.mark.parametrize(("train", "options", "code"), LOG_BUGS)
def test_bugs_in_logs_are_named_by_their_own_code(train, options, code):
    found = check_log(train, **options)
    assert codes(found) == [code]
    assert found[code].fix


def test_healthy_logs_raise_no_alarm():
    rng = np.random.default_rng(0)
    for _ in range(300):
        epochs = int(rng.integers(1, 40))
        train = 0.3 + 0.4 * np.exp(-np.arange(epochs) / rng.uniform(2, 10)) + rng.normal(0, 0.003, epochs)
        valid = train + rng.uniform(0, 0.05) + rng.normal(0, 0.01, epochs)
        found = check_log(train, valid, base_rate=rng.uniform(0.2, 0.8), batch_size=32)
        assert codes(found) == []


def test_validation_below_training_is_a_tip_only():
    found = check_log([0.6, 0.5, 0.4], [0.5, 0.4, 0.35])
    assert found["BCE025"].level is Level.TIP
    assert found.ok


def test_bad_logs_are_refused():
    with pytest.raises(ValueError, match="train has 2 epochs and valid 1"):
        check_log([0.5, 0.4], [0.5])
    with pytest.raises(ValueError, match="train is a loss per epoch"):
        check_log([])
    with pytest.raises(ValueError, match="epoch 1 has 1 batch losses and there are 2 batch counts"):
        check_log([0.5], batch_losses=[[0.5]], batch_counts=[1, 2])


# The report


def test_every_form_of_the_report():
    z, y = predictions()
    found = check_predictions(3 * z, y, from_logits=True)
    assert "Issues\n  WARN  BCE028" in str(found)
    assert found._repr_html_().startswith("<pre>")
    assert json.loads(found.to_json())["ok"] is True
    log = json.loads(found.to_sarif())
    assert [result["ruleId"] for result in log["runs"][0]["results"]] == ["BCE028"]
    assert log["runs"][0]["results"][0]["level"] == "warning"
    found.raise_on_failure()
    with pytest.raises(CheckFailed, match="BCE028"):
        found.raise_on_failure(warnings=True)
    with pytest.raises(CheckFailed, match="BCE001"):
        check_predictions(z, 2 * y - 1, from_logits=True).raise_on_failure()
    with pytest.raises(KeyError):
        found["BCE099"]


def test_codes_are_ignored_and_consequences_explained():
    z, y = predictions()
    assert codes(check_predictions(3 * z, y, from_logits=True, ignore=["BCE028"])) == []
    with pytest.raises(ValueError, match="there is no check BCE999; the codes are BCE001"):
        check_predictions(z, y, from_logits=True, ignore=["BCE999"])
    both = report(
        [Finding(catalogue()["BCE029"], Level.FAIL, "cause"), Finding(catalogue()["BCE028"], Level.WARN, "consequence")]
    )
    assert codes(both) == ["BCE029"]
    assert both["BCE028"].message == "explained by BCE029"


def test_the_index_of_the_docs_is_that_of_the_rules():
    index = importlib.util.spec_from_file_location("index", PAGES / "index.py")
    module = importlib.util.module_from_spec(index)
    index.loader.exec_module(module)
    assert module.table() in (PAGES.parent / "checks.md").read_text(), "run python docs/checks/index.py"


def test_every_check_has_a_page_and_every_page_a_check():
    assert {path.stem for path in PAGES.glob("BCE*.md")} == set(catalogue())
    for code, entry in catalogue().items():
        text = (PAGES / f"{code}.md").read_text()
        assert text.startswith(f"# {code} {entry.slug}: {entry.title}\n")
        explained = f"not reported: {', '.join(entry.explains)}."
        assert (explained in text) == bool(entry.explains)
        assert set(entry.explains) <= set(catalogue())


# The command


def test_the_command_checks_predictions_and_logs(command, tmp_path):
    Path("bad.csv").write_text("p,y\n" + "0.4,-1\n0.6,1\n" * 100)
    result = command("check", "bad.csv", "--target", "y", "--prob", "p")
    assert result.exit_code == 6
    assert "FAIL  BCE001" in result.stdout
    assert json.loads(command("check", "bad.csv", "--target", "y", "--prob", "p", "--json").stdout)["ok"] is False
    assert "sarif" in command("check", "bad.csv", "--target", "y", "--prob", "p", "--sarif").stdout
    assert command("check", "bad.csv", "--target", "y", "--prob", "p", "--ignore", "BCE001").exit_code == 0
    Path("log.csv").write_text("epoch,train,valid\n1,0.6,0.62\n2,0.4,0.5\n3,0.3,0.45\n")
    result = command("check", "log.csv", "--train", "train", "--valid", "valid")
    assert result.exit_code == 0
    assert result.stdout.startswith("3 epochs\nPassed: ")


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ((), 2, "say what the file holds"),
        (("--prob", "p", "--logit", "p"), 2, "say what the file holds"),
        (("--prob", "p", "--target", "y", "--valid", "p"), 2, "--valid COL goes with --train COL"),
        (("--prob", "q", "--target", "y"), 3, "no column 'q'"),
        (("--prob", "p", "--target", "t"), 3, "row 2 of column 't' is 'maybe'; expected a number (1 such rows)"),
        (("--prob", "p", "--target", "y", "--ignore", "BCE999"), 3, "there is no check BCE999"),
    ],
)
def test_bad_requests_to_the_command(command, flags, code, message):
    Path("t.csv").write_text("p,y,t\n0.5,1,1\n0.5,0,maybe\n")
    result = command("check", "t.csv", *flags)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())


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
