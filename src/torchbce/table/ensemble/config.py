"""Default configuration of training on a table: networks, batches, schedule and trees, by the number of rows.

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
BLOCK_HIDDEN = (128, 128)  # of a packed table
BLOCK_BATCH = 4096  # lanes for many threads and processes
BLOCK_PASSES = 30_000_000  # rows that are learnt from, in epochs of the table
BLOCK_EPOCHS = 2, 12  # fewest and most

OptimizerName = Literal["adamw", "sgd"]
OnNan = Literal["stop", "skip"]  # at a batch whose loss is not finite


@dataclass(frozen=True)
class UserOptions:
    """Options of a user; None leaves a choice to `default_config`."""

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

    def for_each_of(self, models: int) -> UserOptions:
        """Return the options of each of several models that share the time."""
        return self if self.time_budget is None else replace(self, time_budget=self.time_budget / models)


@dataclass(frozen=True)
class EnsembleConfig:
    """All options made. members: networks, each validated on its share of `folds`. heads: outputs of each network."""

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


# UserOptions that leave a model without a network as it is.
ALSO_LINEAR = ("time_budget", "patience", "trees", "on_nan", "device")


def default_config(rows: int, options: UserOptions) -> EnsembleConfig:
    """Return the user's options, and for the rest what suits a table in memory with so many training rows."""
    small, large = rows < SMALL, rows >= LARGE
    default_hidden = (32,) if small else (256, 128) if large else (128, 128)
    members = options.members or (5 if rows < MIDDLE else 2 if large else 3)
    hidden = default_hidden if options.hidden is None else options.hidden
    return EnsembleConfig(
        hidden=hidden,
        pieces=0 if small else PIECES,
        dropout=0.0 if small else 0.2,
        members=members,
        folds=max(members, 10 if large else 5),
        heads=(options.heads or (2 if rows < MIDDLE else 1)) if hidden else 1,
        batch_size=options.batch_size or _power_of_two(rows / STEPS),
        epochs=options.epochs or min(max(round(1_000_000 / rows), 12), 30),
        patience=options.patience or 10,
        optimizer=options.optimizer,
        lr=options.lr or {"adamw": 5e-3, "sgd": 0.1}[options.optimizer],
        weight_decay=0.1 if options.optimizer == "adamw" else 0.0,
        time_budget=options.time_budget,
        on_nan=options.on_nan,
        trees=_boosting(rows) if options.trees and rows >= TINY else None,
        linear=rows < TINY
        and options == replace(UserOptions(), **{name: getattr(options, name) for name in ALSO_LINEAR}),
        device=options.device,
    )


def block_config(rows: int, options: UserOptions) -> EnsembleConfig:
    """Return the same for a packed table, of which every epoch reads all rows; trees need them in memory."""
    passes = min(max(round(BLOCK_PASSES / rows), BLOCK_EPOCHS[0]), BLOCK_EPOCHS[1])
    return replace(
        default_config(rows, replace(options, trees=False)),
        hidden=BLOCK_HIDDEN if options.hidden is None else options.hidden,
        members=options.members or 1,
        folds=1,
        batch_size=options.batch_size or BLOCK_BATCH,
        epochs=options.epochs or passes,
        linear=False,
    )


def _boosting(rows: int) -> Boosting:
    if rows < SMALL:
        return Boosting(rate=0.15, leaves=10, most=120)
    if rows < MIDDLE:
        return Boosting(rate=0.06, leaves=15)
    return Boosting(rate=0.2, leaves=63, most=300) if rows >= LARGE else Boosting(rate=0.1, leaves=31)


def _power_of_two(size: float) -> int:
    """Return the nearest power of two from 32 to 1024."""
    return int(min(max(2 ** round(math.log2(max(size, 1))), 32), 1024))
