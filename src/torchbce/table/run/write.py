"""A finished run to its folder: first the model and its numbers, which appear together, then the pages for people."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torchbce.common.errors import OutputError
from torchbce.common.signals import look, signals_held
from torchbce.common.visible import shown
from torchbce.common.writing import whole_file
from torchbce.io.files import write_table
from torchbce.io.predictions import predictions_table
from torchbce.table.outcome import Outcome
from torchbce.table.run import folder as run_folder
from torchbce.table.run.card import model_card
from torchbce.table.run.identity import RUN
from torchbce.table.run.report import write_report
from torchbce.table.run.reservation import Reservation
from torchbce.table.splits.straddling import left_out

if TYPE_CHECKING:
    import polars as pl


def write_run(outcome: Outcome, place: Reservation, run: str | None) -> list[str]:
    """What to say of pages that could not be made. `run`: the digest of what the run depends on, to know it again.

    Raises:
        OutputError: the folder cannot be written; the message says where the finished model is instead.
    """
    described = _described(outcome, run)

    def save(folder: Path) -> None:
        write_table(_predictions(outcome), folder / run_folder.PREDICTIONS_FILE)
        run_folder.save_model(folder, described, outcome.trained.model.ensemble)
        outcome.trained.fitted.history.to_csv(folder / run_folder.HISTORY_FILE)

    look()
    with signals_held():  # a finished model is not lost for a signal that comes while it is written
        try:
            save(place.draft)
            place.finish()
        except OSError as error:
            raise OutputError(_saved_elsewhere(place.folder, save, error)) from error
        return _write_pages(place.folder, outcome, described)


def _write_pages(folder: Path, outcome: Outcome, described: run_folder.ModelFile) -> list[str]:
    """MODEL_CARD.md and report.html, or for each what happened and how to make it: the model is saved already."""

    def write_card(path: Path) -> None:
        with whole_file(path) as file:
            file.write(model_card(described, outcome.estimate).encode())

    page = folder / run_folder.REPORT_FILE
    again = shlex.join(["torchbce", "explain", str(folder), "--html", str(page)])
    pages: list[tuple[Path, Callable[[Path], None], str]] = [
        (folder / run_folder.CARD_FILE, write_card, f"its figures are in {run_folder.MODEL_FILE}"),
        (page, lambda path: write_report(path, outcome), f"a page of its predictions is made by: {again}"),
    ]
    notes = []
    for path, write, instead in pages:
        try:
            write(path)
        except Exception as error:  # of whatever kind, from whichever library draws it
            why = f"{type(error).__name__}: {shown(error)}"
            notes.append(f"{path} could not be made ({why}); the model is saved, and {instead}")
    return notes


def _predictions(outcome: Outcome) -> pl.DataFrame:
    """Of the rows kept aside; where there are none, of those that the epoch was chosen by."""
    estimate, fitted = outcome.estimate, outcome.trained.fitted
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
    trained, estimate, outline = outcome.trained, outcome.estimate, outcome.outline
    config, best = trained.config, trained.fitted.history.best
    result: dict[str, float | int | None] = {
        "epoch": best.number,
        "train_bce": outcome.train_bce,
        "valid_bce": best.judged,
        "base_rate": outline.train.base_rate,
    }
    if trained.fitted.blend is not None:
        result["valid_bce_with_trees"] = trained.fitted.blend.both
    if estimate is not None:
        found = estimate.explanation
        low, high = found.intervals["mean"]
        result |= {"estimated_bce": found.mean, "standard_error": found.standard_error, "auc": estimate.auc}
        result |= {"estimated_bce_from": low, "estimated_bce_to": high}
        result |= {f"{other.name.replace(' ', '_')}_bce": other.bce for other in estimate.differences}
    return run_folder.describe(
        trained.model,
        source=_as_utf8(outline.name),
        target=outline.target,
        left_out=outline.left_out | trained.screened,
        training={
            "seed": outcome.seed,
            "rows": outline.train_rows,
            "test": None if outline.test_file is None else _as_utf8(outline.test_file),
            "folds": config.folds,
            "optimizer": config.optimizer,
            "lr": config.lr,
            "weight_decay": config.weight_decay,
            "batch_size": config.batch_size,
            "epochs": config.epochs,
            "patience": config.patience,
            "device": config.device,
            "dropped": " ".join(f"{text}." for text in [*outline.dropped, *left_out(trained.unused)]) or None,
            RUN: run,
        },
        result={name: None if value != value else value for name, value in result.items()},
    )


def _as_utf8(name: str) -> str:
    """A file's name, of whose bytes those that are no UTF-8 are escapes: JSON cannot hold them."""
    return name.encode("utf-8", "backslashreplace").decode()


def _saved_elsewhere(folder: Path, save: Callable[[Path], None], error: OSError) -> str:
    """What happened, and where the model is now: in the folder for temporary files, if there is room."""
    why = f"{folder} cannot be written: {error.strerror or error}"
    with contextlib.suppress(OSError):
        other = Path(tempfile.mkdtemp(prefix="torchbce-")) / folder.name
        other.mkdir()
        save(other)
        return f"{why}; the finished model is in {other}"
    return f"{why}; nothing was kept"
