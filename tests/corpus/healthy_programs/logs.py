"""Losses per epoch, as healthy training prints them."""

from __future__ import annotations

import math

import numpy as np

import torchbce
from torchbce import Report

from .registry import healthy


def curve(
    start: float, end: float, epochs: int, *, noise: float = 0.0, pace: float = 5.0, seed: int = 0
) -> list[float]:
    """A loss that falls from `start` to `end`, faster at first."""
    rng = np.random.default_rng(seed)
    fall = np.exp(-np.arange(epochs) / pace)
    return [float(v) for v in end + (start - end) * fall + noise * rng.normal(size=epochs)]


@healthy("validation is flat and noisy for 40 epochs")
def flat_and_noisy() -> Report:
    return torchbce.check_log(curve(0.6, 0.33, 40, noise=0.003), curve(0.55, 0.36, 40, noise=0.015, seed=1))


@healthy("a small validation set: jumps of 10 % up and down")
def small_validation_set() -> Report:
    return torchbce.check_log(
        curve(0.65, 0.4, 30, noise=0.004), curve(0.6, 0.42, 30, noise=0.04, seed=2), base_rate=0.4
    )


@healthy("a plateau at log 2 during warm-up, and then a fall")
def plateau_at_first() -> Report:
    rng = np.random.default_rng(0)
    flat = [float(v) for v in 0.6932 + 0.0004 * rng.normal(size=6)]
    return torchbce.check_log(flat + curve(0.68, 0.4, 12, noise=0.003), base_rate=0.5)


@healthy("the loss has long converged and does not move any more")
def long_converged() -> Report:
    return torchbce.check_log(curve(0.5, 0.21, 60, pace=3), curve(0.5, 0.235, 60, pace=3), base_rate=0.3)


@healthy("events of 0.5 %: from the entropy 0.0315 down to 0.026")
def rare_events_log() -> Report:
    train = curve(0.0313, 0.0260, 15, noise=0.00005)
    return torchbce.check_log(train, curve(0.0312, 0.0266, 15, noise=0.0002, seed=3), base_rate=0.005)


@healthy("little can be known: from 0.692 down to 0.683, as with market data")
def weak_signal_log() -> Report:
    train = curve(0.692, 0.6815, 12, noise=0.0003)
    return torchbce.check_log(train, curve(0.6915, 0.6838, 12, noise=0.0006, seed=4), base_rate=0.5)


@healthy("pos_weight 20 makes the loss start at 1.4")
def weighted_log() -> Report:
    return torchbce.check_log(
        curve(1.4, 0.8, 15, noise=0.01), curve(1.3, 0.85, 15, noise=0.02, seed=5), from_logits=True
    )


@healthy("warm restarts: the loss jumps up at epochs 10 and 20, and falls lower each time")
def warm_restarts() -> Report:
    parts = [curve(0.6, 0.4, 10, pace=3), curve(0.5, 0.36, 10, pace=3), curve(0.46, 0.33, 10, pace=3)]
    train = [v for part in parts for v in part]
    return torchbce.check_log(train, [v + 0.02 for v in train])


@healthy("harder examples are added over time, so the training loss creeps up by a third")
def curriculum() -> Report:
    train = [0.5, 0.4, 0.32, 0.30, 0.32, 0.34, 0.36, 0.38, 0.40, 0.39, 0.38, 0.37]
    return torchbce.check_log(train, curve(0.66, 0.41, 12, noise=0.004, seed=6))


@healthy("validation is below training because of dropout")
def dropout_log() -> Report:
    return torchbce.check_log(curve(0.7, 0.45, 20, noise=0.004), curve(0.62, 0.40, 20, noise=0.004, seed=7))


@healthy("training stopped early, after two slightly worse epochs")
def stopped_early() -> Report:
    valid = [0.61, 0.55, 0.51, 0.49, 0.482, 0.479, 0.481, 0.484]
    return torchbce.check_log(curve(0.66, 0.42, 8), valid)


@healthy("one epoch")
def one_epoch() -> Report:
    return torchbce.check_log([0.52], [0.49], base_rate=0.4)


@healthy("two epochs of a pretrained network")
def two_epochs() -> Report:
    return torchbce.check_log([0.31, 0.22], [0.25, 0.24])


@healthy("focal loss: numbers far below those of BCE")
def focal_log() -> Report:
    return torchbce.check_log(curve(0.09, 0.02, 20, noise=0.0005), curve(0.085, 0.024, 20, noise=0.001, seed=8))


def epochs_of_batches(counts: list[int], epochs: int) -> tuple[list[list[float]], list[float]]:
    """The mean loss of each batch, and of all items, per epoch."""
    rng = np.random.default_rng(0)
    batches = [list(0.4 + 0.3 * math.exp(-e / 4) + 0.05 * rng.normal(size=len(counts))) for e in range(epochs)]
    return batches, [float(np.average(b, weights=counts)) for b in batches]


@healthy("a short last batch, and the mean over items")
def mean_over_items() -> Report:
    counts = [256] * 4 + [1]
    batches, train = epochs_of_batches(counts, 8)
    return torchbce.check_log(train, batch_losses=batches, batch_counts=counts, batch_size=256)


@healthy("all batches are equally large, so the mean of the batches is right")
def equal_batches() -> Report:
    counts = [128] * 6
    batches, _ = epochs_of_batches(counts, 8)
    train = [sum(b) / len(b) for b in batches]
    return torchbce.check_log(train, batch_losses=batches, batch_counts=counts, items_seen=768, dataset_size=768)


@healthy("validation is measured exactly like training and gives nearly the same numbers, with batches of one item")
def nearly_equal_curves() -> Report:
    train = curve(0.68, 0.5, 12)
    rng = np.random.default_rng(1)
    valid = [v * (1 + 0.001 * float(rng.normal())) for v in train]
    return torchbce.check_log(train, valid, batch_size=1, running=False)


@healthy("a single spike of one bad batch, mended in the next epoch")
def single_spike() -> Report:
    train = curve(0.66, 0.3, 20, noise=0.003)
    train[9] = 1.5
    return torchbce.check_log(train, curve(0.64, 0.34, 20, noise=0.004, seed=9))


@healthy("validation rises by 15 % in the middle and then falls to a new best")
def double_descent() -> Report:
    valid = [0.60, 0.50, 0.45, 0.43, 0.44, 0.46, 0.48, 0.495, 0.48, 0.45, 0.42, 0.40, 0.39, 0.385, 0.383]
    return torchbce.check_log(curve(0.65, 0.2, 15), valid)


@healthy("targets are smoothed by 0.1, so the loss cannot fall below 0.2")
def smoothed_log() -> Report:
    return torchbce.check_log(curve(0.69, 0.2, 25, noise=0.001), curve(0.68, 0.23, 25, noise=0.003, seed=10))


@healthy("data that can be separated: the training loss goes to 1e-6 and validation stays flat")
def separable() -> Report:
    return torchbce.check_log(curve(0.5, 1e-6, 60, pace=3), curve(0.5, 0.02, 60, pace=3, noise=0.0004, seed=11))
