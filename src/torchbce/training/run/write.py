"""A finished run to its folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torchbce.common.errors import OutputError
from torchbce.training.outcome import Outcome
from torchbce.training.run import folder as run_folder
from torchbce.training.run.card import model_card
from torchbce.training.run.identity import RUN
from torchbce.training.run.report import write_report
from torchbce.training.run.reservation import Reservation
from torchbce.training.run.signals import signals_held
from torchbce.training.straddling import left_out
from torchbce.training.table.files import write_table
from torchbce.training.table.predictions import predictions_table

if TYPE_CHECKING:
    import polars as pl


def write_run(outcome: Outcome, place: Reservation, run: str | None) -> list[str]:
    """All files of the folder, by their names. `run`: the digest of what the run depends on, to know it again.

    Raises:
        OutputError: the folder cannot be written; the message says where the finished model is instead.
    """

    def write(folder: Path) -> None:
        write_table(_predictions(outcome), folder / run_folder.PREDICTIONS_FILE)
        described = _described(outcome, run)
        run_folder.save_model(folder, described, outcome.learnt.model.ensemble)
        (folder / run_folder.CARD_FILE).write_text(model_card(described, outcome.estimate), encoding="utf-8")
        outcome.learnt.fitted.history.to_csv(folder / run_folder.HISTORY_FILE)
        write_report(folder / run_folder.REPORT_FILE, outcome)

    with signals_held():  # a finished model is not lost for a signal that comes while it is written
        try:
            write(place.draft)
            place.finish()
        except OSError as error:
            raise OutputError(_saved_elsewhere(place.folder, write, error)) from error
    return sorted(path.name for path in place.folder.iterdir())


def _predictions(outcome: Outcome) -> pl.DataFrame:
    """Of the rows kept aside; where there are none, of those that the epoch was chosen by."""
    estimate, fitted = outcome.estimate, outcome.learnt.fitted
    if estimate is None:
        return predictions_table(
            fitted.held_out_logits, fitted.target.astype("uint8"), rows=fitted.chosen_on + 1, split="valid"
        )
    if estimate.by_folds:
        return predictions_table(
            estimate.logits, estimate.answers, rows=estimate.rows, split="out of fold", folds=estimate.folds
        )
    return predictions_table(estimate.logits, estimate.answers, rows=estimate.rows, split="test")


def _described(outcome: Outcome, run: str | None) -> run_folder.ModelFile:
    learnt, estimate, outline = outcome.learnt, outcome.estimate, outcome.outline
    chosen, best = learnt.chosen, learnt.fitted.history.best
    result: dict[str, float | int | None] = {
        "epoch": best.number,
        "train_bce": outcome.train_bce,
        "valid_bce": best.judged,
        "base_rate": outline.train_base_rate,
    }
    if learnt.fitted.blend is not None:
        result["valid_bce_with_trees"] = learnt.fitted.blend.both
    if estimate is not None:
        found = estimate.explanation
        low, high = found.intervals["mean"]
        result |= {"estimated_bce": found.mean, "standard_error": found.standard_error, "auc": estimate.auc}
        result |= {"estimated_bce_from": low, "estimated_bce_to": high}
        result |= {f"{other.name.replace(' ', '_')}_bce": other.bce for other in estimate.differences}
    return run_folder.describe(
        learnt.model,
        source=outline.name,
        target=outline.target,
        left_out=outline.left_out | learnt.screened,
        training={
            "seed": outcome.seed,
            "rows": outline.train_rows,
            "test": outline.test_file,
            "folds": chosen.folds,
            "optimizer": chosen.optimizer,
            "lr": chosen.lr,
            "weight_decay": chosen.weight_decay,
            "batch_size": chosen.batch_size,
            "epochs": chosen.epochs,
            "patience": chosen.patience,
            "device": chosen.device,
            "bf16": chosen.bf16,
            "compile": chosen.compile,
            "dropped": " ".join(f"{text}." for text in [*outline.dropped, *left_out(learnt.unused)]) or None,
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
