"""From a table to a run folder: read, split, encode, train, explain, write."""

from __future__ import annotations

import contextlib
import math
import platform
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from torchbce.common.errors import InputError, OutputError
from torchbce.explanation.explain import Explanation, explain
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.functional import binary_cross_entropy_with_logits
from torchbce.training import run_folder
from torchbce.training.baselines import logistic_regression
from torchbce.training.defaults import Recipe, recipe
from torchbce.training.history import Epoch, History
from torchbce.training.loop import fit
from torchbce.training.network import NetworkSpec, TableNetwork, quantile_edges
from torchbce.training.predict import logits_of
from torchbce.training.reservation import Reservation
from torchbce.training.screening import WIDE, worth_keeping
from torchbce.training.table.columns import CategoricalColumn, NumericColumn, choose_columns, encode, fit_columns
from torchbce.training.table.files import read_table, require_columns, write_table
from torchbce.training.table.opened import Format
from torchbce.training.table.predictions import predictions_table
from torchbce.training.table.split import split_rows
from torchbce.training.table.target import Target

if TYPE_CHECKING:
    import polars as pl

FEWEST_OF_A_CLASS = 10  # validation rows, below which a figure of a model's worth is chance
EDGE_ROWS = 200_000  # rows that the quantiles of a number are taken from


@dataclass(frozen=True)
class Task:
    """A table, read and split: all that is known before training."""

    name: str
    target: Target
    columns: list[NumericColumn | CategoricalColumn]
    left_out: dict[str, str]
    rows: Tensor
    answers: Tensor
    valid: np.ndarray
    base_rate: float
    baseline: float
    logistic: float
    notes: list[str]

    @property
    def is_reliable(self) -> bool:
        """Whether there are validation rows enough of both classes to say how good a model is."""
        ones = int(self.answers[torch.from_numpy(self.valid)].sum())
        return min(ones, int(self.valid.sum()) - ones) >= FEWEST_OF_A_CLASS

    @property
    def sizes(self) -> tuple[int, int]:
        """Training rows, validation rows."""
        held_out = int(self.valid.sum())
        return len(self.valid) - held_out, held_out


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    folder: Path
    history: History
    explanation: Explanation
    auc: float
    gain: float  # nats per item, beside always answering the base rate
    gain_error: float
    files: list[str] = field(default_factory=list)


def prepare(
    file: str,
    target: str,
    *,
    positive: str | None,
    exclude: list[str],
    categorical: list[str],
    seed: int,
    format: Format | None = None,
) -> Task:
    """Read a table, split it, and fit its encodings on the training rows."""
    read = read_table(file, format)
    table, name = read.frame, read.name
    for columns, flag in (([target], "--target"), (exclude, "--exclude"), (categorical, "--categorical")):
        require_columns(table, columns, name, flag)
    if target in exclude or target in categorical:
        raise InputError(f"{name}: the target column {target!r} cannot be named in --exclude or --categorical")
    yes_no = Target.of(table, target, positive, name)
    answers = yes_no.encode(table, name).to_numpy()
    valid = split_rows(answers, seed, name)
    kinds = choose_columns(table, [*exclude, target], categorical, name)
    decimal = (format or Format()).decimal
    fitted = fit_columns(table.filter(~valid), kinds, name, decimal, read.kinds.dates)
    if not fitted:
        reasons = ", ".join(f"{column!r} is {kind}" for column, kind in kinds.items()) or "there is no other column"
        raise InputError(f"{name}: no column to learn from besides {target!r}: {reasons}")
    left_out = {column: kind for column, kind in kinds.items() if kind not in ("numeric", "categorical")}
    left_out |= dict.fromkeys(exclude, "excluded")
    kept, screened = _screened(table, fitted, answers, valid, name)
    rows = encode(table, kept, name)
    answers_tensor = torch.from_numpy(answers.astype(np.float32))
    base_rate = float(answers[~valid].mean())
    unused = set(exclude) | {target}
    return Task(
        name=Path(name).name,
        target=yes_no,
        columns=kept,
        left_out=left_out | screened,
        rows=rows,
        answers=answers_tensor,
        valid=valid,
        base_rate=base_rate,
        baseline=cross_entropy(float(answers[valid].mean()), base_rate),
        logistic=logistic_regression(rows, answers_tensor, valid, kept, seed),
        notes=[note for note in read.kinds.notes if note.split(":")[0] not in unused],
    )


