"""From a table to a run folder: read, keep rows aside, learn, estimate, write."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torchbce.common.errors import OutputError
from torchbce.training.ensemble.calibration import bce
from torchbce.training.ensemble.course import Watch
from torchbce.training.ensemble.data import Split
from torchbce.training.ensemble.recipe import Choices
from torchbce.training.estimate import Estimate, cross_validated, on_test_rows
from torchbce.training.examples import Examples, Held, Read, Roles, read_examples, read_test
from torchbce.training.model import FEWEST_OF_A_CLASS, Learnt, learn
from torchbce.training.run import folder as run_folder
from torchbce.training.run.card import model_card
from torchbce.training.run.identity import RUN
from torchbce.training.run.report import write_report
from torchbce.training.run.reservation import Reservation
from torchbce.training.run.signals import signals_held
from torchbce.training.splits import folds, last_or_random
from torchbce.training.table.files import write_table
from torchbce.training.table.opened import Format
from torchbce.training.table.predictions import predictions_table

if TYPE_CHECKING:
    import polars as pl

SMALL = 10_000  # rows, below which every row is predicted out of fold
FOLDS, SHARE = 5, 0.2


@dataclass(frozen=True)
class Task:
    """A table, read and split: all that is known before training."""

    read: Read
    train: Examples  # what the model that is kept learns from
    test: Examples | None
    test_rows: np.ndarray  # their numbers, from 1
    splits: list[Split]  # of `train`, for cross-validation; empty without it

    @property
    def digests(self) -> dict[str, str]:
        """Of the content of the files that were read, by their names."""
        own = {self.name: self.read.examples.digest}
        return own if self.test_file is None or self.test is None else own | {self.test_file: self.test.digest}

    @property
    def name(self) -> str:
        return Path(self.read.examples.name).name

    @property
    def test_file(self) -> str | None:
        """The name of the file that the test rows are from, if it is another than the table's."""
        if self.test is None or self.test.name == self.read.examples.name:
            return None
        return Path(self.test.name).name

    @property
    def is_reliable(self) -> bool:
        """Whether there are rows enough of both classes, where it counts, to say how good a model is."""
        answers = self.train.answers if self.test is None else self.test.answers
        ones = int(answers.sum())
        return min(ones, len(answers) - ones) >= FEWEST_OF_A_CLASS


@dataclass(frozen=True)
class Trained:
    """A finished run; without rows kept aside there is no estimate."""

    folder: Path
    learnt: Learnt
    estimate: Estimate | None
    train_bce: float
    files: list[str] = field(default_factory=list)


def prepare(file: str, roles: Roles, held: Held, *, seed: int, format: Format | None = None) -> Task:
    """Read a table and keep rows aside.

    Raises:
        InputError: see `read_examples`; a test file without a column that is needed.
    """
    read = read_examples(file, roles, format)
    examples = read.examples
    if held.file is not None:
        test = read_test(held.file, read, roles, format)
        return Task(read, examples, test, np.arange(1, len(test) + 1), [])
    if held.folds is not None or (held.share is None and len(examples) < SMALL):
        return Task(read, examples, None, np.zeros(0, np.int64), folds(examples, held.folds or FOLDS, seed))
    if held.share == 0:
        return Task(read, examples, None, np.zeros(0, np.int64), [])
    train, aside = last_or_random(examples, held.share or SHARE, seed)
    return Task(read, examples.of(train), examples.of(aside), aside + 1, [])


