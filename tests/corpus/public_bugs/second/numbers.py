"""Printed losses."""

from __future__ import annotations

import torch

import torchbce
from corpus.public_bugs.data import Epochs
from torchbce.checks.report import Report

from .seen import thread


def _run(seed: int) -> Epochs:
    torch.manual_seed(seed)
    return Epochs(epochs=6)


def _printed(run: Epochs, printed: list[float]) -> Report:
    return torchbce.check_log(printed, batch_size=run.batch, batch_losses=run.means, batch_counts=run.counts)


@thread(
    "https://github.com/lucidrains/med-seg-diff-pytorch/pull/17",
    "The epoch's loss is that of its last batch.",
    "The mean over items.",
    ("BCE022",),
)
def epoch_is_its_last_batch(wrong: bool) -> Report:
    run = _run(10)
    return _printed(run, [means[-1] for means in run.means] if wrong else run.train_means())


@thread(
    "https://github.com/YifanZhang-git/SKAPP/issues/8",
    "The smallest loss of a batch is printed for the epoch.",
    "The mean over items.",
    ("BCE022",),
)
def smallest_batch(wrong: bool) -> Report:
    run = _run(11)
    return _printed(run, [min(means) for means in run.means] if wrong else run.train_means())


@thread(
    "https://github.com/mehta-lab/VisCy/pull/202",
    "The list of losses is never emptied, so the mean is over all epochs so far.",
    "It is emptied.",
    ("BCE022",),
)
def mean_over_all_epochs(wrong: bool) -> Report:
    run = _run(12)
    each = run.train_means()
    return _printed(run, [sum(each[: i + 1]) / (i + 1) for i in range(len(each))] if wrong else each)


@thread(
    "https://github.com/falloutdurham/beginners-pytorch-deep-learning/issues/68",
    "A sum over items is divided by the number of batches.",
    "By the items.",
    ("BCE022", "BCE023"),
)
def items_over_batches(wrong: bool) -> Report:
    run = _run(13)
    factor = run.items / len(run.counts) if wrong else 1
    return _printed(run, [factor * mean for mean in run.train_means()])
