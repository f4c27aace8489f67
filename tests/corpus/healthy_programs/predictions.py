"""Predictions that are right, or as right as their number allows to say."""

from __future__ import annotations

import numpy as np
import torch

import torchbce
from torchbce import Report

from .registry import healthy


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def calibrated(n: int, mean: float, spread: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets that are drawn with just these probabilities."""
    rng = np.random.default_rng(seed)
    z = mean + spread * rng.normal(size=n)
    return z, (rng.random(n) < sigmoid(z)).astype(float)


@healthy("calibrated probabilities of events of 0.5 %")
def rare_events() -> Report:
    z, y = calibrated(20000, -5.8, 1.0)
    return torchbce.check_predictions(sigmoid(z), y, from_logits=False)


@healthy("calibrated logits of events of 0.5 %, and so few rows that five events occur")
def rare_events_few_rows() -> Report:
    z, y = calibrated(1000, -5.8, 1.0, seed=1)
    return torchbce.check_predictions(z, y, from_logits=True)


@healthy("logits of a good model")
def good_logits() -> Report:
    z, y = calibrated(5000, 0.0, 3.0)
    return torchbce.check_predictions(torch.tensor(z), torch.tensor(y), from_logits=True)


@healthy("a strong model whose loss is a tenth of the base rate's")
def strong_model() -> Report:
    z, y = calibrated(4000, 0.0, 14.0)
    return torchbce.check_predictions(np.clip(z, -30, 30), y, from_logits=True)


@healthy("all probabilities are between 0.52 and 0.72, rightly")
def probabilities_just_above_half() -> Report:
    rng = np.random.default_rng(2)
    p = rng.uniform(0.52, 0.72, 5000)
    return torchbce.check_predictions(p, (rng.random(5000) < p).astype(int), from_logits=False)


@healthy("all logits are between 0 and 1, rightly")
def logits_between_zero_and_one() -> Report:
    rng = np.random.default_rng(3)
    z = rng.uniform(0.05, 0.95, 5000)
    return torchbce.check_predictions(z, rng.random(5000) < sigmoid(z), from_logits=True)


@healthy("hardly better than chance, and honest about it")
def weak_signal() -> Report:
    z, y = calibrated(20000, 0.0, 0.15, seed=4)
    return torchbce.check_predictions(sigmoid(z), y, from_logits=False)


@healthy("eight items")
def eight_items() -> Report:
    p = [0.1, 0.8, 0.3, 0.6, 0.7, 0.2, 0.9, 0.4]
    return torchbce.check_predictions(p, [0, 1, 0, 1, 0, 0, 1, 1], from_logits=False)


@healthy("20 labels per item, with very different base rates")
def many_labels_predicted() -> Report:
    rng = np.random.default_rng(5)
    z = np.linspace(-4, 1, 20) + 1.2 * rng.normal(size=(500, 20))
    return torchbce.check_predictions(z, (rng.random((500, 20)) < sigmoid(z)).astype(float), from_logits=True)


@healthy("a mask per picture, [N, 1, H, W], with logits that need a gradient")
def mask_predictions() -> Report:
    z, y = calibrated(8 * 16 * 16, -1.0, 2.5, seed=6)
    outputs = torch.tensor(z, dtype=torch.float32).reshape(8, 1, 16, 16).requires_grad_()
    return torchbce.check_predictions(outputs, torch.tensor(y).reshape(8, 1, 16, 16), from_logits=True)


@healthy("soft targets: shares of clicks")
def soft_targets() -> Report:
    rng = np.random.default_rng(7)
    p = sigmoid(-1 + rng.normal(size=2000))
    y = rng.binomial(30, p) / 30
    return torchbce.check_predictions(p, y, from_logits=False)


@healthy("negatives were sampled down to a tenth; weights give them back")
def weighted_predictions() -> Report:
    z, y = calibrated(60000, -4.0, 1.0, seed=8)
    keep = (y == 1) | (np.random.default_rng(8).random(60000) < 0.1)
    weight = np.where(y == 1, 1.0, 10.0)[keep]
    return torchbce.check_predictions(z[keep], y[keep], from_logits=True, weight=weight)


@healthy("bfloat16 logits of a calibrated model")
def bfloat16_logits() -> Report:
    z, y = calibrated(3000, -0.5, 1.5, seed=9)
    return torchbce.check_predictions(torch.tensor(z).bfloat16(), torch.tensor(y), from_logits=True)


@healthy("shares of 100 trees, some of them exactly 0 or 1 and right")
def shares_of_trees() -> Report:
    rng = np.random.default_rng(10)
    p = np.round(sigmoid(3 * rng.normal(size=3000)), 2)
    return torchbce.check_predictions(p, (rng.random(3000) < p).astype(int), from_logits=False)


@healthy("twenty items that are all positive, predicted at 0.8 to 0.95")
def all_positive_and_few() -> Report:
    p = np.linspace(0.8, 0.95, 20)
    return torchbce.check_predictions(p, np.ones(20), from_logits=False)


@healthy("a high base rate of 97 %, calibrated, as float16")
def common_events() -> Report:
    z, y = calibrated(10000, 4.2, 1.3, seed=11)
    return torchbce.check_predictions(sigmoid(z).astype(np.float16), y, from_logits=False)
