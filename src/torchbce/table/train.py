"""From a table in memory to a trained model: read, keep rows aside, learn, estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torchbce.io.source import Format
from torchbce.table.columns.columns import encode
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.ensemble.calibration import bce
from torchbce.table.ensemble.course import Watch
from torchbce.table.ensemble.recipe import Choices, Recipe, recipe
from torchbce.table.estimate import cross_validated, on_test_rows
from torchbce.table.model import learn
from torchbce.table.outcome import Outcome, Outline
from torchbce.table.read import TableInfo, read_dataset, read_test
from torchbce.table.splits.holdout import Holdout, Split
from torchbce.table.splits.splits import by_time, folds, last_or_random, later_and_apart
from torchbce.table.splits.straddling import left_out, left_out_of_folds, left_out_of_test

SMALL = 10_000  # rows, below which every row is predicted out of fold
FOLDS, SHARE = 5, 0.2
DRAWN = 100_000  # training rows that pictures are made of, at most


@dataclass(frozen=True)
class Task:
    """A table, read and split: all that is known before training."""

    read: TableInfo
    train: Dataset  # what the model that is kept learns from
    test: Dataset | None
    test_rows: np.ndarray  # their numbers, from 1
    splits: list[Split]  # of `train`, for cross-validation; empty without it
    dropped: list[str]  # what is said of rows that are in no part

    @property
    def digests(self) -> dict[str, str]:
        """Of the content of the files that were read, by their names."""
        own, other = {self.outline.name: self.read.dataset.digest}, self.outline.test_file
        return own if other is None or self.test is None else own | {other: self.test.digest}

    @property
    def known(self) -> dict[str, object]:
        """What has to be the same in all processes, besides the options."""
        frame = self.read.dataset.frame
        dtypes = ", ".join(f"{name} {frame.schema[name]}" for name in self.read.dataset.kinds)
        contents = " and ".join(digest[:16] for digest in self.digests.values())
        return {"the list of columns": dtypes, **self.outline.known, "the content of the table": contents}

    def recipe(self, choices: Choices) -> Recipe:
        """What the model that is kept is trained by."""
        return recipe(len(self.train), choices)

    @property
    def outline(self) -> Outline:
        examples, test = self.read.dataset, self.test
        ones = int((self.train if test is None else test).y.sum())
        counted = len(self.train if test is None else test)
        return Outline(
            name=Path(examples.name.file).name,
            rows=len(examples),
            base_rate=examples.base_rate,
            kinds=examples.kinds,
            target=self.read.target,
            left_out=self.read.left_out,
            notes=self.read.notes,
            train_rows=len(self.train),
            train_base_rate=self.train.base_rate,
            test_rows=None if test is None else len(test),
            test_file=None if test is None or test.name == examples.name else Path(test.name.file).name,
            folds=len(self.splits),
            rarer=min(ones, counted - ones),
            dropped=self.dropped,
        )


def prepare(file: str, roles: ColumnRoles, held: Holdout, *, seed: int, format: Format | None = None) -> Task:
    """Read a table and keep rows aside.

    Raises:
        InputError: see `read_dataset`; a test file without a column that is needed.
    """
    read = read_dataset(file, roles, format)
    examples = read.dataset
    if held.file is not None:
        test = read_test(held.file, read, roles, format)
        rows = later_and_apart(examples, test)
        dropped = left_out_of_test(len(test) - len(rows), Path(test.name.file).name)
        return Task(read, examples, test.of(rows), rows + 1, [], dropped)
    nothing = np.zeros(0, np.int64)
    if held.folds is not None or (held.share is None and len(examples) < SMALL):
        count = held.folds or FOLDS
        splits = folds(examples, count, seed)
        return Task(read, examples, None, nothing, splits, _dropped_of_folds(examples, count, splits))
    if held.share == 0:
        return Task(read, examples, None, nothing, [], [])
    train, aside = last_or_random(examples, held.share or SHARE, seed)
    dropped = left_out(len(examples) - len(train) - len(aside))
    return Task(read, examples.of(train), examples.of(aside), aside + 1, [], dropped)


def _dropped_of_folds(examples: Dataset, count: int, splits: list[Split]) -> list[str]:
    """What is said of the rows that would be predicted if rows had no groups."""
    if examples.times is None:
        return []
    predicted, would = (sum(len(aside) for _, aside in some) for some in (splits, by_time(examples, count)))
    return left_out_of_folds(would - predicted)


def train(
    task: Task,
    choices: Choices,
    *,
    seed: int,
    compare: bool = False,
    on_fold: Callable[[int, float], object] | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train on a prepared table.

    Raises:
        InputError: a loss that is not finite.
    """
    estimate = None
    choices = choices.for_one_of(len(task.splits) + 1)
    if task.splits:
        estimate = cross_validated(
            task.train, task.splits, choices, seed, compare=compare, on_fold=on_fold, watch=watch
        )
    learnt = learn(task.train, choices, seed=seed, watch=watch)
    if task.test is not None:
        estimate = on_test_rows(learnt, task.train, task.test, task.test_rows, seed, compare=compare, watch=watch)
    encoded = encode(task.train.frame, learnt.model.columns, task.train.name)
    losses = bce(learnt.model.ensemble.logits(encoded), task.train.y)
    some = np.random.default_rng(seed).permutation(len(encoded))[:DRAWN]
    return Outcome(
        outline=task.outline,
        learnt=learnt,
        estimate=estimate,
        train_bce=float(np.average(losses, weights=task.train.weight)),
        some=encoded[np.sort(some)],
        seed=seed,
    )