def _screened(
    table: pl.DataFrame,
    columns: list[NumericColumn | CategoricalColumn],
    answers: np.ndarray,
    valid: np.ndarray,
    name: str,
) -> tuple[list[NumericColumn | CategoricalColumn], dict[str, str]]:
    """The columns of a wide table that have something to say, and what is said of the others."""
    if len(columns) <= WIDE:
        return columns, {}
    train = table.filter(~valid)
    keep = worth_keeping([column.encode(train, name)[0] for column in columns], answers[~valid])
    others = {c.name: "no sign of use in the training rows" for c, kept in zip(columns, keep, strict=True) if not kept}
    return [c for c, kept in zip(columns, keep, strict=True) if kept], others


def plan(task: Task, **choices: object) -> Recipe:
    """The recipe for this table: the user's choices, defaults for the rest."""
    return recipe(task.sizes[0], **choices)  # type: ignore[arg-type]


def train(
    task: Task,
    chosen: Recipe,
    place: Reservation,
    *,
    seed: int,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_step: Callable[[int, int], object] | None = None,
) -> Trained:
    """Train on a prepared table and write the run folder.

    Raises:
        OutputError: the folder cannot be written; the message says where the finished model is instead.
    """
    network, history = _fit(task, chosen, seed, on_epoch, on_step)
    logits = logits_of(network, task.rows)
    held_out = torch.from_numpy(task.valid)
    row_numbers = np.flatnonzero(task.valid) + 1
    explanation = explain(
        logits[held_out], task.answers[held_out], from_logits=True, baseline=task.base_rate, rows=row_numbers
    )
    auc = _auc(logits[held_out], task.answers[held_out])

    def write(folder: Path) -> None:
        write_table(predictions_table(logits, task.answers, task.valid), folder / run_folder.PREDICTIONS_FILE)
        run_folder.save_model(folder, _card(task, chosen, network.spec, seed, history, auc), network)
        history.to_csv(folder / run_folder.HISTORY_FILE)
        _write_report(folder / run_folder.REPORT_FILE, task, history, explanation, auc)

    with signals_held():  # a finished model is not lost for a signal that comes while it is written
        try:
            write(place.draft)
            place.finish()
        except OSError as error:
            raise OutputError(_saved_elsewhere(place.folder, write, error)) from error
    files = sorted(path.name for path in place.folder.iterdir())
    gains = _gains(logits[held_out], task.answers[held_out], task.base_rate)
    spread = float(gains.std()) / math.sqrt(len(gains))
    return Trained(place.folder, history, explanation, auc, float(gains.mean()), spread, files)


def _saved_elsewhere(folder: Path, write: Callable[[Path], None], error: OSError) -> str:
    """What happened, and where the model is now: in the folder for temporary files, if there is room."""
    why = f"{folder} cannot be written: {error.strerror or error}"
    with contextlib.suppress(OSError):
        other = Path(tempfile.mkdtemp(prefix="torchbce-")) / folder.name
        other.mkdir()
        write(other)
        return f"{why}; the finished model is in {other}"
    return f"{why}; nothing was kept"


def _gains(logits: Tensor, answers: Tensor, base_rate: float) -> Tensor:
    """What each item costs less than with the base rate as the answer."""
    constant = torch.full_like(logits, base_rate).logit()
    usual, found = (
        binary_cross_entropy_with_logits(z.double(), answers.double(), reduction="none") for z in (constant, logits)
    )
    return usual - found


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block; in another thread than the first they come as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    held = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda n, _: came.append(n)) for number in held]
    try:
        yield
    finally:
        for number, handler in zip(held, before, strict=True):
            signal.signal(number, handler)
        if came:
            signal.raise_signal(signal.Signals(came[0]))


def _fit(
    task: Task,
    chosen: Recipe,
    seed: int,
    on_epoch: Callable[[Epoch], object] | None,
    on_step: Callable[[int, int], object] | None,
) -> tuple[TableNetwork, History]:
    held_out = torch.from_numpy(task.valid)
    target = task.answers.unsqueeze(1)
    training = (task.rows[~held_out], target[~held_out])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network(task, chosen, training[0], seed)
        optimizer, scheduler = _optimizer(network, chosen, len(training[0]))
        history = fit(
            network,
            training,
            valid=(task.rows[held_out], target[held_out]),
            optimizer=optimizer,
            scheduler=scheduler,
            epochs=chosen.epochs,
            batch_size=chosen.batch_size,
            patience=chosen.patience,
            on_epoch=on_epoch,
            on_step=on_step,
            baseline=task.is_reliable,
        )
    return network.eval(), history


