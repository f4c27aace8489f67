"""Where predictions are: the file that an argument names, and the column that options name."""

from __future__ import annotations

from pathlib import Path

import typer

from torchbce.table.run.folder import check_predictions_file


def file_of(name: str) -> tuple[str, bool]:
    """Return the file of predictions that a name stands for, and whether it is that of a run."""
    folder = Path(name)
    return (str(check_predictions_file(folder)), True) if folder.is_dir() else (name, False)


def outputs_of(prob: str | None, logit: str | None, *, of_run: bool) -> tuple[str, bool]:
    """Return the column of outputs, and whether they are logits."""
    if prob and logit:
        raise typer.BadParameter("--prob and --logit were both given; the outputs are either of them, not both")
    if prob:
        return prob, False
    if logit or of_run:
        return logit or "logit", True
    raise typer.BadParameter("say which numbers these are: --prob COL for probabilities, or --logit COL")
