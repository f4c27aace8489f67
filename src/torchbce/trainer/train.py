"""From a table to a run folder: read, split, encode, train, explain, write."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchbce.errors import InputError
from torchbce.lens.entropy import cross_entropy
from torchbce.lens.explain import Explanation, explain
from torchbce.trainer import run_folder
from torchbce.trainer.baselines import logistic_regression
from torchbce.trainer.defaults import Recipe, recipe
from torchbce.trainer.history import Epoch, History
from torchbce.trainer.loop import fit
from torchbce.trainer.network import NetworkSpec, TableNetwork, quantile_edges
from torchbce.trainer.predict import logits_of
from torchbce.trainer.table.columns import CategoricalColumn, NumericColumn, choose_columns, encode, fit_columns
from torchbce.trainer.table.files import read_table, require_columns, write_table
from torchbce.trainer.table.predictions import predictions_table
from torchbce.trainer.table.split import split_rows
from torchbce.trainer.table.target import Target

EDGE_ROWS = 200_000  # rows that the quantiles of a number are taken from


@dataclass(frozen=True)
class Task:
    """A table, read and split: all that is known before training."""

    path: Path
    target: Target
    columns: list[NumericColumn | CategoricalColumn]
    left_out: dict[str, str]
    rows: Tensor
    answers: Tensor
    valid: np.ndarray
    base_rate: float
    baseline: float
    logistic: float

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
    files: list[str] = field(default_factory=list)


def prepare(
    path: Path, target: str, *, positive: str | None, exclude: list[str], categorical: list[str], seed: int
) -> Task:
    """Read a table, split it, and fit its encodings on the training rows."""
    table = read_table(path)
    require_columns(table, [target], path, "--target")
    require_columns(table, exclude, path, "--exclude")
    require_columns(table, categorical, path, "--categorical")
    if target in exclude or target in categorical:
        raise InputError(f"{path}: the target column {target!r} cannot be named in --exclude or --categorical")
    yes_no = Target.of(table, target, positive, path)
    answers = yes_no.encode(table, path).to_numpy()
    valid = split_rows(answers, seed, path)
    kinds = choose_columns(table, [*exclude, target], categorical, path)
    columns = fit_columns(table.filter(~valid), kinds, path)
    if not columns:
        reasons = ", ".join(f"{name!r} is {kind}" for name, kind in kinds.items()) or "there is no other column"
        raise InputError(f"{path}: no column to learn from besides {target!r}: {reasons}")
    rows = encode(table, columns, path)
    answers_tensor = torch.from_numpy(answers.astype(np.float32))
    base_rate = float(answers[~valid].mean())
    return Task(
        path=path,
        target=yes_no,
        columns=columns,
        left_out={name: kind for name, kind in kinds.items() if kind not in ("numeric", "categorical")}
        | dict.fromkeys(exclude, "excluded"),
        rows=rows,
        answers=answers_tensor,
        valid=valid,
        base_rate=base_rate,
        baseline=cross_entropy(float(answers[valid].mean()), base_rate),
        logistic=logistic_regression(rows, answers_tensor, valid, columns, seed),
    )


def plan(task: Task, **choices: object) -> Recipe:
    """The recipe for this table: the user's choices, defaults for the rest."""
    return recipe(task.sizes[0], **choices)  # type: ignore[arg-type]


def train(
    task: Task,
    chosen: Recipe,
    folder: Path,
    *,
    seed: int,
    on_epoch: Callable[[Epoch], object] | None = None,
    on_step: Callable[[int, int], object] | None = None,
) -> Trained:
    """Train on a prepared table and write the run folder."""
    with run_folder.new_run_folder(folder) as draft:
        network, history = _fit(task, chosen, seed, on_epoch, on_step)
        logits = logits_of(network, task.rows)
        held_out = torch.from_numpy(task.valid)
        row_numbers = np.flatnonzero(task.valid) + 1
        explanation = explain(
            logits[held_out], task.answers[held_out], from_logits=True, baseline=task.base_rate, rows=row_numbers
        )
        auc = _auc(logits[held_out], task.answers[held_out])
        card = _card(task, chosen, network.spec, seed, history, auc)
        run_folder.save_model(draft, card, network)
        write_table(predictions_table(logits, task.answers, task.valid), draft / run_folder.PREDICTIONS_FILE)
        history.to_csv(draft / run_folder.HISTORY_FILE)
        _write_report(draft / run_folder.REPORT_FILE, task, history, explanation, auc)
    return Trained(folder, history, explanation, auc, sorted(path.name for path in folder.iterdir()))


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
        source=task.path.name,
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
    from torchbce.lens.display import LossCurveDisplay, LossHistogramDisplay, ReliabilityDisplay
    from torchbce.lens.display.figure import to_svg
    from torchbce.lens.report import write_report

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
        title=f"{task.path.name}: {task.target.column}",
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
