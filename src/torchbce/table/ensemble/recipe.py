"""What training on a table does where it is not told: networks, batches, schedule and trees, by the number of rows.

Chosen on the tables that `benchmarks/real_tables.py` sets aside for it, by their held-out BCE and the time it took;
`benchmarks/tables.py` prints what the rules reach on others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from torchbce.table.trees.boosting import Boosting

TINY = 100  # training rows, below which a network has nothing to work with
SMALL = 2_000  # training rows, below which cutting numbers into pieces and dropout do harm
MIDDLE = 8_000  # from here on more than three networks take more time than they are worth
PIECES = 64  # quantiles of a number, and as many of its distinct values
STEPS = 80  # of an epoch: enough to learn in the epochs that there are
LARGE = 100_000  # from here on two networks are enough, and wide ones pay

OptimizerName = Literal["adamw", "sgd"]
OnNan = Literal["stop", "skip"]  # at a batch whose loss is not finite


@dataclass(frozen=True)
class Choices:
    """What a user may choose; None leaves it to the rules."""

    hidden: tuple[int, ...] | None = None
    members: int | None = None
    heads: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: OptimizerName = "adamw"
    patience: int | None = None
    time_budget: float | None = None  # seconds of training
    trees: bool = True
    on_nan: OnNan = "stop"
    device: str = "cpu"
    bf16: bool = False
    compile: bool = False

    def for_one_of(self, models: int) -> Choices:
        """Where several models share the time."""
        return self if self.time_budget is None else replace(self, time_budget=self.time_budget / models)


@dataclass(frozen=True)
class Recipe:
    """All choices made. members: networks, each validated on its share of `folds`; heads: in each of them."""

    hidden: tuple[int, ...]
    pieces: int
    dropout: float
    members: int
    folds: int
    heads: int
    batch_size: int
    epochs: int
    patience: int
    optimizer: OptimizerName
    lr: float
    weight_decay: float
    time_budget: float | None = None
    trees: Boosting | None = None
    on_nan: OnNan = "stop"
    linear: bool = False  # logistic regression by Newton's method instead
    device: str = "cpu"
    bf16: bool = False
    compile: bool = False


# Choices that leave a model without a network as it is.
ALSO_LINEAR = ("time_budget", "patience", "trees", "on_nan", "device", "bf16", "compile")


def recipe(rows: int, choices: Choices) -> Recipe:
    """The user's choices, and for the rest what suits a table with so many training rows."""
    small, large = rows < SMALL, rows >= LARGE
    hidden = (32,) if small else (256, 128) if large else (128, 128)
    members = choices.members or (5 if rows < MIDDLE else 2 if large else 3)
    chosen = hidden if choices.hidden is None else choices.hidden
    return Recipe(
        hidden=chosen,
        pieces=0 if small else PIECES,
        dropout=0.0 if small else 0.2,
        members=members,
        folds=max(members, 10 if large else 5),
        heads=(choices.heads or (2 if rows < MIDDLE else 1)) if chosen else 1,
        batch_size=choices.batch_size or _power_of_two(rows / STEPS),
        epochs=choices.epochs or min(max(round(1_000_000 / rows), 12), 30),
        patience=choices.patience or 10,
        optimizer=choices.optimizer,
        lr=choices.lr or {"adamw": 5e-3, "sgd": 0.1}[choices.optimizer],
        weight_decay=0.1 if choices.optimizer == "adamw" else 0.0,
        time_budget=choices.time_budget,
        on_nan=choices.on_nan,
        trees=_boosting(rows) if choices.trees and rows >= TINY else None,
        linear=rows < TINY and choices == replace(Choices(), **{name: getattr(choices, name) for name in ALSO_LINEAR}),
        device=choices.device,
        bf16=choices.bf16,
        compile=choices.compile,
    )


def _boosting(rows: int) -> Boosting:
    if rows < SMALL:
        return Boosting(rate=0.15, leaves=10, most=120)
    if rows < MIDDLE:
        return Boosting(rate=0.06, leaves=15)
    return Boosting(rate=0.2, leaves=63, most=300) if rows >= LARGE else Boosting(rate=0.1, leaves=31)


def _power_of_two(size: float) -> int:
    """The nearest, from 32 to 1024."""
    return int(min(max(2 ** round(math.log2(max(size, 1))), 32), 1024))
