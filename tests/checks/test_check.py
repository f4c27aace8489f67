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
from check_codes import codes
from corpus.seeded import LOG_BUGS, PREDICTION_BUGS, predictions
from root import ROOT
from torchbce import check_log, check_loss, check_predictions
from torchbce.checks.catalogue.finding import Finding, Level
from torchbce.checks.probing.fingerprint import fingerprint
from torchbce.checks.report import CheckFailed, report
from torchbce.checks.rules import catalogue

PAGES = ROOT / "docs" / "checks"


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


@pytest.mark.parametrize("sets", [40, pytest.param(150, marks=pytest.mark.combination)])
def test_healthy_predictions_raise_no_alarm(sets):
    alarms = []
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        n = int(10 ** rng.uniform(1.5, 4.5))
        z, y = predictions(n, mean=rng.uniform(-5, 3), scale=rng.uniform(0.7, 3), seed=seed)
        z = z.astype(rng.choice([np.float32, np.float64]))
        if not 10 < y.sum() < n - 10:
            continue
        alarms += [(seed, *codes(check_predictions(z, y, from_logits=True)))]
    assert [alarm for alarm in alarms if len(alarm) > 1] == []
    assert len(alarms) > 0.6 * sets


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