def _network(task: Task, chosen: Recipe, rows: Tensor, seed: int) -> TableNetwork:
    levels = [len(column.levels) + 1 for column in task.columns if isinstance(column, CategoricalColumn)]
    numbers = rows.shape[1] - len(levels)
    edges: list[np.ndarray] = []
    if chosen.pieces and numbers:
        sample = rows[:, :numbers].numpy()
        if len(sample) > EDGE_ROWS:
            sample = sample[np.random.default_rng(seed).choice(len(sample), EDGE_ROWS, replace=False)]
        edges = quantile_edges(sample, chosen.pieces)
    network = TableNetwork(
        NetworkSpec(
            numbers=numbers,
            levels=levels,
            hidden=chosen.hidden,
            edges=max((len(cuts) - 1 for cuts in edges), default=0),
            dropout=chosen.dropout,
        )
    )
    if network.pieces:
        network.pieces.set_edges(edges)
    network.start_at(task.base_rate)
    return network


def _optimizer(
    network: TableNetwork, chosen: Recipe, rows: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    """AdamW on a one-cycle schedule, or the article's plain SGD."""
    if chosen.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=chosen.lr), None
    optimizer = torch.optim.AdamW(network.parameters(), lr=chosen.lr, weight_decay=chosen.weight_decay)
    steps = chosen.epochs * -(-rows // chosen.batch_size)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, chosen.lr, total_steps=steps)


def _auc(logits: Tensor, target: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(target.numpy(), logits.numpy()))


def _card(
    task: Task, chosen: Recipe, spec: NetworkSpec, seed: int, history: History, auc: float
) -> run_folder.ModelCard:
    best = history.best
    train_rows, valid_rows = task.sizes
    return run_folder.ModelCard(
        format="torchbce-table-2",
        source=task.name,
        target=task.target,
        columns=task.columns,
        left_out=task.left_out,
        network=spec,
        training={
            "seed": seed,
            "optimizer": chosen.optimizer,
            "lr": chosen.lr,
            "weight_decay": chosen.weight_decay,
            "batch_size": chosen.batch_size,
            "epochs": chosen.epochs,
            "patience": chosen.patience,
            "train_rows": train_rows,
            "valid_rows": valid_rows,
        },
        result={
            "best_epoch": best.number,
            "train_bce": best.train,
            "valid_bce": best.judged,
            "valid_auc": auc,
            "base_rate": task.base_rate,
            "base_rate_bce": task.baseline,
            "logistic_regression_bce": task.logistic,
        },
        versions={name: version(name) for name in ("torchbce", "torch", "polars", "numpy")}
        | {"python": platform.python_version()},
    )


def _write_report(path: Path, task: Task, history: History, explanation: Explanation, auc: float) -> None:
    from torchbce.explanation.plots import LossCurveDisplay, LossHistogramDisplay, ReliabilityDisplay
    from torchbce.explanation.plots.figure import to_svg
    from torchbce.explanation.render.html import write_report

    curve = LossCurveDisplay(
        {
            "train, at the epoch's end": [epoch.judged if epoch.train is None else epoch.train for epoch in history],
            "validation": [epoch.judged for epoch in history],
        },
        epochs=[epoch.number for epoch in history],
        levels={"base rate": task.baseline, "logistic regression": task.logistic},
        best=history.best.number,
    )
    displays: dict[str, Any] = {
        "Loss over the epochs": curve,
        "Reliability of the validation predictions": ReliabilityDisplay.from_explanation(explanation),
        "What the validation items cost": LossHistogramDisplay.from_explanation(explanation),
    }
    write_report(
        path,
        title=f"{task.name}: {task.target.column}",
        facts={
            "best epoch": f"{history.best.number} of {len(history)}",
            "validation BCE": f"{history.best.judged:.6f} nats per item",
            "train BCE of that epoch": f"{history.best.train:.6f} nats per item",
            "always answering the base rate": f"{task.baseline:.6f} nats per item",
            "logistic regression, same split": f"{task.logistic:.6f} nats per item",
            "AUC": f"{auc:.4f}",
        },
        explanation=explanation,
        figures={name: to_svg(display.plot().figure_) for name, display in displays.items()},
    )
