"""A table in memory: read, split, trained on and evaluated; its columns are fitted and encoded once per model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from torchbce.common.signals import look
from torchbce.table import baselines
from torchbce.table.columns.dataset import Dataset
from torchbce.table.encoded import EncodedTable
from torchbce.table.ensemble.calibration import bce
from torchbce.table.ensemble.callbacks import Callbacks
from torchbce.table.ensemble.config import EnsembleConfig, UserOptions, default_config
from torchbce.table.estimate import Estimate, joined
from torchbce.table.evaluate import Baselines, Evaluation, evaluate
from torchbce.table.importance import ROWS, importances
from torchbce.table.model import TrainedModel, fit_model
from torchbce.table.outcome import Outline, RowCounts
from torchbce.table.read import TableInfo, read_dataset, read_test
from torchbce.table.splits.holdout import Split
from torchbce.table.splits.splits import by_time, folds, last_or_random, later_and_apart
from torchbce.table.splits.straddling import left_out, left_out_of_folds, left_out_of_test
from torchbce.table.task import Fit, OnFold, Task
from torchbce.table.train_args import TrainArgs

SMALL = 10_000  # rows, below which every row is predicted out of fold
FOLDS, SHARE = 5, 0.2
SAMPLE = 100_000  # training rows for plots, at most


@dataclass(frozen=True)
class MemoryTable:
    """Training rows of the final model, and the test rows or splits of the estimate.

    test_rows: numbers of the test rows, from 1. splits: of `train`, for cross-validation; empty without it.
    """

    train: Dataset
    test: Dataset | None
    test_rows: np.ndarray
    splits: list[Split]

    def config(self, options: UserOptions) -> EnsembleConfig:
        return default_config(len(self.train), options)

    def cross_validate(self, args: TrainArgs, on_fold: OnFold | None, callbacks: Callbacks) -> Estimate | None:
        if not self.splits:
            return None
        parts = []
        for number in range(1, len(self.splits) + 1):
            look()
            parts.append(self._fold(number, args, callbacks))
            if on_fold:
                part = parts[-1].estimate
                on_fold(number, float(np.average(bce(part.logits, part.answers), weights=part.weight)))
        worth = importances([part.increase for part in parts], [part.weight for part in parts])
        return joined([part.estimate for part in parts], worth)

    def _fold(self, number: int, args: TrainArgs, callbacks: Callbacks) -> Evaluation:
        """Train a model on a fold's training rows and evaluate it on the others; or load a saved evaluation."""
        checkpointer = callbacks.checkpointer.scoped(f"fold-{number}")
        train, aside = self.splits[number - 1]
        rest, most = self.train.of(aside), -(-ROWS // len(self.splits))

        def make() -> Evaluation:
            examples = self.train.of(train)
            training = EncodedTable.fit(examples)
            quiet = replace(callbacks, epoch=None, checkpointer=checkpointer)
            trained = fit_model(examples, training, args.options, seed=args.seed + 1000 * number, callbacks=quiet)
            return _evaluated(trained, training, rest, aside + 1, args, callbacks, most)

        def unpack(state: dict[str, object]) -> Evaluation:
            return Evaluation.of_state(state, rest, aside + 1, _names(args))

        return checkpointer.cached("estimate", make, Evaluation.to_state, unpack)

    def fit(self, args: TrainArgs, callbacks: Callbacks) -> Fit:
        training = EncodedTable.fit(self.train)
        trained = fit_model(self.train, training, args.options, seed=args.seed, callbacks=callbacks)
        inputs = training.select(trained.model.columns).rows
        losses = bce(trained.model.ensemble.logits(inputs), training.y)
        sample = np.sort(np.random.default_rng(args.seed).permutation(len(inputs))[:SAMPLE])
        return Fit(trained, float(np.average(losses, weights=training.weight)), training, inputs[sample])

    def evaluate(self, fit: Fit, args: TrainArgs, callbacks: Callbacks) -> Estimate | None:
        if self.test is None:
            return None
        look()
        evaluation = _evaluated(fit.trained, fit.training, self.test, self.test_rows, args, callbacks, ROWS)
        return evaluation.with_importances()


def prepare(args: TrainArgs) -> Task:
    """Read a table and keep rows aside.

    Raises:
        InputError: see `read_dataset`; a test file without a column that is needed.
    """
    read, held = read_dataset(args.table, args.roles, args.format), args.held
    examples = read.dataset
    nothing = np.zeros(0, np.int64)
    if held.file is not None:
        test = read_test(held.file, read, args.roles, args.format)
        rows = later_and_apart(examples, test)
        dropped = left_out_of_test(len(test) - len(rows), Path(test.name.file).name)
        return _task(read, MemoryTable(examples, test.of(rows), rows + 1, []), dropped)
    if held.folds is not None or (held.share is None and len(examples) < SMALL):
        count = held.folds or FOLDS
        splits = folds(examples, count, args.seed)
        return _task(read, MemoryTable(examples, None, nothing, splits), _dropped_of_folds(examples, count, splits))
    if held.share == 0:
        return _task(read, MemoryTable(examples, None, nothing, []), [])
    train, aside = last_or_random(examples, held.share or SHARE, args.seed)
    dropped = left_out(len(examples) - len(train) - len(aside))
    return _task(read, MemoryTable(examples.of(train), examples.of(aside), aside + 1, []), dropped)


def _task(read: TableInfo, table: MemoryTable, dropped: list[str]) -> Task:
    examples, test = read.dataset, table.test
    outline = Outline(
        name=Path(examples.name.file).name,
        target=read.target,
        kinds=examples.kinds,
        left_out=read.left_out,
        notes=read.notes,
        whole=_counts(examples),
        train=_counts(table.train),
        train_rows=len(table.train),
        test=None if test is None else _counts(test),
        test_file=None if test is None or test.name == examples.name else Path(test.name.file).name,
        folds=len(table.splits),
        dropped=dropped,
    )
    digests = {outline.name: examples.digest}
    if test is not None and outline.test_file is not None:
        digests[outline.test_file] = test.digest
    known = {
        "the list of columns": ", ".join(f"{name} {examples.frame.schema[name]}" for name in examples.kinds),
        **outline.known,
        "the content of the table": " and ".join(digest[:16] for digest in digests.values()),
    }
    return Task(table, outline, digests, known)


def _counts(examples: Dataset) -> RowCounts:
    return RowCounts(len(examples), int(examples.y.sum()), examples.base_rate)


def _dropped_of_folds(examples: Dataset, count: int, splits: list[Split]) -> list[str]:
    """Return the message about rows that are not predicted because of their groups."""
    if examples.times is None:
        return []
    predicted, without_groups = (sum(len(aside) for _, aside in s) for s in (splits, by_time(examples, count)))
    return left_out_of_folds(without_groups - predicted)


def _evaluated(
    trained: TrainedModel,
    training: EncodedTable,
    test: Dataset,
    numbers: np.ndarray,
    args: TrainArgs,
    callbacks: Callbacks,
    most: int,
) -> Evaluation:
    """Evaluate a model and its baselines on examples that are encoded once, by the columns of `training`."""
    encoded, model = EncodedTable.of(test, training.columns), trained.model
    logits = model.ensemble.logits(encoded.select(model.columns).rows)
    known: Baselines = {
        baselines.BASE_RATE: lambda: baselines.base_rate(training.base_rate),
        baselines.LOGISTIC: lambda: baselines.logistic_regression(baselines.logistic_sample(training, args.seed)),
        baselines.BOOSTING: lambda: baselines.boosting(training, args.seed),
    }
    others = {name: known[name] for name in _names(args)}
    parts = [(numbers, encoded)]
    return evaluate(model, logits, parts, others, seed=args.seed, most=most, callbacks=callbacks, groups=test.groups)


def _names(args: TrainArgs) -> list[str]:
    """Return the names of the baselines."""
    return [baselines.BASE_RATE, baselines.LOGISTIC, *([baselines.BOOSTING] if args.compare else [])]
