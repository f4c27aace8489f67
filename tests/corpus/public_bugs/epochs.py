"""The numbers that are printed for each epoch."""

from __future__ import annotations

import torch
from torch import nn

import torchbce
from torchbce.checks.report import Report

from .data import Epochs, perceptron, table
from .registry import bug, mended

SHORT_BATCH = "https://github.com/ligerlac/torchlogix/pull/34"
LAST_BATCH = "https://github.com/OlgaChernytska/2D-Hand-Pose-Estimation-RGB/issues/2"
FULL_BATCHES = "https://github.com/MichiganCOG/ViP/issues/13"
BY_ITEMS = "https://github.com/kazuto1011/svm-pytorch/issues/4"
TRAIN_BY_ITEMS = "https://github.com/mahmoodlab/PathomicFusion/pull/3"
SUM_OF_MEANS = "https://github.com/davidnabergoj/torchflows/issues/7"
PADDED = "https://github.com/pytorch/pytorch/issues/25162"
DROPPED = "https://github.com/areal-project/AReaL/pull/1096"
LONG_RUN = "https://github.com/romarcg/traversability_estimation/issues/12"
HIGH_RATE = (
    "https://datascience.stackexchange.com/questions/28481/reason-for-having-both-low-loss-and-same-predicted-class"
)
PLATEAU = "https://discuss.pytorch.org/t/bce-loss-stuck-at-0-693-in-the-beginnng-of-training-and-then-started-to-decrease-why/183958"


def _printed(run: Epochs, printed: list[float]) -> Report:
    return torchbce.check_log(printed, batch_size=run.batch, batch_losses=run.means, batch_counts=run.counts)


def _run(seed: int = 0) -> Epochs:
    torch.manual_seed(seed)
    return Epochs()


@bug(SHORT_BATCH, "The epoch's loss is the mean of the batches' means, though the last batch is short.", ("BCE022",))
def epoch_mean_of_batch_means() -> Report:
    run = _run()
    return _printed(run, [sum(means) / len(means) for means in run.means])


@mended(SHORT_BATCH, "Each batch counts with its size.")
def epoch_mean_of_batch_means_mended() -> Report:
    run = _run()
    return _printed(run, run.train_means())


@bug(LAST_BATCH, "The list of losses is emptied in each batch, so only the last one is left.", ("BCE022",))
def epoch_of_the_last_batch() -> Report:
    run = _run(1)
    return _printed(run, [means[-1] for means in run.means])


@mended(LAST_BATCH, "The list is emptied once an epoch.")
def epoch_of_the_last_batch_mended() -> Report:
    run = _run(1)
    return _printed(run, run.train_means())


@bug(FULL_BATCHES, "The sum over items is divided by batches times the full batch size.", ("BCE022",))
def epoch_divided_by_full_batches() -> Report:
    run = _run(2)
    full = len(run.counts) * run.batch
    return _printed(run, [mean * run.items / full for mean in run.train_means()])


@mended(FULL_BATCHES, "It is divided by the items that were processed.")
def epoch_divided_by_full_batches_mended() -> Report:
    run = _run(2)
    return _printed(run, run.train_means())


@bug(BY_ITEMS, "The sum of the batches' means is divided by the number of items.", ("BCE022", "BCE023"))
def epoch_divided_by_items() -> Report:
    run = _run(3)
    return _printed(run, [sum(means) / run.items for means in run.means])


@mended(BY_ITEMS, "The sum over items is divided by their number.")
def epoch_divided_by_items_mended() -> Report:
    run = _run(3)
    return _printed(run, run.train_means())


@bug(TRAIN_BY_ITEMS, "Training sums batch means and divides by items; validation is a mean.", ("BCE023",))
def train_divided_by_items() -> Report:
    run = _run(4)
    train = [sum(means) / run.items for means in run.means]
    return torchbce.check_log(train, run.valid_means(), batch_size=run.batch)


@mended(TRAIN_BY_ITEMS, "Training divides by the number of batches.")
def train_divided_by_items_mended() -> Report:
    run = _run(4)
    train = [sum(means) / len(means) for means in run.means]
    return torchbce.check_log(train, run.valid_means(), batch_size=run.batch)


@bug(SUM_OF_MEANS, "The validation loss is the sum of the batches' means.", ("BCE023", "BCE022", "BCE021"))
def valid_sum_of_batch_means() -> Report:
    run = _run(5)
    return torchbce.check_log(run.train_means(), [sum(means) for means in run.valid], batch_size=run.batch)


@mended(SUM_OF_MEANS, "It is the mean over the validation items.")
def valid_sum_of_batch_means_mended() -> Report:
    run = _run(5)
    return torchbce.check_log(run.train_means(), run.valid_means(), batch_size=run.batch)


def _seen(items_seen: int) -> Report:
    run = _run(6)
    return torchbce.check_log(run.train_means(), run.valid_means(), items_seen=items_seen, dataset_size=1000)


@bug(PADDED, "The distributed sampler repeats items, so that each of three processes has as many.", ("BCE024",))
def sampler_repeats_items() -> Report:
    return _seen(sum(-(-1000 // 3) for _ in range(3)))


@mended(PADDED, "Each process has its own part.")
def sampler_repeats_items_mended() -> Report:
    return _seen(334 + 333 + 333)


@bug(DROPPED, "drop_last=True leaves out the last validation items.", ("BCE024",))
def loader_drops_items() -> Report:
    return _seen(1000 // 64 * 64)


@mended(DROPPED, "drop_last=False in validation.")
def loader_drops_items_mended() -> Report:
    return _seen(1000)


def _long(epochs: int, best: bool) -> Report:
    torch.manual_seed(7)
    x, y = table(60)
    x_valid, y_valid = table(400)
    model, loss_func = perceptron(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    train, valid = [], []
    for _ in range(epochs):
        losses = []
        for rows in torch.randperm(60).split(15):
            optimizer.zero_grad()
            loss = loss_func(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        train.append(sum(losses) / 4)
        with torch.no_grad():
            valid.append(loss_func(model(x_valid), y_valid).item())
    stop = valid.index(min(valid)) + 2 if best else epochs
    return torchbce.check_log(train[:stop], valid[:stop])


@bug(LONG_RUN, "Fifty epochs, while validation loss falls for five and then only rises.", ("BCE026",))
def validation_rises_for_long() -> Report:
    return _long(50, best=False)


@mended(LONG_RUN, "Training stops one epoch after the best.")
def validation_rises_for_long_mended() -> Report:
    return _long(50, best=True)


@bug(HIGH_RATE, "The learning rate is too high: a good loss is lost, and all outputs are 0.5.", ("BCE034", "BCE020"))
def collapse_at_a_high_rate() -> Report:
    train = [0.66, 0.54, 0.43, 0.36, 0.31, 0.29, 0.33, 0.47, 0.61, 0.6938, 0.6932, 0.6932, 0.6931]
    return torchbce.check_log(train, base_rate=0.5)


@mended(HIGH_RATE, "A tenth of the learning rate.")
def collapse_at_a_high_rate_mended() -> Report:
    return torchbce.check_log([0.68, 0.61, 0.54, 0.47, 0.42, 0.38, 0.35, 0.33, 0.31, 0.30], base_rate=0.5)


@bug(PLATEAU, "Thousands of steps at 0.693: all outputs are near 0.", ("BCE020",))
def plateau_at_log_two() -> Report:
    torch.manual_seed(8)
    noise = 0.0004 * torch.randn(12)
    return torchbce.check_log([0.6931 + n for n in noise.tolist()], from_logits=True)