def train(
    task: Task,
    choices: Choices,
    place: Reservation | None,
    *,
    seed: int,
    compare: bool = False,
    on_fold: Callable[[int, float], object] | None = None,
    watch: Watch | None = None,
    run: str | None = None,
) -> Trained:
    """Train on a prepared table and write the run folder, unless there is no place: in all processes but the first.

    `run`: the digest of what the run depends on, to know it again.

    Raises:
        OutputError: the folder cannot be written; the message says where the finished model is instead.
    """
    estimate = None
    choices = choices.for_one_of(len(task.splits) + 1)
    if task.splits:
        estimate = cross_validated(
            task.train, task.splits, choices, seed, compare=compare, on_fold=on_fold, watch=watch
        )
    learnt = learn(task.train, choices, seed=seed, watch=watch)
    if task.test is not None:
        estimate = on_test_rows(learnt, task.train, task.test, task.test_rows, seed, compare=compare)
    train_bce = _train_bce(learnt, task.train)
    if place is None:
        return Trained(Path(), learnt, estimate, train_bce)

    def write(folder: Path) -> None:
        write_table(_predictions(task, learnt, estimate), folder / run_folder.PREDICTIONS_FILE)
        described = _described(task, learnt, estimate, seed, train_bce, run)
        run_folder.save_model(folder, described, learnt.model.ensemble)
        (folder / run_folder.CARD_FILE).write_text(model_card(described, estimate), encoding="utf-8")
        learnt.fitted.history.to_csv(folder / run_folder.HISTORY_FILE)
        write_report(
            folder / run_folder.REPORT_FILE, task.name, task.read.target, learnt, task.train, estimate, train_bce
        )

    with signals_held():  # a finished model is not lost for a signal that comes while it is written
        try:
            write(place.draft)
            place.finish()
        except OSError as error:
            raise OutputError(_saved_elsewhere(place.folder, write, error)) from error
    return Trained(place.folder, learnt, estimate, train_bce, sorted(path.name for path in place.folder.iterdir()))


def _train_bce(learnt: Learnt, train: Examples) -> float:
    """Of the rows that were learnt from."""
    losses = bce(learnt.model.logits(train.frame, train.name), train.answers)
    return float(np.average(losses, weights=train.weight))


def _predictions(task: Task, learnt: Learnt, estimate: Estimate | None) -> pl.DataFrame:
    """Of the rows kept aside; where there are none, of those that the epoch was chosen by."""
    if estimate is None:
        rows = learnt.fitted.chosen_on
        return predictions_table(learnt.fitted.held_out_logits, task.train.answers[rows], rows=rows + 1, split="valid")
    if estimate.by_folds:
        return predictions_table(
            estimate.logits, estimate.answers, rows=estimate.rows, split="out of fold", folds=estimate.folds
        )
    return predictions_table(estimate.logits, estimate.answers, rows=estimate.rows, split="test")


def _described(
    task: Task, learnt: Learnt, estimate: Estimate | None, seed: int, train_bce: float, run: str | None
) -> run_folder.ModelFile:
    chosen, best = learnt.chosen, learnt.fitted.history.best
    result: dict[str, float | int | None] = {
        "epoch": best.number,
        "train_bce": train_bce,
        "valid_bce": best.judged,
        "base_rate": task.train.base_rate,
    }
    if learnt.fitted.blend is not None:
        result["valid_bce_with_trees"] = learnt.fitted.blend.both
    if estimate is not None:
        found = estimate.explanation
        result |= {"estimated_bce": found.mean, "standard_error": found.standard_error, "auc": estimate.auc}
        result |= {f"{other.name.replace(' ', '_')}_bce": other.bce for other in estimate.differences}
    return run_folder.describe(
        learnt.model,
        source=task.name,
        target=task.read.target,
        left_out=task.read.left_out | learnt.screened,
        training={
            "seed": seed,
            "rows": len(task.train),
            "test": task.test_file,
            "folds": chosen.folds,
            "optimizer": chosen.optimizer,
            "lr": chosen.lr,
            "weight_decay": chosen.weight_decay,
            "batch_size": chosen.batch_size,
            "epochs": chosen.epochs,
            "patience": chosen.patience,
            RUN: run,
        },
        result={name: None if value != value else value for name, value in result.items()},
    )


def _saved_elsewhere(folder: Path, write: Callable[[Path], None], error: OSError) -> str:
    """What happened, and where the model is now: in the folder for temporary files, if there is room."""
    why = f"{folder} cannot be written: {error.strerror or error}"
    with contextlib.suppress(OSError):
        other = Path(tempfile.mkdtemp(prefix="torchbce-")) / folder.name
        other.mkdir()
        write(other)
        return f"{why}; the finished model is in {other}"
    return f"{why}; nothing was kept"
